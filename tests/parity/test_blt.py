"""What only the Byte Latent Transformer does, against the reference: steps that cut their own patches, and given ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError
from autoload.models.blt_patches import patch_ids_of, patch_lengths_of, split_patches
from tests.parity.cases.blt import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def pair(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    ours = load_ours(case, "CausalLM", tmp_path_factory.mktemp("checkpoint"))
    return ours, reference_model(case, "CausalLM")


@pytest.mark.parametrize("padded", [0, 3])
def test_steps(case: Case, pair: tuple[Any, Any], padded: int) -> None:
    """A prefill, single bytes and several at once give the reference's scores, step by step."""
    ids = inputs_for(case, "CausalLM", seq=16)["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, :padded] = 0
    caches: list[Any] = [None, None]
    for begin, end in ((0, 9), (9, 10), (10, 14), (14, 15), (15, 16)):
        logits = []
        for i, model in enumerate(pair):
            with torch.no_grad():
                out = model(ids[:, begin:end], attention_mask=mask[:, :end], past_key_values=caches[i], use_cache=True)
            caches[i] = out.past_key_values
            logits.append(out.logits[mask[:, begin:end] == 1])
        assert_close(logits[0], logits[1], case.tolerance, f"bytes {begin} to {end}")


def test_generate(case: Case, pair: tuple[Any, Any]) -> None:
    ids = inputs_for(case, "CausalLM", seq=8)["input_ids"]
    ours, theirs = (model.generate(ids, max_new_tokens=6, do_sample=False) for model in pair)
    assert torch.equal(ours, theirs)


def test_other_caches(case: Case, pair: tuple[Any, Any]) -> None:
    """One that grows elsewhere does; one of fixed size is refused by name. No file names the number of layers."""
    ids = inputs_for(case, "CausalLM", seq=8)["input_ids"]
    config = autoload.AutoConfig.for_model("blt", **{k: v for k, v in case.config.items() if k != "num_hidden_layers"})
    model = autoload.AutoModelForCausalLM.from_config(config).eval()
    plain = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert torch.equal(model.generate(ids, max_new_tokens=4, do_sample=False, cache_implementation="offloaded"), plain)
    with pytest.raises(ArgumentError, match="fixed size"):
        model.generate(ids, max_new_tokens=4, cache_implementation="static")


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


def test_patcher_does_not_learn(pair: tuple[Any, Any]) -> None:
    ours, theirs = ({n for n, p in model.named_parameters() if p.requires_grad} for model in pair)
    assert ours == theirs
