"""Extractors for models that read the waveform: wav2vec2 and those that were trained like it."""

from __future__ import annotations

from typing import Any

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import SequenceFeatureExtractor, normalise


class Wav2Vec2FeatureExtractor(SequenceFeatureExtractor):
    """The waveform with mean 0 and variance 1."""

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        return_attention_mask: bool = False,
        do_normalize: bool = True,
        **settings: Any,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, **settings)
        self.return_attention_mask = return_attention_mask
        self.do_normalize = do_normalize

    def __call__(
        self,
        raw_speech: Any,
        padding: bool | str = False,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
        resample: bool = False,
        **foreign: Any,
    ) -> BatchFeature:
        """Input values of sounds, (batch, samples).

        Args:
            raw_speech: an array, list, tensor or file of one channel, or several of these.
            padding, max_length, truncation, pad_to_multiple_of: how to give all one length; see `pad`.
            return_attention_mask: 1 at what is real; None asks the extractor's setting.
            return_tensors: "pt" or "np"; None gives lists of arrays.
            sampling_rate: of the sounds, in hertz.
            resample: change the rate of sounds that have another than the model's.

        Raises:
            AudioError: a sound of another rate, or of several channels.
        """
        waves = self.sounds(raw_speech, sampling_rate, resample, foreign)
        values, counts = self.even(waves, padding, max_length, truncation, pad_to_multiple_of)
        masked = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        if self.do_normalize:  # without a mask the model takes padding for sound, so that it counts
            normalise(values, counts if masked else None, self.padding_value)
        data: dict[str, Any] = {"input_values": values}
        if masked:
            data["attention_mask"] = self.mask(values, counts)
        if return_tensors is None:
            data = {name: [*rows] for name, rows in data.items()}
        return BatchFeature(data, return_tensors)
