"""What extractors that compute in single precision would give in double precision, (rows, columns) of one sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def whisper(sound: np.ndarray, extractor: Any, samples: int, normalized: bool = False) -> np.ndarray:
    """(filters, frames) of a sound that is cut or filled up to `samples`."""
    wave = torch.zeros(samples, dtype=torch.float64)
    real = torch.from_numpy(sound[:samples]).double()
    if normalized:
        real = (real - real.mean()) / (real.var(unbiased=False) + 1e-7).sqrt()
    wave[: len(real)] = real
    window = torch.hann_window(extractor.n_fft, dtype=torch.float64)
    spectrum = torch.stft(wave, extractor.n_fft, extractor.hop_length, window=window, return_complex=True)
    log = (torch.from_numpy(extractor.mel_filters).T @ spectrum[..., :-1].abs() ** 2).clamp(min=1e-10).log10()
    return ((torch.maximum(log, log.max() - 8) + 4) / 4).numpy()


def log_mel(sound: np.ndarray, extractor: Any, window: torch.Tensor, filters: torch.Tensor, center: bool) -> Any:
    """(filters, frames) of a sound after pre-emphasis, which is part of it, in its precision."""
    wave = torch.from_numpy(sound)
    if extractor.preemphasis is not None:
        wave = torch.cat([wave[:1], wave[1:] - extractor.preemphasis * wave[:-1]])
    lengths = dict(n_fft=extractor.n_fft, hop_length=extractor.hop_length, win_length=extractor.win_length)
    options: dict[str, Any] = dict(pad_mode="constant", center=center, return_complex=True)
    spectrum = torch.stft(wave.double(), window=window.double(), **options, **lengths)
    return (filters.double() @ spectrum.abs() ** 2 + 2.0**-24).log()


def parakeet(sound: np.ndarray, extractor: Any, frames: int) -> np.ndarray:
    """(frames, filters) of a sound that is filled up until it has `frames`."""
    real = len(sound) // extractor.hop_length
    window = torch.hann_window(extractor.win_length, periodic=False, dtype=torch.float64)
    filters = torch.from_numpy(extractor.mel_filters).T.float()  # as the reference keeps them
    log = log_mel(sound, extractor, window, filters, True)[:, :real]
    log = (log - log.mean(1, keepdim=True)) / (log.std(1, keepdim=True) + 1e-5)
    out = torch.zeros(frames, len(log), dtype=torch.float64)
    out[:real] = log.T
    return out.numpy()


def cohere(sound: np.ndarray, extractor: Any, frames: int) -> np.ndarray:
    """The same after a little noise, whose seed is the length."""
    count = len(sound)
    noise = torch.randn(count, generator=torch.Generator().manual_seed(count)).numpy()
    return parakeet(sound + np.float32(extractor.dither) * noise, extractor, frames)


def nemotron(sound: np.ndarray, extractor: Any, frames: int, center: bool, last: bool) -> np.ndarray:
    """(frames, filters) of a sound that is filled up; filters and window are rounded, nothing is normalised."""
    dtype = getattr(torch, extractor.mel_filters_dtype)
    window = torch.hann_window(extractor.win_length, periodic=False).to(dtype)
    filters = torch.from_numpy(extractor.mel_filters).T.float().to(dtype)
    beyond = max(extractor.n_fft // 2 - extractor.hop_length, 0) if last and not center else 0
    log = log_mel(np.pad(sound, (0, beyond)), extractor, window, filters, center)
    real = min(len(sound) // extractor.hop_length, log.shape[1]) if center else log.shape[1]
    out = torch.zeros(frames, len(log), dtype=torch.float64)
    out[:real] = log.T[:real]
    return out.numpy()


def speech_to_text(sound: np.ndarray, extractor: Any, frames: int, longest: int | None = None) -> np.ndarray:
    """(frames, filters) of a sound that is cut to `longest` and filled up to `frames`."""
    from transformers.audio_utils import spectrogram

    lengths = dict(frame_length=400, hop_length=160, fft_length=512)
    kaldi: dict[str, Any] = dict(
        preemphasis=0.97, remove_dc_offset=True, log_mel="log", mel_floor=1.192092955078125e-07
    )
    banks = spectrogram(
        sound.astype(np.float64) * 2**15,
        extractor.window,
        **lengths,
        **kaldi,
        power=2.0,
        center=False,
        mel_filters=extractor.mel_filters,
        dtype=np.dtype(np.float64),
    ).T[:longest]
    if extractor.normalize_means:
        banks = banks - banks.mean(0)
    if extractor.normalize_vars:
        banks = banks / banks.std(0)
    out = np.full((frames, banks.shape[1]), extractor.padding_value)
    out[: len(banks)] = banks
    return out
