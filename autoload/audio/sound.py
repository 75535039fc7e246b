"""Sounds as callers have them: files, arrays, lists and tensors, become arrays of one channel at one rate."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoload.errors import AudioError, CorruptFile, reading

Array = NDArray[Any]
logger = logging.getLogger("autoload")


def read_sound(path: str | os.PathLike) -> tuple[Array, int]:
    """Samples of a sound file, the mean of its channels, from -1 to 1 in float32; and its rate in hertz.

    WAV files of whole numbers need nothing else; other formats need the package soundfile.

    Raises:
        AudioError: the format needs a package that is not installed.
        FileError: no such file, or a damaged one.
    """
    with reading(path, "sound file"), open(path, "rb") as file:
        if importlib.util.find_spec("soundfile") is not None:
            import soundfile  # type: ignore[import-not-found]

            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
            return samples.mean(1), rate
        riff = file.read(4) == b"RIFF"
        file.seek(0)
        try:
            if riff:
                return _read_wave(file, path)
        except wave.Error as e:
            if not str(e).startswith("unknown format"):  # of samples: floating ones, say
                raise
    text = f"{path}: only WAV files of whole numbers can be read without the package soundfile"
    raise AudioError(f"{text}: pip install 'autoload[audio]'.", field="path")


def _read_wave(file: Any, path: str | os.PathLike) -> tuple[Array, int]:
    with wave.open(file, "rb") as f:
        width, channels, rate, data = f.getsampwidth(), f.getnchannels(), f.getframerate(), f.readframes(f.getnframes())
    if width not in (1, 2, 3, 4):
        raise CorruptFile(f"{path}: samples of {width} bytes, expected 1 to 4.", path=str(path))
    if width == 1:  # the only unsigned kind
        samples = np.frombuffer(data, np.uint8).astype(np.float32) - 128
    elif width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data[: len(wide) * 3], np.uint8).reshape(-1, 3)
        samples, width = wide.view("<i4")[:, 0].astype(np.float32), 4
    else:
        samples = np.frombuffer(data[: len(data) // width * width], f"<i{width}").astype(np.float32)
    samples = samples[: len(samples) // channels * channels].reshape(-1, channels).mean(1)
    return samples / np.float32(2 ** (8 * width - 1)), rate


def resampled(samples: Array, rate: int, wanted: int) -> Array:
    """The same sound at another rate, by soxr, or else by scipy.

    Raises:
        AudioError: neither is installed.
    """
    if rate == wanted:
        return samples
    if importlib.util.find_spec("soxr") is not None:
        import soxr  # type: ignore[import-not-found]

        return soxr.resample(samples, rate, wanted).astype(np.float32)
    if importlib.util.find_spec("scipy") is not None:
        from scipy.signal import resample_poly

        part = math.gcd(rate, wanted)
        return resample_poly(samples, wanted // part, rate // part).astype(np.float32)
    text = f"Resampling from {rate} to {wanted} Hz needs soxr or scipy: pip install 'autoload[audio]'."
    raise AudioError(text, field="resample")


def waveforms(sound: Any, rate: int | None, wanted: int, owner: str, resample: bool = False) -> list[Array]:
    """Each sound of a call as an array of one channel, in float32.

    Args:
        sound: an array, list, tensor or path; or several: a list of these, or (batch, samples).
        rate: of arrays, in hertz; files say theirs.
        wanted: what the model was trained with.
        owner: name of the extractor, for messages.
        resample: change the rate where it differs.

    Raises:
        AudioError: another rate than the wanted one, more than one channel, or something that is no sound.
    """
    sounds = list(sound) if _is_batch(sound) else [sound]
    if rate is None and any(not isinstance(s, (str, os.PathLike)) for s in sounds):
        logger.warning("%s: no sampling_rate was given; the sound is taken to have %d Hz.", owner, wanted)
    return [_one(s, rate, wanted, owner, resample) for s in sounds]


def _is_batch(sound: Any) -> bool:
    if isinstance(sound, (str, os.PathLike)):
        return False
    if hasattr(sound, "ndim"):
        return sound.ndim > 1
    if not isinstance(sound, Sequence):
        raise AudioError(
            f"raw_speech is a {type(sound).__name__}, expected an array, a list, a tensor or a path.",
            field="raw_speech",
        )
    return bool(sound) and (isinstance(sound[0], (str, os.PathLike, Sequence)) or hasattr(sound[0], "ndim") and sound[0].ndim > 0)  # fmt: skip


def _one(sound: Any, rate: int | None, wanted: int, owner: str, resample: bool) -> Array:
    if isinstance(sound, (str, os.PathLike)):
        samples, rate = read_sound(sound)
    else:
        samples = _array(sound, owner)
    if rate is not None and rate != wanted:
        if not resample:
            text = f"{owner}: the sound has a sampling rate of {rate} Hz, expected {wanted} Hz, which the model was trained"
            raise AudioError(f"{text} with. Resample it, or pass resample=True.", field="sampling_rate")
        samples = resampled(samples, rate, wanted)
    return samples


def _array(sound: Any, owner: str) -> Array:
    if hasattr(sound, "detach"):  # a tensor, wherever it is
        sound = sound.detach().cpu().numpy()
    try:
        samples = np.asarray(sound, np.float32)
    except (TypeError, ValueError) as e:
        raise AudioError(f"{owner}: a sound is to be a list of numbers; {e}.", field="raw_speech") from e
    if samples.ndim != 1:
        shape = tuple(samples.shape)
        raise AudioError(
            f"{owner}: a sound has the shape {shape}, expected one channel: (samples,).", field="raw_speech"
        )
    return samples
