"""What only T5 and its kin do: half precision, the encoder alone, tables of the file that are tied or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ConfigError
from autoload.layers.relative import distances, relative_buckets
from autoload.weights import Weights
from tests.parity.cases import all_cases
from tests.parity.cases.t5 import TINY
from tests.parity.harness import Case, assert_close, inputs_for, labels_for, reference_model


def case_of(name: str) -> Case:
    return next(case for case in all_cases() if str(case) == name)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tensors that are read."""
    names: list[str] = []
    original = Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, name: names.append(name) or original(self, name))
    return names


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5"])
@pytest.mark.parametrize("auto", ["AutoModelForTextEncoding", "AutoModelForTokenClassification"])
def test_encoder_alone_reads_its_own(kind: str, auto: str, tmp_path: Path, reads: list[str]) -> None:
    """Of the whole model's file only the encoder's tensors, which is told as nothing out of place."""
    theirs = reference_model(case_of(kind), "Seq2SeqLM")
    theirs.save_pretrained(tmp_path)
    ours, info = getattr(autoload, auto).from_pretrained(tmp_path, output_loading_info=True)
    assert set(reads) == {k for k in load_file(tmp_path / "model.safetensors") if not k.startswith("decoder.")}
    assert not info["unexpected_keys"] and all(k.startswith("classifier.") for k in info["missing_keys"])
    ids = inputs_for(case_of(kind), "CausalLM")["input_ids"]
    with torch.no_grad():
        assert_close(ours.base_model.get_encoder()(ids)[0], theirs.encoder(ids)[0], 1e-5, "states")


def old_layout(directory: Path, own_scores: bool) -> dict[str, torch.Tensor]:
    """A file as older versions wrote it: every table spelled out, and one that no layer reads."""
    reference_model(case_of("t5-gated"), "Seq2SeqLM").save_pretrained(directory)
    state = load_file(directory / "model.safetensors")
    table = state["shared.weight"]
    for name in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        state[f"{name}.weight"] = table.clone()
    if own_scores:
        state["lm_head.weight"] = table.flip(0).contiguous()
    state["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(8, 4)
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    fields = json.loads((directory / "config.json").read_text())
    del fields["scale_decoder_outputs"]
    (directory / "config.json").write_text(json.dumps(fields | {"tie_word_embeddings": not own_scores}))
    return state


@pytest.mark.parametrize("own_scores", [True, False])
def test_old_layouts(own_scores: bool, tmp_path: Path) -> None:
    """T5's files score with the table of tokens, those of T5 1.1 and Flan with a matrix of their own; saved again too."""
    from transformers import T5ForConditionalGeneration

    state = old_layout(tmp_path, own_scores)
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path)
    ours, info = autoload.T5ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert torch.equal(ours.lm_head.weight, state["lm_head.weight"])
    assert (ours.lm_head.weight is ours.shared.weight) != own_scores
    assert ours.config.scale_decoder_outputs != own_scores
    assert ours.encoder.embed_tokens.weight is ours.shared.weight
    ids = inputs_for(case_of("t5-gated"), "CausalLM")["input_ids"]
    with torch.no_grad():
        expected = theirs(ids, labels=ids)
        assert_close(ours(ids, labels=ids).logits, expected.logits, 1e-5, "logits")
        ours.tie_weights()  # as resizing and moving do
        ours.save_pretrained(tmp_path / "again")
        for cls in (T5ForConditionalGeneration, autoload.T5ForConditionalGeneration):
            assert_close(
                cls.from_pretrained(tmp_path / "again")(ids, labels=ids).logits, expected.logits, 1e-5, "again"
            )
    grown = ours.resize_token_embeddings(104)
    assert ours.lm_head.weight.shape == grown.weight.shape and (ours.lm_head.weight is grown.weight) != own_scores


def loud(directory: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """A model whose wide layers leave fp16's range, loaded by both libraries."""
    from transformers import T5ForConditionalGeneration

    case = case_of("t5")
    reference_model(case, "Seq2SeqLM").save_pretrained(directory)
    state = load_file(directory / "model.safetensors")
    for name in state:
        if ".wi." in name or ".wo." in name:
            state[name] = state[name] * 300
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    kinds = (autoload.T5ForConditionalGeneration, T5ForConditionalGeneration)
    ours, theirs = (cls.from_pretrained(directory, dtype=dtype).eval() for cls in kinds)
    return ours, theirs


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_stays_finite(dtype: torch.dtype, tmp_path: Path) -> None:
    """Large numbers do not spoil the scores: what leads back from the wide layers stays fp32 beside fp16."""
    ours, theirs = loud(tmp_path, dtype)
    assert {n: p.dtype for n, p in ours.named_parameters()} == {n: p.dtype for n, p in theirs.named_parameters()}
    assert (ours.encoder.block[0].layer[-1].DenseReluDense.wo.weight.dtype == torch.float32) == (dtype == torch.float16)
    inputs = inputs_for(case_of("t5"), "Seq2SeqLM")
    with torch.no_grad():
        found, expected = ours(**inputs, output_hidden_states=True), theirs(**inputs, output_hidden_states=True)
    largest = max(float(x.abs().max()) for x in found.encoder_hidden_states)
    assert largest > torch.finfo(torch.float16).max, "the test is loud enough"
    assert found.logits.isfinite().all() and found.logits.dtype == expected.logits.dtype
    assert_close(found.logits, expected.logits, 3e-2, "logits")


def test_fp16_is_cut_off(tmp_path: Path) -> None:
    """Cast as a whole, the stream itself overflows, and is brought back after each part."""
    ours, _ = loud(tmp_path, torch.float32)
    ours = ours.half()
    with torch.no_grad():
        out = ours(**inputs_for(case_of("t5"), "Seq2SeqLM"))
    assert out.logits.isfinite().all() and out.encoder_last_hidden_state.isfinite().all()


@pytest.mark.parametrize("name", ["switch_transformers", "switch_transformers-untied"])
def test_router_losses(name: str) -> None:
    """Scores of the routers, their two losses, and their part of the loss; the gradient reaches the routers."""
    case = case_of(name)
    theirs = reference_model(case, "Seq2SeqLM")
    ours = autoload.SwitchTransformersForConditionalGeneration(autoload.SwitchTransformersConfig(**case.config)).eval()
    ours.load_state_dict(theirs.state_dict())
    inputs = inputs_for(case, "Seq2SeqLM")
    inputs |= labels_for("Seq2SeqLM", inputs)
    found, expected = (model(**inputs, output_router_logits=True) for model in (ours, theirs))
    keys = [k for k in expected if k != "past_key_values"]
    assert [*found] == keys and "encoder_z_loss" in found
    for key in keys:
        if isinstance(expected[key], int):  # every layer has experts
            assert found[key] == expected[key] == 0
        else:
            assert_close(found[key], expected[key], 1e-5, key)
    for model, out in ((ours, found), (theirs, expected)):
        model.zero_grad()
        (out.loss + 100 * (out.encoder_z_loss + out.encoder_aux_loss + out.decoder_aux_loss)).backward()
    router = "encoder.block.1.layer.1.mlp.router.classifier.weight"
    assert_close(ours.get_parameter(router).grad, theirs.get_parameter(router).grad, 1e-4, "gradient")
    plain = ours(**inputs)
    assert "encoder_router_logits" not in plain and plain.loss < found.loss


@pytest.mark.parametrize("both", [True, False])
def test_buckets(both: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = distances(150, 170, torch.device("cpu")) - 20
    expected = T5Attention._relative_position_bucket(distance, both, 32, 128)
    assert torch.equal(relative_buckets(distance, 32, 128, both=both), expected)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="feed_forward_proj"):
        autoload.T5Config(feed_forward_proj="gelu-gated")
    with pytest.raises(ConfigError, match="encoder_attention_type"):
        autoload.LongT5Model(autoload.LongT5Config(**TINY, encoder_attention_type="sparse"))
    model = autoload.T5ForConditionalGeneration(autoload.T5Config(**(TINY | {"decoder_start_token_id": None})))
    with pytest.raises(ConfigError, match="decoder_start_token_id"):
        model(torch.tensor([[5, 6, 1]]), labels=torch.tensor([[5, 1]]))
