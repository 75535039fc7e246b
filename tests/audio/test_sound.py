"""Sound files and what is not one."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import autoload
from autoload.audio.sound import read_sound
from autoload.errors import AudioError, CorruptFile, MissingFile
from tests.audio import sounds


def write(path: Path, sound: np.ndarray, width: int = 2, channels: int = 1, rate: int = 16000) -> Path:
    scaled = np.clip(sound.astype(np.float64), -1, 1) * (2 ** (8 * width - 1) - 1)
    if width == 1:
        data = (np.round(scaled) + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(round(x)).to_bytes(width, "little", signed=True) for x in scaled)
    with wave.open(str(path), "wb") as f:
        f.setnchannels(channels)
        f.setsampwidth(width)
        f.setframerate(rate)
        f.writeframes(data)
    return path


@pytest.mark.parametrize("width, exact", [(1, 2e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_wav(tmp_path: Path, width: int, exact: float) -> None:
    sound = sounds.clipped(0.2)
    samples, rate = read_sound(write(tmp_path / "a.wav", sound, width))
    assert rate == 16000 and samples.dtype == np.float32 and np.abs(samples - sound).max() < exact


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = sounds.noise(0.1, 1), sounds.noise(0.1, 2)
    samples, _ = read_sound(write(tmp_path / "a.wav", np.stack([left, right], 1).ravel(), 2, channels=2))
    assert np.abs(samples - (left + right) / 2).max() < 1e-4


def test_paths_say_their_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    extractor = autoload.Wav2Vec2FeatureExtractor()
    paths = [write(tmp_path / f"{n}.wav", sounds.noise(0.1 * n)) for n in (1, 2)]
    assert extractor(paths, padding=True, return_tensors="pt").input_values.shape == (2, 3200)
    assert not caplog.records
    extractor(sounds.noise(0.1))
    assert "no sampling_rate was given" in caplog.text
    with pytest.raises(AudioError, match="8000 Hz, expected 16000 Hz.*resample=True"):
        extractor(str(write(tmp_path / "slow.wav", sounds.noise(0.1), rate=8000)))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nothing.wav"):
        read_sound(tmp_path / "nothing.wav")
    (tmp_path / "cut.wav").write_bytes(write(tmp_path / "whole.wav", sounds.noise(0.1)).read_bytes()[:20])
    with pytest.raises(CorruptFile, match="cut.wav"):
        read_sound(tmp_path / "cut.wav")
    (tmp_path / "a.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.raises((AudioError, CorruptFile), match=r"a\.flac"):
        read_sound(tmp_path / "a.flac")


@pytest.mark.parametrize(
    "sound, match",
    [
        (np.zeros((2, 3, 4)), r"shape \(3, 4\)"),
        (["a", "b"], "no such"),
        ({"array": [1.0]}, "dict"),
        ([[1.0], ["x"]], "list of numbers"),
    ],  # fmt: skip
)
def test_what_is_no_sound(sound: object, match: str) -> None:
    with pytest.raises((AudioError, MissingFile), match=match):
        autoload.Wav2Vec2FeatureExtractor()(sound, sampling_rate=16000)


def test_extraction_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np, autoload\n"
        "found = autoload.WhisperFeatureExtractor()(np.zeros(16000, np.float32), sampling_rate=16000)\n"
        "assert found['input_features'].shape == (1, 80, 3000)\n"
        "assert not {'torch', 'transformers', 'huggingface_hub', 'tokenizers'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
