"""What only T5 and its kin do: half precision, the encoder alone, tables of the file that are tied or not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.relative import distances, relative_buckets
from autoload.weights import Weights
from tests.parity.cases import all_cases
from tests.parity.cases.pix2struct import patches
from tests.parity.cases.t5 import TINY
from tests.parity.cases.udop import page
from tests.parity.harness import Case, assert_close, inputs_for, labels_for, load_ours, reference_class, reference_model


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


@pytest.mark.parametrize("name", ["t5", "umt5", "switch_transformers", "longt5-global"])
def test_fresh_values(name: str) -> None:
    """Weights of a new model are as large as the reference's, or training from nothing would go another way."""
    from transformers import CONFIG_MAPPING

    case = case_of(name)
    fields = {**case.config, "d_model": 64, "d_kv": 16, "initializer_factor": 2.0}
    config = autoload.AutoConfig.for_model(case.model_type, **fields)
    torch.manual_seed(0)
    ours = dict(autoload.AutoModelForSeq2SeqLM.from_config(config).named_parameters())
    theirs = reference_class(case.model_type, "Seq2SeqLM")(CONFIG_MAPPING[case.model_type](**fields))
    compared = [name for name, p in theirs.named_parameters() if p.numel() > 1000 or "router.classifier.weight" in name]
    assert len(compared) > 20
    for name in compared:
        assert abs(ours[name].std() / theirs.get_parameter(name).std() - 1) < 0.2, name


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


def test_piano(tmp_path: Path) -> None:
    """Frames of songs in place of tokens: scores, and the notes in each style; a row that only fills the batch."""
    case, task = case_of("pop2piano"), "SpeechSeq2Seq"
    theirs, ours = reference_model(case, task), load_ours(case, task, tmp_path)
    generator = torch.Generator().manual_seed(8)
    frames = torch.randn(3, 7, 32, generator=generator)
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [0] * 7])
    ids = inputs_for(case, task)["decoder_input_ids"]
    with torch.no_grad():
        found, expected = (m(input_features=frames, decoder_input_ids=ids).logits for m in (ours, theirs))
    assert_close(found, expected, 1e-5, "logits")
    styles = {"composer1": 2, "composer2": 3, "composer3": 4}
    songs = []
    for style in styles:
        for model in (ours, theirs):
            model.generation_config.composer_to_feature_token = styles
        settings = dict(composer=style, max_new_tokens=8, do_sample=False)
        songs.append(ours.generate(frames, attention_mask=mask, **settings))
        assert torch.equal(songs[-1], theirs.generate(frames, attention_mask=mask, **settings)), style
    assert torch.equal(ours.generate(frames, **settings), theirs.generate(frames, **settings))
    assert len({str(song.tolist()) for song in songs}) > 1, "the style matters"
    with pytest.raises(ArgumentError, match="composer9"):
        ours.generate(frames, composer="composer9")
    ours.generation_config.composer_to_feature_token = {}
    with pytest.raises(ArgumentError, match="composer_vocab_size"):
        ours.generate(frames)
    with pytest.raises(ArgumentError, match="not both"):
        ours(input_features=frames, inputs_embeds=frames, decoder_input_ids=ids)


def test_page(tmp_path: Path) -> None:
    """Words, boxes and an image, ragged: the patches are read once, and beams know which of them are padding."""
    case, task = case_of("udop"), "ImageTextToText"
    theirs = copy.deepcopy(reference_model(case, task))
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            if p.dim() == 2 and "embed" not in name and "shared" not in name:
                p.mul_(4)  # what such a model writes depends on what it reads
    theirs.save_pretrained(tmp_path)
    ours = autoload.AutoModelForImageTextToText.from_pretrained(tmp_path)
    ids = inputs_for(case, "CausalLM")["input_ids"]
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    inputs = page(ids) | {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}
    for settings in (dict(num_beams=1), dict(num_beams=3, num_return_sequences=2), dict(use_cache=False)):
        settings |= dict(max_new_tokens=8, do_sample=False)
        found = ours.generate(**inputs, **settings)
        assert torch.equal(found, theirs.generate(**inputs, **settings))
        assert len({tuple(row) for row in found.tolist()}) > 1, "the page matters"
    with pytest.raises(ArgumentError, match="bbox"):
        ours(input_ids=ids, labels=ids)
    with pytest.raises(ArgumentError, match="found 8x8 pixels, expected 16x16"):
        ours(**inputs | {"pixel_values": torch.zeros(3, 3, 8, 8)}, labels=ids)
    with pytest.raises(ConfigError, match="relative_bias_args"):
        autoload.UdopModel(autoload.UdopConfig(**case.config, relative_bias_args=[{"type": "1d", "expand": True}]))


def test_screen(tmp_path: Path) -> None:
    """Patches of an image, ragged, with their mask or known by being zero; tokens as the reference's."""
    case, task = case_of("pix2struct"), "ImageTextToText"
    theirs = copy.deepcopy(reference_model(case, task))
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            if p.dim() == 2 and "embed" not in name:
                p.mul_(5)
    theirs.save_pretrained(tmp_path)
    ours = autoload.AutoModelForImageTextToText.from_pretrained(tmp_path)
    mask = torch.ones(3, 12, dtype=torch.int64)
    mask[1, 8:] = 0
    shown = patches(mask)["flattened_patches"] * mask[..., None]
    for inputs in ({"attention_mask": mask}, {}):
        for ways in (dict(num_beams=1), dict(num_beams=3, use_cache=True, num_return_sequences=2)):
            settings = inputs | ways | dict(max_new_tokens=8, do_sample=False)
            found = ours.generate(flattened_patches=shown, **settings)
            assert torch.equal(found, theirs.generate(flattened_patches=shown, **settings))
            assert len({tuple(row) for row in found.tolist()}) > 1, "the image matters"
    labels = torch.tensor([[5, 6, -100], [7, 1, -100], [8, 9, 1]])
    with torch.no_grad():
        found, expected = (m(shown, mask, labels=labels) for m in (ours, theirs))
    assert_close(found.logits, expected.logits, 1e-5, "logits")
    assert_close(found.loss, expected.loss, 1e-5, "loss")
    with pytest.raises(ArgumentError, match="flattened_patches"):
        ours(decoder_input_ids=labels)
