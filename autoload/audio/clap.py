"""CLAP's extractor: spectrograms of ten seconds, of longer sounds a random piece or several."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import Array, SequenceFeatureExtractor
from autoload.audio.spectrum import floored, mel_filter_bank, mel_spectrogram, padded, window_function
from autoload.errors import ArgumentError


class ClapFeatureExtractor(SequenceFeatureExtractor):
    """Mel spectrograms in decibels; with `truncation="fusion"` the whole sound shrunk, and three pieces of it."""

    model_input_names = ["input_features", "is_longer"]
    tables = ("mel_filters", "mel_filters_slaney", "window")

    def __init__(
        self,
        feature_size: int = 64,
        sampling_rate: int = 48000,
        hop_length: int = 480,
        max_length_s: int = 10,
        fft_window_size: int = 1024,
        padding_value: float = 0.0,
        return_attention_mask: bool = False,
        frequency_min: float = 0,
        frequency_max: float = 14000,
        top_db: int | None = None,
        truncation: str = "fusion",
        padding: str = "repeatpad",
        **settings: Any,
    ):
        self.hop_length, self.max_length_s, self.fft_window_size = hop_length, max_length_s, fft_window_size
        self.frequency_min, self.frequency_max, self.top_db = frequency_min, frequency_max, top_db
        super().__init__(
            feature_size, sampling_rate, padding_value, return_attention_mask=return_attention_mask, **settings
        )
        self.truncation, self.padding = truncation, padding
        self.nb_frequency_bins = fft_window_size // 2 + 1
        self.nb_max_samples = max_length_s * sampling_rate

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters), on the scale of HTK."""
        return self._filters(None, "htk")

    @cached_property
    def mel_filters_slaney(self) -> Array:
        """(bins, filters), on Slaney's scale."""
        return self._filters("slaney", "slaney")

    def _filters(self, norm: str | None, scale: str) -> Array:
        band = (self.frequency_min, self.frequency_max)
        return mel_filter_bank(self.nb_frequency_bins, self.feature_size, *band, self.sampling_rate, norm, scale)

    def __call__(
        self,
        raw_speech: Any,
        truncation: str | None = None,
        padding: bool | str | None = None,
        max_length: int | None = None,
        sampling_rate: int | None = None,
        return_tensors: str | None = None,
        resample: bool = False,
        seed: Any = None,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, 1 or 4, frames, filters), and which are of longer sounds.

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            truncation: "fusion" or "rand_trunc".
            padding: of shorter sounds: "repeat", "repeatpad" or "pad".
            max_length: samples that make one piece.
            sampling_rate: of the sounds, in hertz.
            return_tensors: "pt" or "np"; None gives lists.
            resample: change the rate of sounds that have another than the model's.
            seed: of the places of pieces; a number or a generator of numpy.

        Raises:
            AudioError: a sound of another rate, or of several channels.
            ArgumentError: a truncation or padding of another name.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        truncation = self.truncation if truncation is None else truncation
        padding = self.padding if padding is None or padding is True else padding
        if truncation not in ("fusion", "rand_trunc"):
            raise ArgumentError(f"truncation={truncation!r}: expected 'fusion' or 'rand_trunc'.", name="truncation")
        if padding not in ("repeat", "repeatpad", "pad"):
            raise ArgumentError(f"padding={padding!r}: expected 'repeat', 'repeatpad' or 'pad'.", name="padding")
        length, random = max_length or self.nb_max_samples, np.random.default_rng(seed)
        features = [self._one(wave.astype(np.float64), length, truncation, padding, random) for wave in waves]
        longer = [len(wave) > length and self._longer(len(wave), length, truncation) for wave in waves]
        if truncation == "fusion" and not any(longer):  # the model was trained with one in each batch
            longer[int(random.integers(len(longer)))] = True
        return BatchFeature({"input_features": features, "is_longer": [[one] for one in longer]}, return_tensors)

    def _longer(self, samples: int, length: int, truncation: str) -> bool:
        return truncation == "rand_trunc" or samples // self.hop_length != length // self.hop_length

    def _one(self, wave: Array, length: int, truncation: str, padding: Any, random: Any) -> Array:
        """(1 or 4, frames, filters)."""
        if len(wave) > length and truncation == "rand_trunc":
            start = int(random.integers(len(wave) - length + 1))
            wave = wave[start : start + length]
        elif len(wave) < length:
            times = length // max(len(wave), 1)
            if padding == "repeat":
                wave = np.tile(wave, times + 1)[:length]
            elif padding == "repeatpad":
                wave = np.tile(wave, times)
            wave = np.pad(wave, (0, length - len(wave)))
        if truncation == "rand_trunc":
            return self.decibels(wave, self.mel_filters_slaney)[None]
        mel, frames = self.decibels(wave, self.mel_filters), length // self.hop_length + 1
        return np.stack([mel] * 4) if len(mel) == frames else self._fused(mel, frames, random)

    def _fused(self, mel: Array, frames: int, random: Any) -> Array:
        """The whole shrunk to `frames`, and a piece of each third: (4, frames, filters)."""
        thirds = np.array_split(np.arange(len(mel) - frames + 1), 3)
        starts = [int(random.choice(third)) if len(third) else 0 for third in thirds]
        places = np.clip((np.arange(frames) + 0.5) * len(mel) / frames - 0.5, 0, len(mel) - 1)
        low = np.floor(places).astype(int)
        part = (places - low)[:, None].astype(mel.dtype)
        shrunk = mel[low] * (1 - part) + mel[np.minimum(low + 1, len(mel) - 1)] * part
        return np.stack([shrunk, *(mel[start : start + frames] for start in starts)])

    def decibels(self, wave: Array, filters: Array) -> Array:
        """(frames, filters)."""
        window = window_function(self.fft_window_size, "hann")
        around = padded(wave, self.fft_window_size // 2)
        return mel_spectrogram(around, window, self.hop_length, filters, floored(np.log10, 1e-10)) * 10.0
