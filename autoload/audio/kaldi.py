"""Extractors that make Kaldi's filter banks: of audio spectrogram transformers, wav2vec2-bert and Speech2Text."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import Array, SequenceFeatureExtractor
from autoload.audio.spectrum import (
    floored,
    mel_filter_bank,
    mel_spectrogram,
    moments,
    window_function,
    without_offset,
)


class KaldiFeatureExtractor(SequenceFeatureExtractor):
    """Frames of 25 ms, their mean taken off, pre-emphasised, through filters that are straight in mel."""

    num_mel_bins: int
    window_name = "povey"
    scale = 2.0**15  # of the waveform: Kaldi reads 16-bit numbers
    dither = 0.0  # deviation of noise that is added to frames of the scaled waveform

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        high = self.sampling_rate // 2
        return mel_filter_bank(257, self.num_mel_bins, 20, high, self.sampling_rate, None, "kaldi", True)

    @cached_property
    def window(self) -> Array:
        """(400,)."""
        return window_function(400, self.window_name, periodic=False)

    def filter_banks(self, wave: Array) -> Array:
        """Logarithms of what the filters let through, (frames, filters).

        In float64, for the smallest of float32's errors would show where a filter lets nearly nothing through.
        """
        wave = wave.astype(np.float64) * self.scale
        finish, prepare = floored(np.log, 1.192092955078125e-07), without_offset(0.97, self.dither)
        return mel_spectrogram(wave, self.window, 160, self.mel_filters, finish, 512, prepare, bool(self.dither))


class ASTFeatureExtractor(KaldiFeatureExtractor):
    """Filter banks of ten seconds, longer ones cut, shorter ones filled, and normalised with given numbers."""

    window_name = "hann"
    scale = 1.0

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16000,
        num_mel_bins: int = 128,
        max_length: int = 1024,
        padding_value: float = 0.0,
        do_normalize: bool = True,
        mean: float = -4.2677393,
        std: float = 4.5689974,
        return_attention_mask: bool = False,
        **settings: Any,
    ):
        self.num_mel_bins, self.max_length = num_mel_bins, max_length
        self.do_normalize, self.mean, self.std = do_normalize, mean, std
        super().__init__(feature_size, sampling_rate, padding_value, **settings)
        self.return_attention_mask = return_attention_mask

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input values of sounds, (batch, max_length frames, filters).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            sampling_rate: of the sounds, in hertz.
            return_tensors: "pt" or "np"; None gives a list of arrays.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        return BatchFeature({"input_values": [self._one(wave) for wave in waves]}, return_tensors)

    def _one(self, wave: Array) -> Array:
        out = np.zeros((self.max_length, self.num_mel_bins), np.float32)
        banks = self.filter_banks(wave)[: self.max_length]
        out[: len(banks)] = banks
        return self.normalize(out) if self.do_normalize else out

    def normalize(self, input_values: Array) -> Array:
        """The data set's mean taken off, over twice its deviation."""
        return (input_values - self.mean) / (self.std * 2)


class SeamlessM4TFeatureExtractor(KaldiFeatureExtractor):
    """Filter banks with mean 0 and variance 1 for each filter, `stride` frames joined to one."""

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        num_mel_bins: int = 80,
        padding_value: float = 0.0,
        stride: int = 2,
        **settings: Any,
    ):
        self.num_mel_bins, self.stride = num_mel_bins, stride
        super().__init__(feature_size, sampling_rate, padding_value, **settings)

    def __call__(
        self,
        raw_speech: Any,
        padding: bool | str = True,
        pad_to_multiple_of: int | None = 2,
        max_length: int | None = None,
        truncation: bool = False,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
        return_attention_mask: bool | None = None,
        do_normalize_per_mel_bins: bool = True,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, frames / stride, filters * stride).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            padding, max_length, truncation, pad_to_multiple_of: how to give all one length, in frames; see `pad`.
            return_tensors: "pt" or "np"; None gives arrays.
            sampling_rate: of the sounds, in hertz.
            return_attention_mask: 1 at what is real; None asks the extractor's setting.
            do_normalize_per_mel_bins: give each filter mean 0 and variance 1 over a sound.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        banks = [self.filter_banks(wave) for wave in waves]
        if do_normalize_per_mel_bins:
            banks = [_standard(x) for x in banks]
        rows, counts = self.even(banks, padding, max_length, truncation, pad_to_multiple_of)
        mask = np.stack(self.mask(rows, counts))
        rows = np.stack(rows)
        batch, count, filters = rows.shape
        count = count // self.stride * self.stride
        features = rows[:, :count].reshape(batch, count // self.stride, filters * self.stride)
        data = {"input_features": features}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            data["attention_mask"] = mask[:, 1 : count : self.stride]
        return BatchFeature(data, return_tensors)


def _standard(banks: Array) -> Array:
    """Each filter with mean 0 and variance 1, in place."""
    rows = banks.T  # along these numpy sums in pairs, as in the reference
    rows -= rows.mean(1, keepdims=True)
    variance = np.square(rows).sum(1, keepdims=True) / max(rows.shape[1] - 1, 1)
    rows /= np.sqrt(variance + 1e-7)
    return banks


class Speech2TextFeatureExtractor(KaldiFeatureExtractor):
    """Filter banks with mean 0 and variance 1 for each filter."""

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        num_mel_bins: int = 80,
        padding_value: float = 0.0,
        dither: float = 0.0,
        do_ceptral_normalize: bool = True,
        normalize_means: bool = True,
        normalize_vars: bool = True,
        **settings: Any,
    ):
        self.num_mel_bins, self.dither = num_mel_bins, dither
        self.do_ceptral_normalize = do_ceptral_normalize
        self.normalize_means, self.normalize_vars = normalize_means, normalize_vars
        super().__init__(feature_size, sampling_rate, padding_value, **settings)
        self.return_attention_mask = True

    def __call__(
        self,
        raw_speech: Any,
        padding: bool | str = False,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
        return_attention_mask: bool | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, frames, filters).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            padding, max_length, truncation, pad_to_multiple_of: how to give all one length, in frames; see `pad`.
            return_tensors: "pt" or "np"; None gives lists of arrays.
            sampling_rate: of the sounds, in hertz.
            return_attention_mask: 1 at what is real; None asks the extractor's setting.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        banks = [self.filter_banks(wave) for wave in waves]
        rows, counts = self.even(banks, padding, max_length, truncation, pad_to_multiple_of)
        data: dict[str, Any] = {}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            data["attention_mask"] = [*self.mask(rows, counts)]
        if self.do_ceptral_normalize:
            rows = [self._normalized(row, count) for row, count in zip(rows, counts, strict=True)]
        return BatchFeature({"input_features": [*rows], **data}, return_tensors)

    def _normalized(self, banks: Array, length: int) -> Array:
        """`length` frames of a sound count; padding after them stays what it is. Silence is not divided by its deviation, 0."""
        mean, variance = moments(banks[:length])
        if self.normalize_means:
            banks = banks - mean
        if self.normalize_vars:
            banks = banks / np.sqrt(np.where(variance > 0, variance, 1))
        banks[length:] = self.padding_value
        return banks
