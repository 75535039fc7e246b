"""CLAP beyond the parity suite: the towers' features, real spectrograms, files without tables, what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.audio import sounds
from tests.parity.cases.clap import AUDIO, CASES, CLAP, FUSED
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

PLAIN, WITH_PIECES = CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_features(case: Case, tmp_path: Path) -> None:
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    inputs = inputs_for(case, "Model")
    sound = {key: inputs[key] for key in ("input_features", "is_longer") if key in inputs}
    with torch.no_grad():
        for name, given in (("get_text_features", {"input_ids": inputs["input_ids"]}), ("get_audio_features", sound)):
            found, expected = (getattr(model, name)(**given) for model in (ours, theirs))
            assert [*found] == [*expected]
            assert_close(found.pooler_output, expected.pooler_output, 1e-5, name)
            assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-5, name)
            assert_close(getattr(ours, name)(**given, return_dict=False), tuple(found.values()), 1e-6, name)


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_from_sounds_to_scores(truncation: str, tmp_path: Path) -> None:
    """With the extractor's spectrograms, of one sound that is too long and one that is not."""
    from transformers import ClapFeatureExtractor

    case = Case("clap", CLAP | {"audio_config": FUSED if truncation == "fusion" else AUDIO})
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    settings: dict[str, Any] = dict(feature_size=12 if truncation == "fusion" else 8, max_length_s=1)
    ClapFeatureExtractor(**settings, truncation=truncation).save_pretrained(tmp_path)
    extractor = autoload.AutoFeatureExtractor.from_pretrained(tmp_path)
    longest = 1.0 if truncation == "rand_trunc" else 1.5
    read = extractor(
        [sounds.noise(longest, rate=48000), sounds.noise(0.4, rate=48000)], sampling_rate=48000, return_tensors="pt"
    )
    if truncation == "fusion":
        assert read["is_longer"].flatten().tolist() == [True, False]
    ids = inputs_for(case, "Model")["input_ids"]
    with torch.no_grad():
        found, expected = (model(input_ids=ids, **read, return_loss=False) for model in (ours, theirs))
    assert_close(found.logits_per_audio, expected.logits_per_audio, 1e-5, "scores")


def test_files_without_tables(tmp_path: Path) -> None:
    """Numbers of positions are computed where a file has none."""
    ours = load_ours(PLAIN, "Model", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    tables = ("position_ids", "token_type_ids", "relative_position_index")
    assert sum(name.endswith(tables) for name in state) == 8
    save_file({k: v for k, v in state.items() if not k.endswith(tables)}, tmp_path / "model.safetensors")
    again, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(again.state_dict()[name], value) for name, value in ours.state_dict().items())


@pytest.mark.filterwarnings("ignore")
def test_a_graph_fuses_too(tmp_path: Path) -> None:
    model, inputs = load_ours(WITH_PIECES, "Model", tmp_path), inputs_for(WITH_PIECES, "Model")
    with torch.no_grad():
        found = torch.compile(model, backend="eager", fullgraph=True)(**inputs).logits_per_audio
        assert_close(found, model(**inputs).logits_per_audio, 1e-6, "scores")


def test_blocks_are_left_out_in_training() -> None:
    config = autoload.AutoConfig.for_model("clap", **CLAP | {"audio_config": AUDIO | {"drop_path_rate": 0.9}})
    model: Any = autoload.AutoModel.from_config(config)
    inputs = inputs_for(PLAIN, "Model")["input_features"]
    first, second = (model.train().get_audio_features(inputs).pooler_output for _ in range(2))
    assert first.isfinite().all() and not torch.allclose(first, second)
    first, second = (model.eval().get_audio_features(inputs).pooler_output for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "features,text",
    [
        (None, "input_features is None"),
        (torch.zeros(1, 1, 129, 8), r"\(1, 1, 129, 8\), expected \(batch, 1, at most 128 frames, 8 bins\)"),
        (torch.zeros(1, 4, 128, 8), r"\(1, 4, 128, 8\), expected \(batch, 1"),
    ],
)
def test_wrong_sounds(features: torch.Tensor | None, text: str) -> None:
    model: Any = autoload.AutoModel.from_config(autoload.AutoConfig.for_model("clap", **CLAP))
    with pytest.raises(ArgumentError, match=text):
        model.get_audio_features(features)


def test_fusion_asks_what_is_longer() -> None:
    model: Any = autoload.AutoModel.from_config(autoload.AutoConfig.for_model("clap", **WITH_PIECES.config))
    with pytest.raises(ArgumentError, match="pass is_longer"):
        model.get_audio_features(torch.zeros(1, 4, 150, 12))


@pytest.mark.parametrize(
    "fields,text",
    [
        ({"window_size": 7}, "window_size is 7.*at most the 4 rows"),
        ({"spec_size": 36}, "spec_size is 36.*a multiple of num_mel_bins"),
        ({"num_attention_heads": [3, 4, 4]}, "num_attention_heads is 3.*a divisor of the stage's width"),
        ({"flatten_patch_embeds": False}, "flatten_patch_embeds is False"),
        ({"enable_fusion": True, "fusion_type": "channel_map"}, "fusion_type is 'channel_map'"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, Any], text: str) -> None:
    config = autoload.AutoConfig.for_model("clap", **CLAP | {"audio_config": AUDIO | fields})
    with pytest.raises(ConfigError, match=text):
        autoload.AutoModel.from_config(config)
