"""Extractors that make log-mel spectrograms as torch.stft would: Whisper's and Parakeet's."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import Array, SequenceFeatureExtractor, normalise
from autoload.audio.spectrum import floored, mel_filter_bank, mel_spectrogram, moments, padded, window_function


class WhisperFeatureExtractor(SequenceFeatureExtractor):
    """Log-mel spectrograms of half a minute, unless told otherwise."""

    model_input_names = ["input_features"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        chunk_length: int = 30,
        n_fft: int = 400,
        padding_value: float = 0.0,
        dither: float = 0.0,
        return_attention_mask: bool = False,
        **settings: Any,
    ):
        self.n_fft, self.hop_length, self.chunk_length, self.dither = n_fft, hop_length, chunk_length, dither
        super().__init__(
            feature_size, sampling_rate, padding_value, return_attention_mask=return_attention_mask, **settings
        )
        self.n_samples = chunk_length * sampling_rate
        self.nb_max_frames = self.n_samples // hop_length

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        bins = 1 + self.n_fft // 2
        return mel_filter_bank(bins, self.feature_size, 0.0, 8000.0, self.sampling_rate, "slaney", "slaney")

    @cached_property
    def window(self) -> Array:
        """(n_fft,)."""
        return window_function(self.n_fft, "hann")

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = True,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        padding: bool | str = "max_length",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        do_normalize: bool | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, filters, frames).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            truncation, padding, max_length, pad_to_multiple_of: how to give all one length, in samples; `max_length` is
                that of `chunk_length` by default.
            return_attention_mask: 1 at frames that are real.
            return_tensors: "pt" or "np"; None gives an array.
            sampling_rate: of the sounds, in hertz.
            do_normalize: first give each waveform mean 0 and variance 1.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        values, counts = self.even(waves, padding, max_length or self.n_samples, truncation, pad_to_multiple_of)
        if do_normalize:
            normalise(values, counts, self.padding_value)
        features = [self.log_mel(wave) for wave in values]
        same = len({feature.shape for feature in features}) == 1
        data: dict[str, Any] = {"input_features": np.stack(features) if same else features}
        if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
            mask = self.mask(values, counts)
            frames = [row[: len(row) // self.hop_length * self.hop_length : self.hop_length] for row in mask]
            data["attention_mask"] = np.stack(frames) if same else frames
        return BatchFeature(data, return_tensors)

    def log_mel(self, wave: Array) -> Array:
        """The spectrogram of one sound, no more than 8 decades below its loudest place: (filters, frames)."""
        wave = np.asarray(wave, np.float32)
        if self.dither:
            wave = wave + self.dither * np.random.standard_normal(wave.shape).astype(np.float32)
        around = padded(wave, self.n_fft // 2)
        log = mel_spectrogram(around, self.window, self.hop_length, self.mel_filters, floored(np.log10, 1e-10))[:-1].T
        if log.size:
            np.maximum(log, log.max() - 8.0, out=log)
        log += 4.0
        log *= 0.25
        return log


class ParakeetFeatureExtractor(SequenceFeatureExtractor):
    """Log-mel spectrograms after pre-emphasis, each filter with mean 0 and variance 1 over a sound."""

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        n_fft: int = 512,
        win_length: int = 400,
        preemphasis: float | None = 0.97,
        padding_value: float = 0.0,
        **settings: Any,
    ):
        self.hop_length, self.n_fft, self.win_length, self.preemphasis = hop_length, n_fft, win_length, preemphasis
        super().__init__(feature_size, sampling_rate, padding_value, **settings)

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        high = self.sampling_rate / 2
        bins = self.n_fft // 2 + 1
        return mel_filter_bank(bins, self.feature_size, 0.0, high, self.sampling_rate, "slaney", "slaney")

    @cached_property
    def window(self) -> Array:
        """(n_fft,), of which the ends are 0."""
        margin = self.n_fft - self.win_length
        return np.pad(window_function(self.win_length, "hann", periodic=False), (margin // 2, margin - margin // 2))

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        padding: bool | str = "longest",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, frames, filters), and a mask of real frames.

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            truncation, padding, max_length, pad_to_multiple_of: how to give all one length, in samples.
            return_tensors: "pt" or "np".
            return_attention_mask: without effect, the mask is always there.
            sampling_rate: of the sounds, in hertz.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        lengths = [len(wave) for wave in waves]
        values, _ = self.even(waves, padding, max_length, truncation, pad_to_multiple_of)
        features = [self._one(wave, length) for wave, length in zip(values, lengths, strict=True)]
        masks = [np.arange(len(f)) < n // self.hop_length for f, n in zip(features, lengths, strict=True)]
        data = {"input_features": np.stack(features), "attention_mask": np.stack(masks)}
        return BatchFeature(data, return_tensors)

    def _one(self, wave: Array, length: int) -> Array:
        """Features of one padded sound, (frames, filters)."""
        around = padded(self.emphasised(wave, length), self.n_fft // 2, "constant")
        log = mel_spectrogram(around, self.window, self.hop_length, self.mel_filters, _guarded)
        real = length // self.hop_length
        mean, variance = moments(log[:real], ddof=1)
        log -= mean
        log /= np.sqrt(variance) + np.float32(1e-5)
        log[real:] = 0.0
        return log

    def emphasised(self, wave: Array, length: int) -> Array:
        """A padded sound with less of its low tones, (samples,)."""
        if self.preemphasis is None:
            return wave
        sound = wave.copy()
        sound[1:] -= np.float32(self.preemphasis) * wave[:-1]
        sound[length:] = 0.0
        return sound


def _guarded(power: Array) -> Array:
    power += np.float32(2.0**-24)
    return np.log(power, out=power)
