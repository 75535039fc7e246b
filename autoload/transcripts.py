"""Processors of models that transcribe step by step: what they make of a text, and when each of its tokens was said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoload.errors import ConfigError
from autoload.processing import FILE, ProcessorMixin

PUNCTUATION = frozenset("?'¡¿-:,%/.!")  # which has no length of its own where tokens have durations


class TransducerProcessor(ProcessorMixin):
    """With a text also gives what a transducer reads of it: a blank, and the text."""

    text_defaults: ClassVar[Mapping[str, Any]] = dict(
        padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
    )
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(return_attention_mask=True, return_tensors="pt")
    own_settings: ClassVar[tuple[str, ...]] = ("blank_token",)
    subsampling_factor: ClassVar[int] = 8  # frames of one vector
    blank_token = "<blank>"

    def __init__(self, feature_extractor: Any, tokenizer: Any, blank_token: str = "<blank>", chat_template: Any = None):
        super().__init__(feature_extractor, tokenizer, chat_template)
        self.blank_token, self.blank_token_id = blank_token, tokenizer.convert_tokens_to_ids(blank_token)

    def __call__(self, audio: Any = None, text: Any = None, sampling_rate: int | None = None, **keywords: Any) -> Any:
        """Inputs of the model: of sounds, and beside these of their texts, `labels` and `decoder_input_ids`.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            text: a text or several.
            sampling_rate: of the sounds, in hertz.
            **keywords: as of every processor.

        Raises:
            AudioError: a sound of another rate, or neither sounds nor texts.
        """
        rate = {} if audio is None else {"sampling_rate": sampling_rate}
        inputs = super().__call__(audio, text, **rate, **keywords)
        if audio is not None and text is not None:
            texts = [self.blank_token + one for one in ([text] if isinstance(text, str) else text)]
            inputs["decoder_input_ids"] = self.tokenizer(texts, **self.split(keywords)[1])["input_ids"]
        return inputs

    @property
    def merges(self) -> bool:
        """Whether equal tokens one after another are one."""
        return False

    @property
    def has_durations(self) -> bool:
        """Whether a token's duration says how long it was said; else it is one vector long."""
        return False

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "labels", "decoder_input_ids"]

    # -- decoding

    def batch_decode(self, *args: Any, **keywords: Any) -> Any:
        """Texts of a batch of ids."""
        return self.tokenizer.batch_decode(*args, **{"group_tokens": self.merges, **keywords})

    def decode(self, *args: Any, durations: Any = None, **keywords: Any) -> Any:
        """The text of ids, or texts of a batch.

        Args:
            *args: ids, as of the tokenizer's `decode`; (batch, steps) beside durations.
            durations: (batch, steps) from `generate`: also give, for each text, its tokens with `start` and `end` in
                seconds.
            **keywords: those of the tokenizer's `decode`.
        """
        texts = self.tokenizer.decode(*args, **{"group_tokens": self.merges, **keywords})
        if durations is None:
            return texts
        ids = args[0] if args else keywords["token_ids"]
        places = durations.cumsum(-1) - durations
        rows = zip(ids.tolist(), places.tolist(), durations.tolist(), strict=True)
        return texts, [self._times(*row) for row in rows]

    def _times(self, ids: list[int], places: list[int], durations: list[int]) -> list[dict[str, Any]]:
        """The pieces of a text and when they were said, in seconds."""
        from tokenizers.decoders import DecodeStream

        extractor, stream = self.feature_extractor, DecodeStream(skip_special_tokens=True)
        seconds = extractor.hop_length / extractor.sampling_rate * self.subsampling_factor
        found: list[dict[str, Any]] = []
        for token, place, duration in zip(ids, places, durations, strict=True):
            if token in (self.tokenizer.pad_token_id, self.blank_token_id):
                continue
            piece = stream.step(self.tokenizer._tokenizer, token)
            if piece is None:  # not all bytes of a character are there
                continue
            start, end = place * seconds, (place + (duration if self.has_durations else 1)) * seconds
            if self.has_durations and piece in PUNCTUATION and found:
                start = end = found[-1]["end"]
            found.append({"token": piece, "start": start, "end": end})
        return found


class ParakeetProcessor(TransducerProcessor):
    """Of Parakeet: `decoder_type` is "ctc", "rnnt" or "tdt"; without it the tokenizer's blank says which."""

    own_settings = ("blank_token", "decoder_type")

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        blank_token: str = "<blank>",
        decoder_type: str | None = None,
        chat_template: Any = None,
    ):
        super().__init__(feature_extractor, tokenizer, blank_token, chat_template)
        if decoder_type not in (None, "ctc", "rnnt", "tdt"):
            raise ConfigError("decoder_type", decoder_type, "'ctc', 'rnnt', 'tdt' or null", where=FILE)
        self.decoder_type = decoder_type

    @property
    def kind(self) -> str:
        if self.decoder_type is not None:
            return self.decoder_type
        return "tdt" if self.blank_token in self.tokenizer.get_vocab() else "ctc"

    @property
    def merges(self) -> bool:
        return self.kind == "ctc"

    @property
    def has_durations(self) -> bool:
        return self.kind == "tdt"
