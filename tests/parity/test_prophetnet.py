"""ProphetNet's streams: steps with a cache, and attention weights, where the reference needs a word of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases.prophetnet import CASES, TINY
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps(case: Case, tmp_path: Path) -> None:
    """A first pass and single tokens give the reference's scores, of all streams."""
    ours, theirs = load_ours(case, "Seq2SeqLM", tmp_path), reference_model(case, "Seq2SeqLM")
    source, target = inputs_for(case, "CausalLM"), inputs_for(case, "CausalLM", seq=8)["input_ids"]
    caches = [None, None]
    with torch.no_grad():
        for begin, end in ((0, 4), *((i, i + 1) for i in range(4, 8))):
            part = dict(source, decoder_input_ids=target[:, begin:end], use_cache=True)
            found, expected = (
                model(**part, past_key_values=cache, output_attentions=True)
                for model, cache in zip((ours, theirs), caches, strict=True)
            )
            caches = [found.past_key_values, expected.past_key_values]
            for name in ("logits", "logits_ngram", "decoder_attentions", "decoder_ngram_attentions"):
                if name in expected:
                    assert_close(found[name], expected[name], 2e-5, f"{name} of token {begin}")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("task", ["Model", "Seq2SeqLM", "CausalLM"])
def test_attention_weights(case: Case, task: str, tmp_path: Path) -> None:
    """Where the reference gives scores in place of weights, their softmax is what is given here."""
    ours, theirs = load_ours(case, task, tmp_path), reference_model(case, task)
    inputs = inputs_for(case, task)
    with torch.no_grad():
        found, expected = (model(**inputs, output_attentions=True) for model in (ours, theirs))
    assert [*found] == [*expected]
    for name in (name for name in expected if "attentions" in name):
        wanted = expected[name]
        if name in ("encoder_attentions", "cross_attentions") and wanted[0] is not None:
            wanted = tuple(scores.softmax(-1) for scores in wanted)
        assert_close(found[name], wanted, case.tolerance, name)


def test_several_tokens_beside_a_cache() -> None:
    """The first stream of a model that says nothing of distances does not depend on how tokens are grouped."""
    torch.manual_seed(0)
    model = autoload.ProphetNetForConditionalGeneration(autoload.ProphetNetConfig(**TINY)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(std=0.2).mul_("relative" not in name)
        ids, target = torch.randint(3, 99, (2, 6)), torch.randint(3, 99, (2, 9))
        full = model(ids, decoder_input_ids=target)
        first = model(ids, decoder_input_ids=target[:, :4], use_cache=True)
        rest = model(ids, decoder_input_ids=target[:, 4:], past_key_values=first.past_key_values)
    assert_close(torch.cat([first.logits, rest.logits], 1), full.logits, 2e-5, "next token")
    assert_close(torch.cat([first.logits_ngram, rest.logits_ngram], 2), full.logits_ngram, 2e-5, "later tokens")


def test_static_cache() -> None:
    torch.manual_seed(0)
    model = autoload.ProphetNetForConditionalGeneration(autoload.ProphetNetConfig(**TINY)).eval()
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.dim() == 2):
            p.mul_(10)
    ids = torch.randint(3, 99, (2, 6))
    plain, static = (
        model.generate(ids, max_new_tokens=9, eos_token_id=None, do_sample=False, cache_implementation=kind)
        for kind in (None, "static")
    )
    assert torch.equal(plain, static) and len(plain.unique()) > 3


def test_what_is_refused() -> None:
    model = autoload.ProphetNetModel(autoload.ProphetNetConfig(**TINY))
    with pytest.raises(ArgumentError, match="the target has 39 tokens, max_position_embeddings allows 38"):
        model(torch.ones(1, 3, dtype=torch.int64), decoder_input_ids=torch.ones(1, 39, dtype=torch.int64))
    for field, value in (("ngram", 0), ("num_decoder_attention_heads", 5), ("pad_token_id", None)):
        with pytest.raises(ConfigError, match=field):
            autoload.ProphetNetModel(autoload.ProphetNetConfig(**TINY | {field: value}))
    alone = autoload.ProphetNetForCausalLM(autoload.ProphetNetConfig(**TINY, add_cross_attention=False))
    with pytest.raises(ConfigError, match="add_cross_attention"):
        alone(torch.tensor([[3, 4]]), encoder_hidden_states=torch.zeros(1, 3, 32))
    assert "cross_attentions" not in alone(torch.tensor([[3, 4]]), output_attentions=True)
