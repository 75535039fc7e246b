"""Gemma 4's extractor: logarithms of mel spectra, and a mask of the frames that are whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import FILE, Array, SequenceFeatureExtractor
from autoload.audio.spectrum import BLOCK, frames_of, mel_filter_bank, window_function
from autoload.errors import ConfigError


class Gemma4AudioFeatureExtractor(SequenceFeatureExtractor):
    """Log-mel spectrograms of amplitudes, not of powers; a frame that reaches into padding is zero."""

    model_input_names = ["input_features", "input_features_mask"]

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        return_attention_mask: bool = True,
        frame_length_ms: float | None = None,
        hop_length_ms: float | None = None,
        min_frequency: float = 0.0,
        max_frequency: float = 8000.0,
        mel_floor: float = 1e-3,
        fft_overdrive: bool = False,
        preemphasis: float = 0.0,
        preemphasis_htk_flavor: bool = True,
        input_scale_factor: float = 1.0,
        dither: float = 0.0,
        per_bin_mean: Sequence[float] | None = None,
        per_bin_stddev: Sequence[float] | None = None,
        **settings: Any,
    ):
        lengths = settings.pop("frame_length", None), settings.pop("hop_length", None)  # files have samples
        settings.pop("fft_length", None)
        super().__init__(
            feature_size, sampling_rate, padding_value, return_attention_mask=return_attention_mask, **settings
        )
        self.min_frequency, self.max_frequency = min_frequency, max_frequency
        self.preemphasis, self.preemphasis_htk_flavor = preemphasis, preemphasis_htk_flavor
        self.fft_overdrive, self.dither, self.input_scale_factor = fft_overdrive, dither, input_scale_factor
        self.mel_floor = mel_floor
        self.frame_length, self.hop_length = (
            given if ms is None and given is not None else round(sampling_rate * (usual if ms is None else ms) / 1000)
            for given, ms, usual in zip(lengths, (frame_length_ms, hop_length_ms), (20.0, 10.0), strict=True)
        )
        self.per_bin_mean = self._per_bin("per_bin_mean", per_bin_mean, feature_size)
        self.per_bin_stddev = self._per_bin("per_bin_stddev", per_bin_stddev, feature_size)
        for name in ("frame_length", "hop_length"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ConfigError(name, value, "a positive whole number", where=FILE)
        self.fft_length = 2 ** (math.ceil(math.log2(self.frame_length)) + bool(fft_overdrive))

    def _per_bin(self, name: str, values: Any, size: int) -> Any:
        if values is None:
            return None
        try:
            return np.asarray(values, np.float64).reshape(1, 1, size).tolist()
        except (ValueError, TypeError) as e:
            raise ConfigError(name, values, f"{size} numbers", where=FILE) from e

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        bins, band = self.fft_length // 2 + 1, (self.min_frequency, self.max_frequency)
        return mel_filter_bank(bins, self.feature_size, *band, self.sampling_rate)

    @cached_property
    def window(self) -> Array:
        """(samples of a frame,)."""
        return window_function(self.frame_length).astype(np.float32)

    def __call__(
        self,
        raw_speech: Any,
        padding: bool | str = "longest",
        max_length: int | None = 480_000,
        truncation: bool = True,
        pad_to_multiple_of: int | None = 128,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = True,
        sampling_rate: int | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, frames, filters), and a mask of real frames.

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            padding, max_length, truncation, pad_to_multiple_of: how to give all one length, in samples.
            return_tensors: "pt" or "np"; None gives lists of arrays.
            return_attention_mask: without effect, the mask is always there.
            sampling_rate: of the sounds, in hertz.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        rows, counts = self.even(waves, padding, max_length, truncation, pad_to_multiple_of)
        pairs = [self._one(*row) for row in zip(rows, self.mask(rows, counts), strict=True)]
        data = {"input_features": [mel for mel, _ in pairs], "input_features_mask": [whole for _, whole in pairs]}
        return BatchFeature(data, return_tensors)

    def _one(self, wave: Array, real: Array) -> tuple[Array, Array]:
        """Features of a padded sound, (frames, filters), and which frames are whole, (frames,)."""
        if self.dither > 0:
            wave = wave + self.dither * np.random.default_rng().standard_normal(wave.shape, np.float32)
        if self.input_scale_factor != 1:
            wave = wave * np.float32(self.input_scale_factor)
        before = self.frame_length // 2  # so that the first frame is centred on the beginning
        frames = frames_of(np.pad(wave, (before, 0)), self.frame_length + 1, self.hop_length)
        blocks = [self._log_mel(frames[first : first + BLOCK]) for first in range(0, len(frames), BLOCK)]
        mel = np.concatenate([np.empty((0, self.feature_size), np.float32), *blocks])
        last = np.arange(len(frames)) * self.hop_length + self.frame_length - before
        whole = real[last].astype(bool)
        return mel * whole[:, None], whole

    def _log_mel(self, frames: Array) -> Array:
        """(frames, filters), from pieces that have one sample more than a frame."""
        frames, share = self._emphasised(frames), self.mel_filters
        amplitudes = np.abs(np.fft.rfft(frames * self.window, self.fft_length))
        log = np.log(amplitudes @ share + self.mel_floor)
        if self.per_bin_mean is not None:
            log = log - np.asarray(self.per_bin_mean[0])
        if self.per_bin_stddev is not None:
            log = log / np.asarray(self.per_bin_stddev[0])
        return log.astype(np.float32)

    def _emphasised(self, frames: Array) -> Array:
        """Frames less a part of the sample before each; HTK's way scales the first one of a frame instead."""
        part = np.float32(self.preemphasis)
        if not self.preemphasis:
            return frames[:, :-1]
        if not self.preemphasis_htk_flavor:
            return frames[:, 1:] - part * frames[:, :-1]
        return np.concatenate([frames[:, :1] * (1 - part), frames[:, 1:-1] - part * frames[:, :-2]], 1)
