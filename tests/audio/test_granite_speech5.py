"""Granite Speech's extractor beside what the reference gave, which needs torchaudio; beside the reference itself where it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoload
from autoload.errors import AudioError, ConfigError
from tests.audio import sounds
from tests.audio.test_extractors import assert_same

RECORDED = json.loads(Path(__file__).with_name("granite_speech5.json").read_text())
NAME = "GraniteSpeech5FeatureExtractor"


@pytest.mark.parametrize("record", RECORDED, ids=["usual", "others"])
def test_recorded(record: dict[str, Any]) -> None:
    batch = [sounds.noise(0.131, 3), sounds.half_silent(0.2)]
    extractor = autoload.GraniteSpeech5FeatureExtractor(**record["settings"])
    found = extractor(batch, sampling_rate=16000, return_tensors="np", **record["call"])
    assert np.abs(found["input_features"] - np.array(record["input_features"])).max() <= 1e-5
    assert found["attention_mask"].tolist() == record["attention_mask"]
    assert found["input_features"].dtype == np.float32 and found["attention_mask"].dtype == np.int64


@pytest.mark.parametrize("settings", [{}, {"num_mel_bins": 40, "delta_win_length": 5, "logmel_floor_db": 4.0}])
def test_values(settings: dict[str, Any]) -> None:
    pytest.importorskip("torchaudio")
    import transformers

    ours, theirs = getattr(autoload, NAME)(**settings), getattr(transformers, NAME)(**settings)
    assert ours.to_dict() == theirs.to_dict()
    calls: list[dict[str, Any]] = [{}, {"padding": "max_length", "max_length": 20000, "truncation": True}]
    for call in (*calls, {"pad_to_multiple_of": 999}, {"return_attention_mask": False}):
        keywords = dict(sampling_rate=16000, return_tensors="pt", **call)
        assert_same(ours(sounds.ragged(), **keywords), theirs(sounds.ragged(), **keywords), single=True)


def test_files(tmp_path: Path) -> None:
    """The number of features follows from that of the filters, whatever a file says."""
    made = autoload.GraniteSpeech5FeatureExtractor(num_mel_bins=10, feature_size=7)
    assert made.feature_size == 40
    made.save_pretrained(tmp_path)
    assert autoload.AutoFeatureExtractor.from_pretrained(tmp_path).to_dict() == made.to_dict()


def test_mistakes() -> None:
    extractor = autoload.GraniteSpeech5FeatureExtractor()
    with pytest.raises(AudioError, match="several lengths make no batch"):
        extractor(sounds.ragged(), sampling_rate=16000, padding=False)
    with pytest.raises(AudioError, match="expected at most 8000.*truncation=True"):
        extractor(sounds.noise(1), sampling_rate=16000, padding="max_length", max_length=8000)
    with pytest.raises(ConfigError, match="delta_win_length"):
        autoload.GraniteSpeech5FeatureExtractor(delta_win_length=2)
