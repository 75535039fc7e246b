"""Nemotron's diarization of streams, and what it remembers of a recording, beside the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, ConfigError
from autoload.models.nemotron_speakers import SpeakerCache
from tests.parity.cases.nemotron_diarization import CASES, CONFIG, STREAM
from tests.parity.harness import Case, assert_close, load_ours, reference_model


def both_caches(**settings: Any) -> tuple[Any, Any]:
    from transformers.models.nemotron3_diarization import configuration_nemotron3_diarization as fields
    from transformers.models.nemotron3_diarization import modeling_nemotron3_diarization as reference

    parts = autoload.AutoConfig.for_model("nemotron3_diarization", **CONFIG).streaming_config
    parts.update(settings)
    theirs = fields.Nemotron3DiarizationStreamingConfig(**{**STREAM, **settings})
    return SpeakerCache(parts), reference.Nemotron3DiarizationSpeakerCache(theirs)


@pytest.mark.parametrize("loud", [0.5, 3.0, 20.0])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"speaker_cache_silence_frames_per_speaker": 0, "min_positive_scores_rate": 0.2},
        {"fifo_length": 1, "speaker_cache_update_period": 6, "latest_frames_score_boost": 0.9},
        {
            "speaker_cache_length": 20,
            "strong_boost_rate": 0.3,
            "weak_boost_rate": 1.0,
            "prediction_score_threshold": 0.1,
        },
    ],
)
def test_memory(settings: dict[str, Any], loud: float) -> None:
    """Which frames stay, after each of many pieces: of quiet speakers, of loud ones, and of some who speak at once."""
    ours, theirs = both_caches(**settings)
    generator = torch.Generator().manual_seed(1)
    silence = torch.randn(6, generator=generator)
    for place in range(14):
        count, ahead, back = 2 + place % 4, place % 3, (place % 2) * min(place, 1)
        piece = torch.randn(2, back + count + ahead, 6, generator=generator)
        cached = ours.get_embeds(piece)
        assert torch.equal(cached, theirs.get_embeds(piece))
        x = torch.cat([cached, piece], 1)
        logits = torch.randn(2, x.shape[1] * 4, 3, generator=generator) * loud
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        mask[1, -ahead - 1 :] = False
        for cache in (ours, theirs):
            cache.update(x, logits, silence, count, mask if place % 5 else None, back)
        kept, waiting = theirs.num_cache_frames, theirs.num_fifo_frames
        assert (ours.num_cache_frames, ours.num_fifo_frames) == (kept, waiting)
        assert torch.equal(ours.embeds, theirs.embeds[:, :kept]) and torch.equal(ours.fifo, theirs.fifo[:, :waiting])
        assert torch.equal(ours.probs, theirs.probs[:, :kept]) and ours.is_compressed == theirs.is_compressed
    assert ours.is_compressed


@pytest.mark.parametrize("case", CASES[1:], ids=str)
@pytest.mark.parametrize("ahead, back", [(2, 0), (0, 0), (1, 2), (None, 1)])
@torch.no_grad()
def test_streams(case: Case, ahead: int | None, back: int, tmp_path: Path) -> None:
    """A stream piece by piece; the last one has nothing to look ahead to."""
    task = "AudioFrameClassification"
    ours, theirs = load_ours(case, task, tmp_path), reference_model(case, task)
    sound = torch.randn(2, 150, 10, generator=torch.Generator().manual_seed(4)) * 3
    caches: list[Any] = [None, None]
    for place in range(6):
        begin = 16 * place - (4 * back if place else 0)
        last = place == 5
        piece = sound[:, begin : 150 if last else 16 * (place + 1) + 4 * (ahead or 0)]
        told: dict[str, Any] = {"num_lookahead_frames": None if last else ahead}
        told["num_lookback_frames"] = back if place and back else None
        if place == 0 and told["num_lookahead_frames"] is None:
            told["num_lookback_frames"] = 0
        outputs = [m(piece, speaker_cache=c, **told) for m, c in zip((ours, theirs), caches, strict=True)]
        found, expected = outputs
        assert [*found] == [*expected] == ["logits", "speaker_cache"]
        assert_close(found.logits, expected.logits, 1e-5, "logits")
        caches = [out.speaker_cache for out in outputs]
    assert caches[0].is_compressed


def test_mistakes(tmp_path: Path) -> None:
    ours = load_ours(CASES[1], "AudioFrameClassification", tmp_path)
    sound = torch.zeros(1, 20, 10)
    with pytest.raises(ArgumentError, match=r"num_lookahead_frames \(5\) to leave some of the 5 vectors"):
        ours(sound, num_lookahead_frames=5)
    with pytest.raises(ArgumentError, match=r"num_lookback_frames \(-1\)"):
        ours(sound, num_lookback_frames=-1)
    with pytest.raises(ArgumentError, match="pass input_features"):
        ours()
    with pytest.raises(ArgumentError, match="one of input_features"):
        ours.model.audio_tower(sound, inputs_embeds=torch.zeros(1, 5, 32))


@pytest.mark.parametrize(
    "change, match",
    [
        ({"chunk_right_context": 5}, "chunk_right_context.*less than chunk_length"),
        ({"head_config": {"audio_hidden_size": 31}}, "head_config.audio_hidden_size.*32"),
        ({"streaming_config": {**STREAM, "num_speakers": 2}}, "streaming_config.num_speakers.*3"),
        ({"streaming_config": {**STREAM, "speaker_cache_length": 5}}, "speaker_cache_length.*at least 6"),
        ({"audio_config": {"hidden_size": 30, "num_attention_heads": 4}}, "num_attention_heads.*divisor"),
    ],
)
def test_configurations_that_contradict_themselves(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        autoload.AutoConfig.for_model("nemotron3_diarization", **{**CONFIG, **change})
