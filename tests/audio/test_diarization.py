"""The processor of Nemotron's diarization beside the reference's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import ArgumentError, AudioError
from tests.audio import sounds


@pytest.fixture(
    scope="module", params=[{}, {"streaming_modes": {"slow": [4, 3], "low_latency": [2, 0]}}], ids=["", "own modes"]
)
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    import transformers

    folder = tmp_path_factory.mktemp("processor")
    extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=40)
    transformers.Nemotron3DiarizationProcessor(extractor, **request.param).save_pretrained(folder)
    return autoload.AutoProcessor.from_pretrained(folder), transformers.AutoProcessor.from_pretrained(folder)


def test_files(pair: tuple[Any, Any], tmp_path: Path) -> None:
    from transformers import AutoProcessor

    ours, theirs = pair
    assert type(ours).__name__ == "Nemotron3DiarizationProcessor"
    assert ours.to_dict() == theirs.to_dict() and ours.model_input_names == theirs.model_input_names
    ours.save_pretrained(tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).to_dict() == theirs.to_dict()
    with pytest.raises(ArgumentError, match="streaming_mod"):
        autoload.AutoProcessor.from_pretrained(tmp_path, streaming_mod="slow")


def test_class_by_model_type(pair: tuple[Any, Any], tmp_path: Path) -> None:
    """Older files name the extractor alone."""
    pair[0].feature_extractor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "nemotron3_diarization"}')
    found = autoload.AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(found, autoload.Nemotron3DiarizationProcessor)


def test_recordings(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    for audio in (sounds.ragged(), sounds.noise(0.7)):
        found, expected = ours(audio, sampling_rate=16000), theirs(audio, sampling_rate=16000)
        assert {*found} == {*expected}
        assert all(torch.allclose(found[key].float(), expected[key].float(), atol=1e-4) for key in expected)


def test_streams(pair: tuple[Any, Any]) -> None:
    """Pieces have the frames of the whole recording; the last one is as long as it is."""
    ours, theirs = pair
    for mode in ours.streaming_modes:
        for processor in pair:
            processor.set_streaming_mode(mode)
        sizes = ("num_mel_frames_per_audio_chunk", "num_mel_frames_per_step", "num_samples_first_audio_chunk")
        for name in (*sizes, "num_samples_per_audio_chunk", "streaming_latency_ms"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.audio_chunk_start(7) == theirs.audio_chunk_start(7)
        step, total = ours.num_mel_frames_per_step, ours.num_mel_frames_per_audio_chunk
        sound = sounds.noise((3 * step + 11.3) / 100)
        whole = ours(sound, sampling_rate=16000)["input_features"]
        for place in range(4):
            first, last = place == 0, place == 3
            begin = 0 if first else ours.audio_chunk_start(place * step)
            size = ours.num_samples_first_audio_chunk if first else ours.num_samples_per_audio_chunk
            if not last and begin + size > len(sound):
                continue
            piece = sound[begin : None if last else begin + size]
            marks: dict[str, Any] = dict(is_first_audio_chunk=first, is_last_audio_chunk=last, is_streaming=True)
            found, expected = (processor(piece, sampling_rate=16000, **marks) for processor in pair)
            assert {*found} == {*expected} and found.get("num_lookahead_frames") == expected.get("num_lookahead_frames")
            assert torch.allclose(found["input_features"], expected["input_features"], atol=1e-4)
            frames = found["input_features"].shape[1]
            assert last or frames == total
            same = whole[:, place * step : place * step + frames]
            assert same.shape[1] == frames or last
            assert torch.allclose(found["input_features"][:, : same.shape[1]], same, atol=1e-4)


def test_turns(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    logits = torch.randn(3, 60, 4, generator=torch.Generator().manual_seed(1)).cumsum(1)
    mask = torch.from_numpy(np.arange(60) < np.array([[60], [41], [0]]))
    for call in ({}, {"attention_mask": mask}, {"attention_mask": mask.long(), "threshold": 0.9}):
        found = ours.extract_speaker_dict(logits, **call)
        assert found == theirs.extract_speaker_dict(logits, **call) and found[0]
        assert not call or not found[2]


def test_mistakes(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    with pytest.raises(AudioError, match="'low' is not known.*low_latency"):
        ours.set_streaming_mode("low")
    with pytest.raises(AudioError, match="is_streaming=True"):
        ours(sounds.noise(0.5), sampling_rate=16000, is_last_audio_chunk=True)
    with pytest.raises(AudioError, match=f"expected {ours.num_mel_frames_per_audio_chunk} for"):
        ours(sounds.noise(0.05), sampling_rate=16000, is_streaming=True)
