"""Nemotron's extractor: Parakeet's spectrograms as they are, also of the pieces of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import FILE, Array
from autoload.audio.spectrum import mel_spectrogram, padded, window_function
from autoload.audio.whisper import ParakeetFeatureExtractor
from autoload.errors import AudioError, ConfigError


class NemotronAsrStreamingFeatureExtractor(ParakeetFeatureExtractor):
    """Log-mel spectrograms after pre-emphasis.

    `mel_filters_dtype` is the precision to which filters and window are rounded, as the model was trained with them.
    """

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        n_fft: int = 512,
        win_length: int = 400,
        preemphasis: float | None = 0.97,
        padding_value: float = 0.0,
        mel_filters_dtype: str = "float32",
        **settings: Any,
    ):
        self.mel_filters_dtype = mel_filters_dtype
        if mel_filters_dtype not in ROUNDED:
            raise ConfigError("mel_filters_dtype", mel_filters_dtype, f"one of {', '.join(ROUNDED)}", where=FILE)
        super().__init__(
            feature_size, sampling_rate, hop_length, n_fft, win_length, preemphasis, padding_value, **settings
        )

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
        center: bool = True,
        is_last_audio_chunk: bool = False,
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
            center: frames are centred on their time, as of whole sounds and of a stream's first piece. The later pieces,
                False, begin `n_fft // 2` samples before the time of their first frame.
            is_last_audio_chunk: the sound ends with this piece: also give the frame that reaches past its end.

        Raises:
            AudioError: a sound of another rate, of several channels, or a later piece shorter than a frame.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        lengths = [len(wave) for wave in waves]
        values, _ = self.even(waves, padding, max_length, truncation, pad_to_multiple_of)
        values = [self.emphasised(wave, length) for wave, length in zip(values, lengths, strict=True)]
        if center:
            frames = [length // self.hop_length for length in lengths]
        else:
            beyond = max(self.n_fft // 2 - self.hop_length, 0) if is_last_audio_chunk else 0
            values = [np.pad(wave, (0, beyond)) for wave in values]
            frames = [(length + beyond - self.n_fft) // self.hop_length + 1 for length in lengths]
            if min(map(len, values)) < self.n_fft:
                text = f"a later piece of a stream has {min(map(len, values))} samples, expected at least {self.n_fft}"
                raise AudioError(f"{type(self).__name__}: {text} (n_fft).", field="raw_speech")
        features = np.stack([self.log_mel(wave, center) for wave in values])
        mask = np.arange(features.shape[1]) < np.array(frames)[:, None]
        features[~mask] = 0.0
        return BatchFeature({"input_features": features, "attention_mask": mask}, return_tensors)

    def log_mel(self, wave: Array, center: bool) -> Array:
        """The spectrogram of one sound, (frames, filters)."""
        rounded, short = ROUNDED[self.mel_filters_dtype], self.n_fft - self.win_length
        window = rounded(window_function(self.win_length, "hann", periodic=False))
        window = np.pad(window, (short // 2, short - short // 2))
        around = padded(wave, self.n_fft // 2, "constant") if center else wave
        guard = np.float32(2.0**-24)
        return mel_spectrogram(around, window, self.hop_length, rounded(self.mel_filters), lambda x: np.log(x + guard))


def _brain(x: Array) -> Array:
    """Rounded to bfloat16, in float32: half of the bits are kept, ties go to even."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = bits + 0x7FFF + ((bits >> 16) & 1)
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)


ROUNDED = {
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16).astype(np.float32),
    "bfloat16": _brain,
}
