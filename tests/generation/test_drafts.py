"""Draft models that read a large model's keys and values, beside the reference's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError
from tests.generation.models import by_name, lively, pair, prompts
from tests.parity.cases.decoder_drafts import DRAFT, MUSE
from tests.parity.harness import Case, assert_close, load_ours, reference_model

NEW = 14


def drafts(tmp_path: Path, large: str, **fields: Any) -> tuple[Any, Any]:
    """A draft model of both libraries, of the sizes of a large one."""
    case = by_name("gemma4_unified_assistant" if "unified" in large else "gemma4_assistant")
    text = {k: v for k, v in lively(large).config.items() if k not in ("use_double_wide_mlp", "num_kv_shared_layers")}
    own = case.config["text_config"] | text | dict(num_hidden_layers=4, layer_types=text["layer_types"][:4])
    own |= {name: 0 for name in ("hidden_size_per_layer_input", "vocab_size_per_layer_input") if name in own}
    config = DRAFT | dict(backbone_hidden_size=text["hidden_size"], text_config=own) | fields
    made = Case(case.model_type, config, mend=case.mend, label=large)
    return load_ours(made, "CausalLM", tmp_path), reference_model(made, "CausalLM")


@pytest.mark.parametrize("large", ["gemma4_text", "gemma4_unified_text"])
def test_greedy(large: str, tmp_path: Path) -> None:
    """The same tokens as without a draft, and the first drafts are the reference's."""
    from transformers.generation.candidate_generator import SinglePositionMultiTokenCandidateGenerator

    (ours, theirs), (helper, reference) = pair(lively(large)), drafts(tmp_path, large)
    ids = prompts(lively(large))["input_ids"][:1]
    drafted: list[int] = []
    for model in (helper, reference):
        model.generation_config.num_assistant_tokens = 5
    hook = helper.register_forward_hook(lambda module, inputs, out: drafted.append(int(out.logits.argmax())))
    with torch.no_grad():
        found = ours.generate(ids, max_new_tokens=NEW, assistant_model=helper, eos_token_id=None)
        hook.remove()
        plain = ours.generate(ids, max_new_tokens=NEW, eos_token_id=None)
        assert found.tolist() == plain.tolist()
        out = theirs(ids, output_hidden_states=True, return_shared_kv_states=True, use_cache=True)
        settings = copy.copy(theirs.generation_config)
        settings.max_length = ids.shape[1] + NEW
        generator = SinglePositionMultiTokenCandidateGenerator(reference, theirs.get_input_embeddings(), settings)
        expected, _ = generator.get_candidates(plain[:, : ids.shape[1] + 1], {}, out, False, 0)
    assert drafted[:5] == expected[0, -5:].tolist()


def test_all_layers_own_their_keys() -> None:
    """A model that shares no keys among its layers lends those of the last layers all the same."""
    case = lively("gemma4_text-experts")
    ours, _ = pair(case)
    text = {k: v for k, v in case.config.items() if k not in ("enable_moe_block", "num_experts", "top_k_experts")}
    text |= dict(num_hidden_layers=4, layer_types=text["layer_types"][:4], vocab_size_per_layer_input=0)
    config = autoload.AutoConfig.for_model(
        "gemma4_assistant", **DRAFT | dict(backbone_hidden_size=text["hidden_size"], text_config=text)
    )
    inputs: dict[str, Any] = dict(input_ids=prompts(case)["input_ids"][:1], max_new_tokens=NEW, eos_token_id=None)
    helper = autoload.AutoModelForCausalLM.from_config(config)
    assert ours.generate(**inputs, assistant_model=helper).tolist() == ours.generate(**inputs).tolist()


def test_sampling_and_padding(tmp_path: Path) -> None:
    """Drawn tokens are drawn by the large model alone; a padded prompt is one with padding."""
    (ours, _), (helper, _) = pair(lively("gemma4_text")), drafts(tmp_path, "gemma4_text")
    inputs = {name: x[:1] for name, x in prompts(lively("gemma4_text"), padded=True).items()}
    settings: dict[str, Any] = dict(max_new_tokens=NEW, eos_token_id=None)
    assert (
        ours.generate(**inputs, **settings, assistant_model=helper).tolist()
        == ours.generate(**inputs, **settings).tolist()
    )
    narrow = settings | dict(do_sample=True, top_k=1)
    assert ours.generate(**inputs, **narrow, assistant_model=helper).tolist() == (
        ours.generate(**inputs, **settings).tolist()
    )


def test_misfits(tmp_path: Path) -> None:
    helper, _ = drafts(tmp_path, "gemma4_text")
    llama, _ = pair(by_name("llama"))
    ids = prompts(by_name("llama"))["input_ids"][:1]
    with pytest.raises(ArgumentError, match="lend"):
        llama.generate(ids, assistant_model=helper)
    with pytest.raises(ArgumentError, match="shared_kv_states"):
        helper(inputs_embeds=torch.zeros(1, 1, 64))
    large, _ = pair(by_name("gemma4_text"))
    helper.config.backbone_hidden_size = 5
    with pytest.raises(ArgumentError, match="hidden_size"):
        large.generate(ids, assistant_model=helper)


def test_cached_blocks(tmp_path: Path) -> None:
    """Blocks that follow each other, over a window shorter than the text and behind padding."""
    from transformers.cache_utils import DFlashCache

    case = Case("muse_glimmer_assistant", MUSE | dict(sliding_window=6), label="narrow")
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    caches, seen = (autoload.DynamicCache(config=ours.config), DFlashCache(config=theirs.config)), 0
    caches[1].activate_past_recording()
    generator = torch.Generator().manual_seed(6)
    for count in (7, 3, 1, 4):
        inputs: dict[str, Any] = dict(
            noise_embeds=torch.randn(2, 5, 32, generator=generator),
            context_hidden_states=torch.randn(2, count, 96, generator=generator),
            attention_mask=torch.ones(2, seen + count + 5, dtype=torch.int64),
        )
        inputs["attention_mask"][0, :2] = 0
        caches[1].set_previous_accepted_tokens(count)
        with torch.no_grad():
            found, expected = (
                model(**inputs, past_key_values=cache, use_cache=True).last_hidden_state
                for model, cache in zip((ours, theirs), caches, strict=True)
            )
        assert_close(found, expected, 1e-5, f"block after {seen + count}")
        seen += count
        for cache in caches:
            cache.crop(-5)


def byte_tokenizer(size: int) -> Any:
    """A byte-level tokenizer; of another size it joins other bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["the quick brown fox jumps over the lazy dog", "hello world, the end"] * 4, trainer)
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=made)


def test_another_tokenizer() -> None:
    """The same tokens as without a draft, in fewer passes where the draft is the model itself."""
    own, other = byte_tokenizer(300), byte_tokenizer(280)
    fields = dict(by_name("llama").config) | dict(initializer_range=0.35, eos_token_id=None)
    torch.manual_seed(0)
    config = autoload.AutoConfig.for_model
    model, helper = (
        autoload.AutoModelForCausalLM.from_config(config("llama", **fields | dict(vocab_size=len(t))))
        for t in (own, other)
    )
    helper.generation_config.num_assistant_tokens = 4
    ids = torch.tensor([own("the quick brown fox")["input_ids"]])
    settings: dict[str, Any] = dict(max_new_tokens=NEW, tokenizer=own)
    plain = model.generate(ids, max_new_tokens=NEW)
    pairs: dict[str, Any] = dict(assistant_model=helper, assistant_tokenizer=other)
    assert model.generate(ids, **settings, **pairs).tolist() == plain.tolist()
    twin, passes = copy.deepcopy(model), []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    readable = torch.arange(len(own))[: own.vocab_size]
    allowed = [int(t) for t in readable if own.decode([t]).isascii() and own(own.decode([t]))["input_ids"] == [int(t)]]
    same: dict[str, Any] = settings | dict(suppress_tokens=sorted(set(range(len(own))) - set(allowed)))
    twin.generation_config.suppress_tokens = same["suppress_tokens"]
    found = model.generate(ids, **same, assistant_model=twin, assistant_tokenizer=own)
    hook.remove()
    assert len(passes) < NEW
    assert found.tolist() == model.generate(ids, **same).tolist()
    with pytest.raises(ArgumentError, match="pass tokenizer="):
        model.generate(ids, max_new_tokens=3, **pairs)
    with pytest.raises(ArgumentError, match="needs an assistant_model"):
        model.generate(ids, max_new_tokens=3, assistant_tokenizer=other)
