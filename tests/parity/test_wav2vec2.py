"""What speech encoders do beyond a forward pass: languages, random masks in training, lengths, spellings of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError, MissingFile, WeightsError
from autoload.layers.augment import hidden_spans
from tests.parity.cases import wav2vec2, wav2vec2_conformer, wav2vec2_kin, whisper
from tests.parity.cases.wav2vec2 import ADAPTER, STABLE, WAV2VEC2
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

SAMPLES = 330


@pytest.fixture
def multilingual(tmp_path: Path) -> Path:
    """A checkpoint of the reference with files for two languages, one with fewer characters."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**WAV2VEC2 | STABLE | dict(adapter_attn_dim=7))
    model = transformers.Wav2Vec2ForCTC(config)
    model.save_pretrained(tmp_path)
    own = {name: p.detach().clone() for name, p in model._get_adapters().items()}
    save_file({name: p + 1 for name, p in own.items()}, tmp_path / "adapter.fra.safetensors")
    fewer = {name: p[:9].clone() if name.startswith("lm_head") else p - 1 for name, p in own.items()}
    torch.save(fewer, tmp_path / "adapter.deu.bin")
    save_file({"lm_head.weight": own["lm_head.weight"]}, tmp_path / "adapter.bad.safetensors")
    return tmp_path


def sound(batch: int = 2, samples: int = SAMPLES) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("language", ["fra", "deu"])
def test_languages(multilingual: Path, language: str) -> None:
    """A language given at the load, or later, makes the reference's model."""
    import transformers

    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(multilingual)
    theirs.load_adapter(language)
    later = autoload.AutoModelForCTC.from_pretrained(multilingual)
    later.load_adapter(language)
    at_once = autoload.AutoModelForCTC.from_pretrained(multilingual, target_lang=language)
    for ours in (later, at_once):
        assert ours.target_lang == language
        assert ours.config.vocab_size == theirs.config.vocab_size == ours.lm_head.out_features
        with torch.no_grad():
            assert_close(ours(sound()).logits, theirs.eval()(sound()).logits, 1e-5, language)


def test_languages_refused(multilingual: Path, tmp_path: Path) -> None:
    model = autoload.AutoModelForCTC.from_pretrained(multilingual)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(MissingFile, match="adapter.xyz"):
        model.load_adapter("xyz")
    with pytest.raises(WeightsError, match="adapter.bad: the file lacks"):
        model.load_adapter("bad")
    with pytest.raises(ArgumentError, match="a code such as"):
        model.load_adapter("../fra")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ArgumentError, match="no adapters"):
        autoload.AutoModelForCTC.from_config(autoload.AutoConfig.for_model("wav2vec2", **WAV2VEC2), target_lang="fra")


def test_fresh_adapters(multilingual: Path) -> None:
    model = autoload.AutoModelForCTC.from_pretrained(multilingual, target_lang="fra")
    fixed = model.wav2vec2.encoder.layers[0].attention.q_proj.weight.clone()
    model.init_adapter_layers()
    adapter = model.wav2vec2.encoder.layers[0].adapter_layer
    assert adapter.norm.weight.eq(1).all() and adapter.linear_1.weight.abs().max() < 0.2
    assert torch.equal(model.wav2vec2.encoder.layers[0].attention.q_proj.weight, fixed)


def pair(name: str, tmp_path: Path, **fields: Any) -> tuple[Any, Any]:
    """The same random model here and in the reference, with no dropout."""
    import transformers

    still = dict(hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0)
    config = transformers.CONFIG_MAPPING[name](**WAV2VEC2 | still | dict(final_dropout=0.0) | fields)
    theirs = transformers.AutoModel.from_config(config)
    theirs.save_pretrained(tmp_path)
    return autoload.AutoModel.from_pretrained(tmp_path), theirs


@pytest.mark.parametrize("fields", [{}, STABLE, ADAPTER], ids=["plain", "stable", "adapter"])
def test_training_draws(tmp_path: Path, fields: dict[str, Any]) -> None:
    """With the same seeds, training hides the same frames and channels and leaves out the same layers."""
    masks = dict(mask_time_prob=0.4, mask_time_length=3, mask_feature_prob=0.3, mask_feature_length=4, layerdrop=0.4)
    ours, theirs = pair("wav2vec2", tmp_path, **masks, **fields)
    mask = torch.ones(2, SAMPLES, dtype=torch.long)
    mask[1, 200:] = 0
    outputs = []
    for seed in range(4):
        found = []
        for model in (ours, theirs):
            np.random.seed(seed)
            torch.manual_seed(seed)
            found.append(model.train()(sound(), attention_mask=mask).last_hidden_state)
        assert_close(*found, 1e-5, f"seed {seed}")
        outputs.append(found[0])
    assert not torch.allclose(outputs[0], outputs[1])


SPANS = dict(mask_time_prob=0.4, mask_time_length=3, mask_feature_prob=0.3, mask_feature_length=4, layerdrop=0.4)
KIN = (*wav2vec2.CASES, *wav2vec2_kin.CASES, *wav2vec2_conformer.CASES, *whisper.CASES)


@pytest.mark.parametrize("case", {case.model_type: case for case in reversed(KIN)}.values(), ids=str)
def test_training_draws_of_kin(case: Case, tmp_path: Path) -> None:
    """The same of each type that learns so; layers of Whisper's encoder and decoder are left out too."""
    dropouts = ("dropout", "hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "conformer_conv_dropout", "final_dropout")  # fmt: skip
    spans = SPANS | dict(apply_spec_augment=True, encoder_layerdrop=0.4, decoder_layerdrop=0.4)
    case = replace(case, config=case.config | dict.fromkeys(dropouts, 0.0) | spans)
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    inputs = inputs_for(case, "Model")
    outputs = []
    for seed in range(3):
        found = []
        for model in (ours, theirs):
            np.random.seed(seed)
            torch.manual_seed(seed)
            own = {name: value.clone() for name, value in inputs.items()}  # the reference's Whisper writes into them
            found.append(model.train()(**own).last_hidden_state)
        assert_close(*found, 1e-5, f"seed {seed}")
        outputs.append(found[0])
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm"])
def test_hidden_frames(tmp_path: Path, name: str) -> None:
    """Frames that the caller hides, as an array or a tensor."""
    ours, theirs = pair(name, tmp_path)
    hidden = np.zeros((2, 16), dtype=bool)
    hidden[0, 2:7] = True
    with torch.no_grad():
        expected = theirs.eval()(sound(), mask_time_indices=torch.from_numpy(hidden)).last_hidden_state
        for given in (hidden, torch.from_numpy(hidden)):
            assert_close(ours(sound(), mask_time_indices=given).last_hidden_state, expected, 1e-5, name)
        assert not torch.allclose(ours(sound()).last_hidden_state, expected)


def test_spans() -> None:
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    for seed in range(20):
        rows = torch.ones(3, 30, dtype=torch.long)
        rows[1, 12:], rows[2, 2:] = 0, 0
        np.random.seed(seed)
        expected = _compute_mask_indices((3, 30), 0.5, 4, attention_mask=rows, min_masks=2)
        np.random.seed(seed)
        assert np.array_equal(hidden_spans((3, 30), 0.5, 4, rows.sum(1).tolist(), 2), expected)
    with pytest.raises(ConfigError, match="from 1 to the 30 places"):
        hidden_spans((3, 30), 0.5, 31)


def test_lengths() -> None:
    """Numbers and tensors of samples, before and after an adapter."""
    import transformers

    fields = WAV2VEC2 | ADAPTER
    ours = autoload.AutoModel.from_config(autoload.AutoConfig.for_model("wav2vec2", **fields))
    theirs = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**fields))
    counts = torch.arange(60, 400, 7)
    for add in (None, True, False):
        expected = theirs._get_feat_extract_output_lengths(counts, add)
        assert torch.equal(ours._get_feat_extract_output_lengths(counts, add), expected)
    assert ours._get_feat_extract_output_lengths(330, False) == 16


def test_spellings(tmp_path: Path) -> None:
    """Checkpoints from before parametrizations name the positions' weights `weight_g` and `weight_v`."""
    ours, _ = pair("wav2vec2", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    for number, letter in enumerate("gv"):
        path = "encoder.pos_conv_embed.conv"
        state[f"{path}.weight_{letter}"] = state.pop(f"{path}.parametrizations.weight.original{number}")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    again, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_frozen() -> None:
    model = autoload.AutoModelForCTC.from_config(autoload.AutoConfig.for_model("wav2vec2", **WAV2VEC2))
    model.freeze_feature_encoder()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any("feature_extractor" in name for name in trained) and "lm_head.weight" in trained
    model.freeze_base_model()
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"lm_head.weight", "lm_head.bias"}


def test_refused() -> None:
    config = autoload.AutoConfig.for_model("wav2vec2", **WAV2VEC2)
    model = autoload.AutoModelForCTC.from_config(config)
    with pytest.raises(ArgumentError, match="labels go up to 40, expected less than vocab_size, 40"):
        model(sound(), labels=torch.tensor([[4, 40], [5, 6]]))
    with pytest.raises(ArgumentError, match="pass input_values"):
        model()
    adapted = autoload.AutoConfig.for_model("wav2vec2", **WAV2VEC2 | ADAPTER)
    with pytest.raises(ConfigError, match="add_adapter"):
        autoload.AutoModelForAudioClassification.from_config(adapted)
    wrong = autoload.AutoConfig.for_model("wav2vec2", **WAV2VEC2 | dict(conv_stride=[5, 2]))
    with pytest.raises(ConfigError, match="one entry for each convolution"):
        autoload.AutoModel.from_config(wrong)
