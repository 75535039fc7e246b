"""What only some decoders take: positions with several axes, visual features, a prefix, a factor for each layer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import autoload
from autoload import AutoConfig, registry
from autoload.errors import ConfigError, WeightsError
from tests.parity.cases import all_cases, decoder_attention_gate, decoder_gemma
from tests.parity.cases.decoder_mrope import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

AXES = [case for case in CASES if case.model_type not in ("granite_docling_text",)]
DEEP = [case for case in CASES if case.model_type in ("qwen3_vl_text", "granite_docling_text", "cohere_compass_text")]


@pytest.mark.parametrize("case", AXES, ids=str)
def test_axes(case: Case, tmp_path: Path) -> None:
    """Positions (axes, batch, seq) turn the dimensions that the reference turns with them."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    ids = inputs_for(case, "Model")["input_ids"]
    count = 4 if case.label == "alpha" else 3
    positions = torch.randint(0, 30, (count, *ids.shape), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        found, expected = (model(ids, position_ids=positions)[0] for model in (ours, theirs))
    assert_close(found, expected, case.tolerance, "several axes")
    with torch.no_grad():
        assert not torch.allclose(ours(ids, position_ids=positions.flip(0))[0], found, atol=1e-3)


@pytest.mark.parametrize("case", DEEP, ids=str)
def test_deepstack(case: Case, tmp_path: Path) -> None:
    """Visual features reach the first layers, at the visual tokens only."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    ids = inputs_for(case, "Model")["input_ids"]
    generator = torch.Generator().manual_seed(6)
    where = torch.rand(ids.shape, generator=generator) < 0.4
    features = [torch.randn(int(where.sum()), case.config["hidden_size"], generator=generator) for _ in range(2)]
    with torch.no_grad():
        found, expected = (
            model(ids, visual_pos_masks=where, deepstack_visual_embeds=features, output_hidden_states=True)
            for model in (ours, theirs)
        )
        assert not torch.allclose(found[0], ours(ids)[0], atol=1e-3)
    assert_close(found[0], expected[0], case.tolerance, "with visual features")
    assert_close(found.hidden_states, expected.hidden_states, case.tolerance, "hidden states")


def test_prefix(tmp_path: Path) -> None:
    """Tokens of type 1 see each other, padding apart, in the first pass."""
    case = next(case for case in decoder_attention_gate.CASES if case.model_type == "hrm_text")
    ours, theirs = load_ours(case, "CausalLM", tmp_path), reference_model(case, "CausalLM")
    ids = inputs_for(case, "CausalLM")["input_ids"]
    types = (torch.arange(ids.shape[1]) < 5).long().expand_as(ids)
    mask = torch.ones_like(ids)
    mask[0, :2] = 0
    with torch.no_grad():
        for given in (None, mask):
            found, expected = (m(ids, attention_mask=given, token_type_ids=types).logits for m in (ours, theirs))
            real = slice(None) if given is None else mask == 1
            assert_close(found[real], expected[real], case.tolerance, "prefix")
        assert not torch.allclose(found, ours(ids, attention_mask=mask).logits, atol=1e-3)


def test_layer_scalar(tmp_path: Path) -> None:
    """Gemma 4's factor for each layer is saved, loaded and used."""
    case = next(case for case in decoder_gemma.CASES if case.model_type == "gemma4_text")
    theirs = reference_model(case, "Model")
    kept = [layer.layer_scalar.clone() for layer in theirs.layers]
    try:
        for i, layer in enumerate(theirs.layers):
            layer.layer_scalar.fill_(0.5 + 0.2 * i)
        ours, ids = load_ours(case, "Model", tmp_path), inputs_for(case, "Model")["input_ids"]
        with torch.no_grad():
            assert_close(ours(ids)[0], theirs(ids)[0], case.tolerance, "scaled")
    finally:
        for layer, value in zip(theirs.layers, kept, strict=True):
            layer.layer_scalar.copy_(value)


def test_steps_in_both_directions(tmp_path: Path) -> None:
    """With a cache a bidirectional Gemma 4 sees what is before it and what came with it, as in the reference."""
    case = next(case for case in decoder_gemma.CASES if case.label == "bidirectional")
    ours, theirs = load_ours(case, "CausalLM", tmp_path), reference_model(case, "CausalLM")
    ids, caches = inputs_for(case, "CausalLM", seq=16)["input_ids"], [None, None]
    for begin, end in ((0, 7), (7, 8), (8, 9), (9, 12), (12, 16)):
        with torch.no_grad():
            found, expected = (
                model(ids[:, begin:end], past_key_values=cache, use_cache=True)
                for model, cache in zip((ours, theirs), caches, strict=True)
            )
        caches = [found.past_key_values, expected.past_key_values]
        assert_close(found.logits, expected.logits, case.tolerance, f"tokens {begin} to {end}")


@pytest.mark.parametrize("model_type", ["gemma3n_text", "gemma4_text"])
def test_resize(model_type: str, tmp_path: Path) -> None:
    """New tokens get an embedding in each layer too; old ones keep theirs."""
    case = next(case for case in all_cases() if case.model_type == model_type)
    ours, ids = load_ours(case, "CausalLM", tmp_path), inputs_for(case, "CausalLM")["input_ids"]
    with torch.no_grad():
        before = ours(ids).logits
        ours.resize_token_embeddings(110)
        after = ours(ids).logits
        assert_close(after[..., :99], before, case.tolerance, "old tokens")
        new = ours(torch.full_like(ids, 109)).logits
    assert torch.isfinite(new).all() and new.shape[-1] == 110
    table = ours.base_model.embed_tokens_per_layer
    assert table.num_embeddings == ours.config.vocab_size_per_layer_input == 110 and table.width() == 8


NEXT = [
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe",
    "glm4_moe_lite",
    "glm4v_moe_text",
    "glm_moe_dsa",
    "glm_ocr_text",
    "hy_v3",
]


@pytest.mark.parametrize("model_type", NEXT)
def test_layer_for_the_next_tokens(model_type: str, tmp_path: Path) -> None:
    """A layer behind the model's is no surprise; two are, where the configuration tells of one."""
    case = next(case for case in all_cases() if case.model_type == model_type)
    task = "CausalLM" if "CausalLM" in registry.tasks_of(model_type) else "Model"
    reference_model(case, task).save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    auto = getattr(autoload, registry.auto_class_name(task))
    for dropped in (1, 2):
        count = case.config["num_hidden_layers"] - dropped
        short = {key: value[:count] if key.endswith("_types") else value for key, value in fields.items()}
        (tmp_path / "config.json").write_text(json.dumps(short | dict(num_hidden_layers=count)))
        if dropped == 1:
            model = auto.from_pretrained(tmp_path, strict=True)
            assert len(model.base_model.layers) == count and not model.loading_report.unexpected
        else:
            with pytest.raises(WeightsError, match=f"layers.{count + 1}"):
                auto.from_pretrained(tmp_path, strict=True)


@pytest.mark.parametrize("model_type", ["gemma3n_text", "gemma4_text"])
def test_text_part_of_a_whole_file(model_type: str, tmp_path: Path) -> None:
    """Files of the whole Gemma load as its text part, with the keys that borrowing layers have there."""
    case = next(case for case in all_cases() if case.model_type == model_type)
    theirs, ids = reference_model(case, "CausalLM"), inputs_for(case, "CausalLM")["input_ids"]
    config = theirs.config.to_dict() | {"model_type": model_type}
    whole = {"model_type": model_type.removesuffix("_text"), "text_config": config, "vision_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    last = case.config["num_hidden_layers"] - 1
    tensors = {name: p for name, p in theirs.state_dict().items() if name != "lm_head.weight"}
    tensors[f"model.layers.{last}.self_attn.k_proj.weight"] = torch.zeros(4, 4)
    renamed = {name.replace("model.", "model.language_model.", 1): p.contiguous() for name, p in tensors.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    ours = registry.resolve(model_type, "CausalLM").from_pretrained(tmp_path, strict=True)
    assert ours.config.model_type == model_type
    with torch.no_grad():
        assert_close(ours(ids).logits, theirs(ids).logits, case.tolerance, "logits")


@pytest.mark.parametrize(
    "model_type,fields,named",
    [
        ("internlm3", dict(qkv_bias=True), "qkv_bias"),
        ("iquestcoder", dict(clip_qkv=1.0), "clip_qkv"),
        ("diffllama", dict(attention_dropout=0.1), "attention_dropout"),
        ("diffllama", dict(num_key_value_heads=1), "num_key_value_heads"),
        ("molmo2_text", dict(qk_norm_type="other"), "qk_norm_type"),
        ("gemma3n_text", dict(activation_sparsity_pattern=[0.5]), "activation_sparsity_pattern"),
        ("glm_moe_dsa", dict(num_hidden_layers=2, index_topk_pattern="SF"), "indexer_types"),
        ("hy_v4", dict(num_hidden_layers=2, indexer_types=["full", "half"]), "indexer_types"),
        ("mistral_large4_text", dict(num_hidden_layers=2, kv_source_layers=[1, 1]), "kv_source_layers"),
        ("axk2", dict(n_group=2), "topk_group"),
        ("dbrx", dict(tie_word_embeddings=True), "tie_word_embeddings"),
    ],
)
def test_what_does_not_fit_together(model_type: str, fields: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        AutoConfig.for_model(model_type, **fields)


def test_null_is_a_choice() -> None:
    """No window, as many key heads as heads, an even share of the width."""
    config = AutoConfig.for_model("mistral", sliding_window=None, num_key_value_heads=None, head_dim=None)
    assert (config.sliding_window, config.num_key_value_heads, config.head_dim) == (None, 32, 128)


def test_rope_by_kind() -> None:
    """The old flat fields of Gemma 3 speak of the layers that see everything."""
    config = AutoConfig.for_model(
        "gemma3_text", rope_theta=5e5, rope_local_base_freq=2e4, rope_scaling=dict(rope_type="linear", factor=8.0)
    )
    assert config.rope_parameters == {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "gpt_neox", "mixtral"])
def test_looking_ahead(name: str, tmp_path: Path) -> None:
    """A file may say that every token sees those that follow it too, of any type."""
    case = next(c for c in all_cases() if str(c) == name)
    case = replace(case, config={**case.config, "is_causal": False})
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    inputs = inputs_for(case, "Model")
    padded = torch.ones_like(inputs["input_ids"])
    padded[0, :3] = padded[1, -2:] = 0
    for attention_mask in (None, padded):
        with torch.no_grad():
            found, expected = (m(**inputs, attention_mask=attention_mask) for m in (ours, theirs))
        seen = slice(None) if attention_mask is None else attention_mask == 1
        assert_close(found[0][seen], expected[0][seen], case.tolerance, "states")
    ours.config.is_causal = True
    assert not torch.allclose(ours(**inputs)[0], found[0], atol=1e-3)
