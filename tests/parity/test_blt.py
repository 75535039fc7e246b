"""What only the Byte Latent Transformer does, against the reference: steps that cut their own patches, and given ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, GenerationError
from autoload.layers.cache import DynamicCache
from autoload.models.blt_patches import patch_ends, patch_ids_of, patch_lengths_of, split_patches
from tests.parity.cases.blt import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def pair(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    ours = load_ours(case, "CausalLM", tmp_path_factory.mktemp("checkpoint"))
    return ours, reference_model(case, "CausalLM")


def padding(ids: torch.Tensor, count: int) -> torch.Tensor:
    mask = torch.ones_like(ids)
    mask[0, :count] = 0
    return mask


@pytest.mark.parametrize("padded", [0, 3])
def test_steps(case: Case, pair: tuple[Any, Any], padded: int) -> None:
    """A prefill, single bytes and several at once give the scores of the reference's pass over all of a longer text.

    The reference's own steps do not: each cuts patches of its own and forgets the bytes before.
    """
    ours, theirs = pair
    ids = inputs_for(case, "CausalLM", seq=23)["input_ids"]
    mask = padding(ids, padded)
    caches: list[Any] = [None, None]
    steps: list[list[torch.Tensor]] = [[], []]
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        for begin, end in ((0, 7), (7, 8), (8, 12), *((i, i + 1) for i in range(12, 22))):
            for i, model in enumerate(pair):
                known = dict(attention_mask=mask[:, :end], past_key_values=caches[i], use_cache=True)
                out = model(ids[:, begin:end], **known)
                caches[i] = out.past_key_values
                steps[i].append(out.logits)
    real = mask[:, :-1] == 1
    assert_close(torch.cat(steps[0], 1)[real], expected[real], 2e-5, "steps")
    assert not torch.allclose(torch.cat(steps[1], 1)[real], expected[real], atol=0.1)
    assert caches[0].rows["states"].shape[1] < 22, "bytes of patches that have ended are kept"


@pytest.mark.parametrize("padded", [0, 3])
def test_without_a_cache(case: Case, pair: tuple[Any, Any], padded: int) -> None:
    ids = inputs_for(case, "CausalLM", seq=16)["input_ids"]
    mask = padding(ids, padded)
    with torch.no_grad():
        found, expected = (model(ids, attention_mask=mask, use_cache=False).logits for model in pair)
    assert_close(found[mask == 1], expected[mask == 1], case.tolerance, "scores")


SETTINGS: list[dict[str, Any]] = [
    {},
    dict(num_beams=3, eos_token_id=list(range(5, 31, 2)), pad_token_id=1),
    dict(do_sample=True, num_return_sequences=2),
    dict(prefill_chunk_size=5),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_generate(case: Case, pair: tuple[Any, Any], settings: dict[str, Any]) -> None:
    """A cache changes no byte; that the reference's does is why it is asked without one."""
    if case.config.get("max_patch_length"):
        pytest.skip("what the last byte looks at depends on the cache; test_steps compares the scores")
    ids = inputs_for(case, "CausalLM", seq=8)["input_ids"]
    given = dict(attention_mask=padding(ids, 3), max_new_tokens=9) | settings
    results = []
    for model, caching in ((pair[0], True), (pair[0], False), (pair[1], False)):
        torch.manual_seed(0)
        more = {} if caching or "prefill_chunk_size" not in settings else dict(prefill_chunk_size=None)
        results.append(model.generate(ids, **given | more, use_cache=caching).tolist())
    assert results[0] == results[1] == results[2]


def test_other_caches(case: Case, pair: tuple[Any, Any]) -> None:
    """One that grows elsewhere does; others are refused by name. No file names the number of layers."""
    ids = inputs_for(case, "CausalLM", seq=8)["input_ids"]
    fields = {k: v for k, v in case.config.items() if k not in ("num_hidden_layers", "use_cache")}
    model = autoload.AutoModelForCausalLM.from_config(autoload.AutoConfig.for_model("blt", **fields)).eval()
    given = dict(max_new_tokens=4, do_sample=False, eos_token_id=None)
    first = model.generate(ids, **given, return_dict_in_generate=True)
    assert torch.equal(model.generate(ids, **given, cache_implementation="offloaded"), first.sequences)
    with pytest.raises(ArgumentError, match="fixed size"):
        model.generate(ids, **given, cache_implementation="static")
    with pytest.raises(ArgumentError, match="cannot go back"):
        model.generate(ids[:1], **given, prompt_lookup_num_tokens=2)
    with pytest.raises(GenerationError, match="do not open again"):
        first.past_key_values.crop(-1)
    filled = DynamicCache([(torch.zeros(3, 2, 4, 8), torch.zeros(3, 2, 4, 8))])
    with pytest.raises(ArgumentError, match="DynamicCache with content"):
        model(ids, past_key_values=filled)
    with pytest.raises(ArgumentError, match="not both"):
        model.model(ids, patch_lengths=torch.ones(3, 8, dtype=torch.long), past_key_values=first.past_key_values)


def test_a_conversation_goes_on(case: Case, pair: tuple[Any, Any]) -> None:
    """A second call with the cache of the first; after a reset it is as good as new."""
    ids = inputs_for(case, "CausalLM", seq=8)["input_ids"]
    given = dict(max_new_tokens=6, use_cache=True, eos_token_id=None)
    first = pair[0].generate(ids, **given, return_dict_in_generate=True)
    more = torch.cat([first.sequences, ids[:, :3]], 1)
    given["attention_mask"] = torch.ones_like(more)
    plain, cache = pair[0].generate(more, **given), copy.deepcopy(first.past_key_values)
    assert torch.equal(pair[0].generate(more, **given, past_key_values=first.past_key_values), plain)
    cache.reset()
    assert torch.equal(pair[0].generate(more, **given, past_key_values=cache), plain)
    cache = pair[0](ids[:1], use_cache=True).past_key_values
    cache.batch_repeat_interleave(2)
    out = pair[0](ids[1:, 3:5], past_key_values=cache, use_cache=True).logits
    alone = pair[0](ids[2:, 3:5], past_key_values=pair[0](ids[:1], use_cache=True).past_key_values).logits
    assert_close(out[1:], alone, 1e-5, "scores of a repeated row")


def test_given_patches(case: Case, pair: tuple[Any, Any]) -> None:
    ids = inputs_for(case, "Model", seq=12)["input_ids"]
    lengths = torch.tensor([[1, 4, 4, 3], [2, 2, 8, 0], [1, 1, 5, 5]])
    with torch.no_grad():
        found, expected = (model.model(ids, patch_lengths=lengths).last_hidden_state for model in pair)
        other = pair[0].model(ids).last_hidden_state
    assert_close(found, expected, case.tolerance, "states")
    assert not torch.allclose(found, other)


def test_embeddings_as_input(case: Case, pair: tuple[Any, Any]) -> None:
    """They go where patches need no bytes; elsewhere the error says what to pass."""
    ids = inputs_for(case, "CausalLM")["input_ids"]
    embeds = pair[0].get_input_embeddings()(ids).detach()
    if pair[0].model.patcher is not None:
        with pytest.raises(ArgumentError, match="patch_lengths"):
            pair[0](inputs_embeds=embeds)
        return
    with torch.no_grad():
        found, expected = (model(inputs_embeds=embeds).logits for model in pair)
    assert_close(found, expected, case.tolerance, "scores")


def test_cuts() -> None:
    """Patches begin at the first two bytes and one byte after each that leaves doubt; rows differ in their number."""
    entropies = torch.tensor([[9.0, 0, 9, 0, 0, 0], [0.0, 0, 0, 0, 0, 0]])
    lengths = patch_lengths_of(entropies, 1.0)
    assert lengths.tolist() == [[1, 2, 3], [1, 6, -1]]
    assert patch_ids_of(lengths, 6).tolist() == [[0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 1, 1]]
    assert split_patches(lengths, 2).tolist() == [[1, 2, 2, 1], [1, 2, 2, 2]]


def test_ends() -> None:
    """A patch ends after doubt, or when it is full; what was before the bytes counts."""
    doubt = torch.tensor([[1, 0, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0, 0]]) == 1
    since = torch.tensor([0, 1])
    ends, after = patch_ends(doubt, since, None)
    assert torch.equal(ends, doubt) and after.tolist() == [1, 4]
    ends, after = patch_ends(doubt, since, 3)
    assert ends.int().tolist() == [[1, 0, 0, 1, 0, 1, 0], [0, 1, 1, 0, 0, 1, 0]] and after.tolist() == [1, 4]


def test_patcher_does_not_learn(pair: tuple[Any, Any]) -> None:
    ours, theirs = ({n for n, p in model.named_parameters() if p.requires_grad} for model in pair)
    assert ours == theirs
