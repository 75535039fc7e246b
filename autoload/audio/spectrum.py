"""Mel filters, windows and short-time spectra in numpy, a block of frames at a time so that they stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoload.errors import AudioError

Array = NDArray[Any]
BLOCK = 128  # frames that go through the filters at once, at most
TRANSFORMED = 64  # of them at once: larger arrays would be made of new pages of memory each time
PRODUCT = 2**18  # multiplications of a matrix product; BLAS starts threads for more, which take longer than the product


# -- the mel scale


def hertz_to_mel(freq: Any, scale: str = "htk") -> Any:
    """Pitch of frequencies: "htk" and "kaldi" are logarithmic, "slaney" is linear below 1 kHz."""
    freq = np.asarray(freq, np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + freq / 700.0)
    if scale == "kaldi":
        return 1127.0 * np.log1p(freq / 700.0)
    if scale == "slaney":
        above = 15.0 + 27.0 / np.log(6.4) * np.log(np.maximum(freq, 1000.0) / 1000.0)
        return np.where(freq < 1000.0, 0.015 * freq, above)
    raise AudioError(f"mel scale {scale!r}: expected 'htk', 'kaldi' or 'slaney'.", field="mel_scale")


def mel_to_hertz(mel: Any, scale: str = "htk") -> Any:
    """The inverse of `hertz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    if scale == "kaldi":
        return 700.0 * np.expm1(mel / 1127.0)
    if scale == "slaney":
        above = 1000.0 * np.exp(np.log(6.4) / 27.0 * (np.maximum(mel, 15.0) - 15.0))
        return np.where(mel < 15.0, mel / 0.015, above)
    raise AudioError(f"mel scale {scale!r}: expected 'htk', 'kaldi' or 'slaney'.", field="mel_scale")


def mel_filter_bank(
    num_frequency_bins: int,
    num_mel_filters: int,
    min_frequency: float,
    max_frequency: float,
    sampling_rate: int,
    norm: str | None = None,
    mel_scale: str = "htk",
    triangularize_in_mel_space: bool = False,
) -> Array:
    """Triangles that overlap by half, evenly wide on the mel scale.

    Args:
        num_frequency_bins: of the spectrum, from 0 to half the sampling rate.
        num_mel_filters: number of triangles.
        min_frequency, max_frequency: where the first begins and the last ends, in hertz.
        sampling_rate: of the sound, in hertz.
        norm: "slaney" gives each triangle the same area.
        mel_scale: "htk", "kaldi" or "slaney".
        triangularize_in_mel_space: the sides are straight in mel, not in hertz.

    Returns:
        Weights, (bins, filters), in float64.

    Raises:
        AudioError: fewer than two bins, an empty band, or an unknown scale or norm.
    """
    if norm not in (None, "slaney"):
        raise AudioError(f"norm={norm!r}: expected None or 'slaney'.", field="norm")
    if num_frequency_bins < 2 or min_frequency > max_frequency:
        raise AudioError(
            f"mel_filter_bank: {num_frequency_bins} bins from {min_frequency} to {max_frequency} Hz, expected at least "
            "two bins and a band that does not end before it begins.",
            field="num_frequency_bins" if num_frequency_bins < 2 else "min_frequency",
        )
    low, high = (float(hertz_to_mel(f, mel_scale)) for f in (min_frequency, max_frequency))
    mels = np.linspace(low, high, num_mel_filters + 2)
    corners = mel_to_hertz(mels, mel_scale)
    if triangularize_in_mel_space:
        step = sampling_rate / (2 * (num_frequency_bins - 1))
        bins, places = hertz_to_mel(step * np.arange(num_frequency_bins), mel_scale), mels
    else:
        bins, places = np.linspace(0, sampling_rate // 2, num_frequency_bins), corners
    widths = np.diff(places)
    rising = (bins[:, None] - places[None, :-2]) / widths[:-1]  # (bins, filters)
    falling = (places[None, 2:] - bins[:, None]) / widths[1:]
    filters = np.clip(np.minimum(rising, falling), 0.0, None)
    return filters * (2.0 / (corners[2:] - corners[:-2])) if norm else filters


WINDOWS: dict[str, Callable[[int], Array]] = {
    "boxcar": np.ones,
    "hamming": np.hamming,
    "hann": np.hanning,
    "povey": lambda length: np.hanning(length) ** 0.85,
}


def window_function(length: int, name: str = "hann", periodic: bool = True) -> Array:
    """A window by its name; a periodic one leaves out the last point of a symmetric one."""
    if name not in WINDOWS:
        raise AudioError(f"window {name!r}: expected one of {', '.join(WINDOWS)}.", field="window")
    return WINDOWS[name](length + 1)[:-1] if periodic else WINDOWS[name](length)


# -- spectra


def frames_of(wave: Array, length: int, hop: int) -> Array:
    """Overlapping pieces of a sound, as a view: (frames, length)."""
    if len(wave) < length:
        return np.empty((0, length), wave.dtype)
    return np.lib.stride_tricks.sliding_window_view(wave, length)[::hop]


def padded(wave: Array, margin: int, mode: str = "reflect") -> Array:
    """A sound with `margin` samples more at both ends, so that frames are centred on their time."""
    if mode == "reflect" and len(wave) <= 1:
        mode = "edge" if len(wave) else "constant"
    return np.pad(wave, margin, mode=mode)  # type: ignore[call-overload]


def mel_spectrogram(
    wave: Array,
    window: Array,
    hop: int,
    filters: Array,
    finish: Callable[[Array], Array],
    fft_length: int | None = None,
    prepare: Callable[[Array], Array] | None = None,
    noisy: bool = False,
) -> Array:
    """What mel filters let through of each frame, after `finish` (a logarithm, say): (frames, filters) in float32.

    Args:
        wave: the sound; its dtype is that of sums over bins.
        window: of the length of a frame.
        hop: samples from one frame to the next.
        filters: (bins, filters).
        finish: may work in place, and takes each place by itself.
        fft_length: points of the transform, at least the window's; frames are filled with zeros.
        prepare: what is done to frames before the window.
        noisy: it makes something of zeros.
    """
    frames = frames_of(wave, len(window), hop)
    out = np.empty((filters.shape[1], len(frames)), np.float32)  # sums over time are along rows, which is more exact
    bands = _bands(filters.astype(wave.dtype))
    size = max(1, min(BLOCK, PRODUCT // max(weights.size for _, _, weights in bands)))
    power = np.empty((size, len(filters)), wave.dtype)
    silence = finish(np.zeros((filters.shape[1], 1), wave.dtype))
    for first in range(0, len(frames), size):
        block = frames[first : first + size]
        part = wave[first * hop : (first + len(block)) * hop + len(window)]
        if not noisy and block[0, 0] == 0 == block[-1, -1] and not part.any():
            out[:, first : first + len(block)] = silence  # as after sounds that were filled up
            continue
        _powers(block, window, fft_length or len(window), prepare, power)
        for rows, bins, weights in bands:
            out[rows, first : first + len(block)] = finish(weights @ power[: len(block), bins].T)
    return out.T


def _powers(frames: Array, window: Array, length: int, prepare: Callable[[Array], Array] | None, out: Array) -> None:
    """Power of each bin of each frame, into the first rows of `out`; the transform is in double precision."""
    filled = np.zeros((TRANSFORMED, length))
    for first in range(0, len(frames), TRANSFORMED):
        piece = frames[first : first + TRANSFORMED]
        windowed = filled[: len(piece)]
        np.multiply(piece if prepare is None else prepare(piece), window, out=windowed[:, : len(window)])
        spectra = np.fft.rfft(windowed).astype(np.complex64)  # as the reference keeps them; a later division shows it
        power = out[first : first + len(piece)]
        np.square(spectra.real, out=power, dtype=out.dtype)
        power += np.square(spectra.imag, dtype=out.dtype)


def _bands(filters: Array, count: int = 4) -> list[tuple[slice, slice, Array]]:
    """Groups of neighbouring filters, with the bins that these let through and their weights, (filters, bins)."""
    size, found = -(-filters.shape[1] // count), []
    for first in range(0, filters.shape[1], size):
        part = filters[:, first : first + size]
        used = np.flatnonzero(part.any(1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        found.append((slice(first, first + size), bins, np.ascontiguousarray(part[bins].T)))
    return found


def moments(frames: Array, ddof: int = 0) -> tuple[Array, Array]:
    """Mean and variance of each filter over all frames, (filters,) each."""
    rows = np.ascontiguousarray(frames.T)  # along rows numpy sums in pairs, which is quicker and more exact
    with np.errstate(all="ignore"):  # of no frames, or of one
        mean = rows.mean(1, dtype=np.float64).astype(rows.dtype)  # of silence exactly what all frames are
        rows = rows - mean[:, None]
        return mean, np.square(rows, out=rows).sum(1) / (rows.shape[1] - ddof)


def without_offset(preemphasis: float, dither: float = 0.0) -> Callable[[Array], Array]:
    """Kaldi's preparation of a frame: subtract its mean, then from each sample a part of the one before.

    Before that noise of the deviation `dither` is added, from numpy's own stream, so that its seed repeats a run.
    """

    def prepare(frames: Array) -> Array:
        if dither:
            frames = frames + dither * np.random.standard_normal(frames.shape)
        frames = frames - frames.mean(1, keepdims=True)
        frames[:, 1:] -= preemphasis * frames[:, :-1]
        frames[:, 0] *= 1 - preemphasis
        return frames

    return prepare


def floored(log: Any, floor: float) -> Callable[[Array], Array]:
    """A logarithm of what is at least `floor`, in place."""
    return lambda x: log(np.maximum(x, floor, out=x), out=x)
