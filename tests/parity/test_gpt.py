"""What the parity cases of GPT-2's generation cannot ask: places of arguments, cross-attention, old files."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from tests.parity.cases import gpt, gpt_alibi, gpt_fairseq, gpt_rotary
from tests.parity.harness import Case, assert_close, inputs_for, reference_class, reference_model

CASES = [*gpt.CASES, *gpt_alibi.CASES, *gpt_fairseq.CASES, *gpt_rotary.CASES]
FIRST = {case.model_type: case for case in reversed(CASES)}
LAST = {"output_attentions", "output_hidden_states", "return_dict", "logits_to_keep"}  # by keyword, everywhere


@pytest.mark.parametrize("model_type", sorted(FIRST))
def test_arguments_by_place(model_type: str) -> None:
    """Arguments come in the reference's order, up to those that are only ever named."""
    for task in dict.fromkeys(registry.tasks_of(model_type).values()):
        theirs, ours = (
            [name for name, p in inspect.signature(cls.forward).parameters.items() if p.kind is not p.VAR_KEYWORD]
            for cls in (reference_class(model_type, task), registry.resolve(model_type, task))
        )
        named = [name for name in theirs if name not in LAST]
        assert ours[: len(named)] == named, task


@pytest.mark.parametrize("model_type", ["gpt2", "opt", "gpt_neox"])
def test_by_place_is_by_name(model_type: str) -> None:
    model = autoload.AutoModelForCausalLM.from_config(autoload.AutoConfig.for_model(model_type, **TINY[model_type]))
    ids, mask = torch.tensor([[5, 6, 7]]), torch.tensor([[0, 1, 1]])
    model.eval()
    places = list(inspect.signature(model.forward).parameters)
    given: list[Any] = [None] * (places.index("attention_mask") + 1)
    given[0], given[-1] = ids, mask
    with torch.no_grad():
        assert torch.equal(model(*given).logits, model(ids, attention_mask=mask).logits)
        with pytest.raises(TypeError, match="multiple values"):
            model(ids, input_ids=ids)
        with pytest.raises(TypeError, match="by place"):
            model(*[None] * 20)


TINY: dict[str, dict[str, Any]] = {model_type: dict(case.config) for model_type, case in FIRST.items()}


@pytest.mark.parametrize("model_type", ["gpt2", "xglm"])
def test_cross_attention(model_type: str, tmp_path: Path) -> None:
    """A decoder that looks at an encoder: scores, weights, and steps with a cache."""
    case = Case(model_type, TINY[model_type] | dict(add_cross_attention=True))
    theirs = reference_model(case, "CausalLM")
    theirs.save_pretrained(tmp_path)
    ours = autoload.AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = inputs_for(case, "CausalLM")["input_ids"]
    source = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(5))
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[0, 4:] = 0
    looks = dict(encoder_hidden_states=source, encoder_attention_mask=mask)
    theirs.set_attn_implementation("eager")
    with torch.no_grad():
        expected = theirs(ids, output_attentions=True, **looks)
        found = ours(ids, output_attentions=True, **looks)
        first = ours(ids[:, :5], use_cache=True, **looks)
        second = ours(ids[:, 5:], past_key_values=first.past_key_values, **looks)
        without = ours(ids).logits
    theirs.set_attn_implementation("sdpa" if model_type == "gpt2" else "eager")
    for key in ("logits", "attentions", "cross_attentions"):
        assert_close(found[key], expected[key], 1e-5, key)
    assert_close(torch.cat([first.logits, second.logits], 1), found.logits, 2e-5, "steps")
    assert (without - found.logits).abs().max() > 1e-3


def test_an_encoder_without_cross_attention_is_refused() -> None:
    model = autoload.AutoModel.from_config(autoload.AutoConfig.for_model("gpt2", **TINY["gpt2"]))
    with pytest.raises(ValueError, match="add_cross_attention"):
        model(torch.tensor([[5]]), encoder_hidden_states=torch.zeros(1, 2, 32))


def test_old_names_of_rotary_settings() -> None:
    """GPT-NeoX's files have two names of their own."""
    from transformers import GPTNeoXConfig

    old: dict[str, Any] = dict(rotary_pct=0.5, rotary_emb_base=500)
    ours, theirs = autoload.AutoConfig.for_model("gpt_neox", **old), GPTNeoXConfig(**old)
    assert ours.rope_parameters == theirs.rope_parameters
    assert not {"rotary_pct", "rotary_emb_base"} & {*ours.to_dict()}
    assert autoload.AutoConfig.for_model("gpt2", rotary_pct=0.5).rotary_pct == 0.5  # unknown to it, so kept


@pytest.mark.parametrize("model_type", ["bloom", "falcon"])
def test_old_name_of_the_width(model_type: str) -> None:
    assert autoload.AutoConfig.for_model(model_type, n_embed=1136).hidden_size == 1136
    with pytest.raises(ValueError, match="n_embed"):
        autoload.AutoConfig.for_model(model_type, n_embed="wide")


def test_gpt_sw3_is_gpt2(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt-sw3", "n_embd": 32, "n_head": 4}')
    config = autoload.AutoConfig.from_pretrained(tmp_path)
    assert type(config) is autoload.GPT2Config and config.model_type == "gpt2" and config.hidden_size == 32


@pytest.mark.parametrize(
    "model_type,fields,named",
    [
        ("gpt_neo", dict(attention_types=[[["global"], 3]], num_layers=4), "attention_types"),
        ("gpt_neo", dict(attention_types=[[["diagonal"], 4]], num_layers=4), "attention_types"),
        ("gpt_neo", dict(attention_types="global"), "attention_types"),
        ("gpt_neo", dict(attention_types=[[["global"], 10**15]]), "attention_types"),
        ("gpt_neo", dict(window_size=0), "window_size"),
        ("gptj", dict(rotary_dim=64, n_embd=16, n_head=2, n_layer=1, vocab_size=9), "rotary_dim"),
        ("opt", dict(ffn_dim=-4), "ffn_dim"),
        ("falcon", dict(new_decoder_architecture=True, num_kv_heads=3), "num_kv_heads"),
        ("codegen", dict(n_head=2, n_embd=16, n_layer=1, vocab_size=9, rotary_dim=4), "n_head"),
        ("openai-gpt", dict(afn="gulu", n_embd=16, n_head=2, n_layer=1, vocab_size=9), "gulu"),
        ("gpt_bigcode", dict(add_cross_attention=True, n_embd=12, n_layer=1, vocab_size=9), "add_cross_attention"),
    ],
)
def test_nonsense_is_refused(model_type: str, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        autoload.AutoModel.from_config(autoload.AutoConfig.for_model(model_type, **fields))


@pytest.mark.parametrize(
    "model_type,left",
    [
        ("gpt2", ["h.0.attn.bias", "h.0.attn.masked_bias"]),
        ("gpt_neo", ["h.0.attn.attention.bias", "h.0.attn.attention.masked_bias"]),
        ("gpt_neox", ["layers.0.attention.bias", "layers.0.attention.rotary_emb.inv_freq"]),
        ("codegen", ["h.0.attn.causal_mask"]),
        ("xglm", ["embed_positions.weights"]),
    ],
)
def test_masks_in_old_files_are_passed_over(model_type: str, left: list[str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    theirs = reference_model(FIRST[model_type], "Model")
    theirs.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    save_file(load_file(weights) | {name: torch.ones(2) for name in left}, weights, {"format": "pt"})
    _, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
