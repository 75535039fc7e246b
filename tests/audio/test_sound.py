"""Sound files and what is not one."""

from __future__ import annotations

import importlib.util
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


@pytest.fixture(params=["alone", "soundfile"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read: with the extra's packages, and as if these were not installed."""
    if request.param == "soundfile":
        pytest.importorskip("soundfile")
    else:
        find = importlib.util.find_spec
        missing = ("soundfile", "soxr", "scipy")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    return request.param


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("width, exact", [(1, 2e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_wav(tmp_path: Path, width: int, exact: float) -> None:
    sound = sounds.clipped(0.2)
    samples, rate = read_sound(write(tmp_path / "a.wav", sound, width))
    assert rate == 16000 and samples.dtype == np.float32 and np.abs(samples - sound).max() < exact


@pytest.mark.usefixtures("reader")
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


@pytest.mark.usefixtures("reader")
def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nothing.wav"):
        read_sound(tmp_path / "nothing.wav")
    (tmp_path / "cut.wav").write_bytes(write(tmp_path / "whole.wav", sounds.noise(0.1)).read_bytes()[:20])
    with pytest.raises(CorruptFile, match="cut.wav"):
        read_sound(tmp_path / "cut.wav")
    (tmp_path / "a.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.raises((AudioError, CorruptFile), match=r"a\.flac"):
        read_sound(tmp_path / "a.flac")


FORMATS = [
    ("FLAC", "PCM_24", 1e-6), ("AIFF", "PCM_16", 1e-4), ("W64", "FLOAT", 0), ("WAV", "FLOAT", 0), ("WAV", "DOUBLE", 1e-7),
    ("OGG", "VORBIS", 0.1), ("MP3", "MPEG_LAYER_III", 0.1),
]  # fmt: skip


@pytest.mark.parametrize("kind, samples, exact", FORMATS)
def test_other_formats(tmp_path: Path, kind: str, samples: str, exact: float) -> None:
    soundfile = pytest.importorskip("soundfile")
    path, sound = tmp_path / "a.sound", sounds.tones(0.5)
    soundfile.write(path, sound, 16000, format=kind, subtype=samples)
    found, rate = read_sound(path)
    assert rate == 16000 and found.dtype == np.float32 and len(found) == len(sound)
    assert np.abs(found - sound).max() <= exact
    extractor = autoload.WhisperFeatureExtractor(chunk_length=1)
    expected = extractor(found, sampling_rate=16000, return_tensors="np").input_features
    assert np.array_equal(extractor([path, str(path)], return_tensors="np").input_features, np.repeat(expected, 2, 0))


def test_formats_that_need_a_package(reader: str, tmp_path: Path) -> None:
    """The error says what to install."""
    wide = write(tmp_path / "a.wav", np.zeros(1600), 4)
    wide.write_bytes(wide.read_bytes().replace(b"fmt \x10\0\0\0\x01\0", b"fmt \x10\0\0\0\x03\0"))  # floating samples
    if reader == "soundfile":
        assert len(read_sound(wide)[0]) == 1600
        return
    (tmp_path / "a.flac").write_bytes(b"fLaC" + bytes(40))
    for path in (wide, tmp_path / "a.flac"):
        with pytest.raises(AudioError, match=rf"{path.name}.*soundfile.*autoload\[audio\]"):
            read_sound(path)
    with pytest.raises(AudioError, match=r"from 8000 to 16000 Hz needs soxr or scipy.*autoload\[audio\]"):
        autoload.Wav2Vec2FeatureExtractor()(sounds.tones(0.1, 8000), sampling_rate=8000, resample=True)


@pytest.mark.parametrize("package", ["soxr", "scipy"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling(package: str, rate: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tones keep their pitch and loudness, whether of an array or of a file, which says its own rate."""
    pytest.importorskip(package)
    find, other = importlib.util.find_spec, {"soxr": "scipy", "scipy": "soxr"}[package]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == other else find(name))
    extractor = autoload.Wav2Vec2FeatureExtractor(do_normalize=False)
    found = extractor(sounds.tones(1, rate), sampling_rate=rate, resample=True).input_values[0]
    assert found.shape == (16000,) and found.dtype == np.float32
    assert np.abs(found - sounds.tones(1))[2000:-2000].max() < 2e-3
    path = write(tmp_path / "a.wav", sounds.tones(1, rate), rate=rate)
    assert np.abs(extractor(path, resample=True).input_values[0] - found).max() < 1e-3
    with pytest.raises(AudioError, match=f"{rate} Hz, expected 16000 Hz"):
        extractor(path)


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
