"""Extractors of conformers that hear log-mel spectrograms: LASR's, Granite Speech's and Cohere's."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import Array, SequenceFeatureExtractor
from autoload.audio.random import BLOCK, torch_normal
from autoload.audio.spectrum import floored, mel_filter_bank, mel_spectrogram, padded, window_function
from autoload.audio.whisper import ParakeetFeatureExtractor
from autoload.errors import AudioError, ConfigError


class LasrFeatureExtractor(SequenceFeatureExtractor):
    """Logarithms of what mel filters let through; frames are not centred on their time."""

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        n_fft: int = 512,
        win_length: int = 400,
        padding_value: float = 0.0,
        **settings: Any,
    ):
        self.hop_length, self.n_fft, self.win_length = hop_length, n_fft, win_length
        super().__init__(feature_size, sampling_rate, padding_value, **settings)

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        bins, rate = self.n_fft // 2 + 1, self.sampling_rate
        return mel_filter_bank(bins, self.feature_size, 125.0, 7500.0, rate, None, "kaldi", triangularize_in_mel_space=True)  # fmt: skip

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
        """Input features of sounds, (batch, frames, filters).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            truncation, padding, max_length, pad_to_multiple_of: how to give all one length, in samples.
            return_tensors: "pt" or "np"; None gives an array.
            return_attention_mask: also give a mask of real frames.
            sampling_rate: of the sounds, in hertz.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels; sounds of several lengths without padding.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        values, counts = self.even(waves, padding, max_length, truncation, pad_to_multiple_of)
        mask = self.mask(values, counts)
        one_length(self, values)
        window, log = window_function(self.win_length, "hann", periodic=False), floored(np.log, 1e-5)
        features = [
            mel_spectrogram(wave.astype(np.float64), window, self.hop_length, self.mel_filters, log, self.n_fft)
            for wave in values
        ]
        data: dict[str, Any] = {"input_features": np.stack(features)}
        if return_attention_mask:
            data["attention_mask"] = np.stack(mask)[:, self.win_length - 1 :: self.hop_length] == 1
        return BatchFeature(data, return_tensors)


class GraniteSpeech5FeatureExtractor(SequenceFeatureExtractor):
    """Log-mel spectrograms with their slopes, two frames in one vector."""

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        num_mel_bins: int = 80,
        sampling_rate: int = 16000,
        *,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        delta_win_length: int = 3,
        logmel_floor_db: float = 8.0,
        padding_value: float = 0.0,
        **settings: Any,
    ):
        self.num_mel_bins, self.n_fft, self.win_length, self.hop_length = num_mel_bins, n_fft, win_length, hop_length
        self.delta_win_length, self.logmel_floor_db = delta_win_length, logmel_floor_db
        if not isinstance(delta_win_length, int) or delta_win_length < 3:
            raise ConfigError("delta_win_length", delta_win_length, "a whole number of at least 3")
        settings.pop("feature_size", None)  # it follows from the number of filters
        super().__init__(4 * num_mel_bins, sampling_rate, padding_value, **settings)

    @cached_property
    def mel_filters(self) -> Array:
        """(bins, filters)."""
        rate = self.sampling_rate
        return mel_filter_bank(self.n_fft // 2 + 1, self.num_mel_bins, 0.0, float(rate // 2), rate)

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        padding: bool | str = "longest",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        return_attention_mask: bool = True,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input features of sounds, (batch, frames / 2, 4 * filters), and a mask of real vectors.

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            truncation, padding, max_length, pad_to_multiple_of: how to give all one length, in samples.
            return_tensors: "pt" or "np"; None gives an array.
            sampling_rate: of the sounds, in hertz.
            return_attention_mask: give the mask.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels; sounds of several lengths without padding, or
                longer ones than `max_length` without truncation.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        if truncation and max_length is not None:
            waves = [wave[:max_length] for wave in waves]
        strategy, lengths = self.strategy(padding, max_length), [len(wave) for wave in waves]
        if strategy == "do_not_pad":
            one_length(self, waves)
        length = max_length if strategy == "max_length" and max_length is not None else max(lengths)
        length = -(-length // pad_to_multiple_of) * pad_to_multiple_of if pad_to_multiple_of else length
        if max(lengths) > length:
            text = f"{type(self).__name__}: a sound has {max(lengths)} samples, expected at most {length}"
            raise AudioError(f"{text}. Pass truncation=True or a larger max_length.", field="max_length")
        features = [self._one(wave) for wave in self.even(waves, "max_length", length, False)[0]]
        data = {"input_features": np.stack(features)}
        if return_attention_mask:
            real = -(-(np.array(lengths) // self.hop_length) // 2)
            data["attention_mask"] = (np.arange(len(features[0])) < real[:, None]).astype(np.int64)
        return BatchFeature(data, return_tensors)

    def _one(self, wave: Array) -> Array:
        """Features of one padded sound, (frames / 2, 4 * filters)."""
        count = -(-(len(wave) // self.hop_length) // 2) * 2
        missing = (count - 1) * self.hop_length + 1 - len(wave)
        around = padded(np.pad(wave, (0, max(missing, 0))), self.n_fft // 2)
        window = inside(window_function(self.win_length, "hann"), self.n_fft)
        log = mel_spectrogram(around, window, self.hop_length, self.mel_filters, floored(np.log10, 1e-10))[:count]
        log = np.maximum(log, log.max(initial=-np.inf) - np.float32(self.logmel_floor_db)) / 4 + 1
        return np.concatenate([log, slopes(log, self.delta_win_length)], 1).reshape(count // 2, -1)


class CohereAsrFeatureExtractor(ParakeetFeatureExtractor):
    """As Parakeet's, of sounds with a little noise, and cut in quiet places where they are long."""

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        n_fft: int = 512,
        win_length: int = 400,
        preemphasis: float | None = 0.97,
        padding_value: float = 0.0,
        dither: float = 1e-5,
        max_audio_clip_s: float = 35.0,
        overlap_chunk_second: float = 5.0,
        min_energy_window_samples: int = 1600,
        **settings: Any,
    ):
        self.dither, self.max_audio_clip_s, self.overlap_chunk_second = dither, max_audio_clip_s, overlap_chunk_second
        self.min_energy_window_samples = min_energy_window_samples
        sizes = (feature_size, sampling_rate, hop_length, n_fft, win_length)
        super().__init__(*sizes, preemphasis, padding_value, **settings)

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
        """As Parakeet's; `audio_chunk_index` says of each row which sound it is of, and which piece of a long one."""
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        pieces: list[Array] = []
        index: list[tuple[int, int | None]] = []
        for i, wave in enumerate(waves):
            whole = len(wave) / self.sampling_rate <= max(0.0, self.max_audio_clip_s - self.overlap_chunk_second)
            parts = [wave] if whole else self.pieces(wave)
            pieces += parts
            index += [(i, None if whole else k) for k in range(len(parts))]
        options: dict[str, Any] = dict(return_tensors=return_tensors, padding=padding, max_length=max_length)
        out = super().__call__(pieces, truncation, pad_to_multiple_of, sampling_rate=self.sampling_rate, **options)
        out["audio_chunk_index"], out.skip_tensor_conversion = index, ["audio_chunk_index"]
        return out

    def pieces(self, wave: Array) -> list[Array]:
        """A long sound in pieces of at most `max_audio_clip_s`, each ending where its last seconds are quietest."""
        most = max(1, round(self.max_audio_clip_s * self.sampling_rate))
        searched = max(1, round(self.overlap_chunk_second * self.sampling_rate))
        start, found = 0, []
        while start + most < len(wave):
            first = max(start, start + most - searched)
            end = max(start + 1, first + self.quietest(wave[first : start + most]))
            found.append(wave[start:end])
            start = end
        return [*found, wave[start:]]

    def quietest(self, wave: Array) -> int:
        """Where the quietest window begins; the middle of a sound that is no longer than one."""
        size = self.min_energy_window_samples
        if len(wave) <= size:
            return len(wave) // 2
        count = -(-(len(wave) - size) // size)
        windows = wave[: count * size].reshape(count, size)
        return int(np.sqrt((windows * windows).mean(1)).argmin()) * size

    def emphasised(self, wave: Array, length: int) -> Array:
        if self.dither > 0 and (count := min(length, len(wave))) >= BLOCK:  # what is shorter gives no frame
            wave = wave.copy()
            wave[:count] += np.float32(self.dither) * torch_normal(count, seed=count)
        return super().emphasised(wave, length)


def one_length(extractor: SequenceFeatureExtractor, waves: Any) -> None:
    """Refuse sounds that do not make one batch."""
    if len({len(wave) for wave in waves}) > 1:
        text = f"{type(extractor).__name__}: sounds of several lengths make no batch; pass padding='longest'."
        raise AudioError(text, field="padding")


def inside(window: Array, length: int) -> Array:
    """A window in the middle of a longer frame."""
    margin = (length - len(window)) // 2
    return np.pad(window, (margin, length - len(window) - margin))


def slopes(x: Array, width: int) -> Array:
    """How fast values change, by a line through `width` of them: (frames, ...), the outermost standing for what is missing."""
    most = (width - 1) // 2
    around = np.pad(x, ((most, most), (0, 0)), mode="edge")
    rows = len(x)
    rise = np.zeros_like(x)
    for k in range(1, most + 1):
        rise += k * (around[most + k : most + k + rows] - around[most - k : most - k + rows])
    return rise / (2 * sum(k * k for k in range(1, most + 1)))
