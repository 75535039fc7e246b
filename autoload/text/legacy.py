"""Names that release 5 of the reference dropped, and that older programs still call. All of them live here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoload.text.specials import reject_unknown

if TYPE_CHECKING:
    from autoload.text.encoding import BatchEncoding


class OldNames:
    """Old methods and attributes, each in terms of today's."""

    def encode_plus(self: Any, text: Any, text_pair: Any = None, **settings: Any) -> BatchEncoding:
        """A call on one text or pair. Integers are taken as ids."""
        if isinstance(text, (list, tuple)) and text and isinstance(text[0], int):
            return self.prepare_for_model(list(text), text_pair, **settings)
        return self(text, text_pair, **settings)

    def batch_encode_plus(self: Any, batch_text_or_text_pairs: Any, **settings: Any) -> BatchEncoding:
        """A call on a batch of texts or of pairs."""
        return self(list(batch_text_or_text_pairs), **settings)

    @property
    def additional_special_tokens(self: Any) -> list[str]:
        """Special tokens without a name of their own."""
        return self.extra_special_tokens

    @additional_special_tokens.setter
    def additional_special_tokens(self: Any, tokens: list[Any]) -> None:
        self.extra_special_tokens = tokens

    @property
    def additional_special_tokens_ids(self: Any) -> list[int]:
        """Ids of `additional_special_tokens`."""
        return self.extra_special_tokens_ids

    @property
    def special_tokens_map_extended(self: Any) -> dict[str, Any]:
        """Name -> token with its flags."""
        known = {token.content: token for token in self.added_tokens_decoder.values()}
        named = {name: known.get(text, text) for name, text in self._named.items()}
        if self._extra:
            named["additional_special_tokens"] = [known.get(text, text) for text in self._extra]
        return named

    @property
    def all_special_tokens_extended(self: Any) -> list[Any]:
        """Special tokens with their flags."""
        known = {token.content: token for token in self.added_tokens_decoder.values()}
        return [known.get(text, text) for text in self.all_special_tokens]

    def build_inputs_with_special_tokens(
        self: Any, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Ids of one or two texts with the template around them."""
        return self._template_ids(list(token_ids_0), None if token_ids_1 is None else list(token_ids_1))

    def create_token_type_ids_from_sequences(
        self: Any, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Token types of one or two texts with the template around them."""
        return self._template_types(list(token_ids_0), None if token_ids_1 is None else list(token_ids_1))

    def prepare_for_model(
        self: Any,
        ids: list[int],
        pair_ids: list[int] | None = None,
        return_tensors: Any = None,
        prepend_batch_axis: bool = False,
        **settings: Any,
    ) -> BatchEncoding:
        """Model inputs from ids: truncated, framed by the template, padded. Further keywords as in a call."""
        import inspect

        from autoload.text.encoding import BatchEncoding
        from autoload.text.ids import frame_ids

        for ignored in ("verbose", "return_offsets_mapping"):
            settings.pop(ignored, None)
        known = inspect.signature(frame_ids).parameters
        unknown = {key: value for key, value in settings.items() if key not in known}
        reject_unknown(f"{type(self).__name__}.prepare_for_model", unknown, known)
        data = frame_ids(self, list(ids), None if pair_ids is None else list(pair_ids), **settings)
        return BatchEncoding(data, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

    def truncate_sequences(
        self: Any,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: Any = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Ids of one or two texts less so many, and the ids taken away."""
        from autoload.text.ids import cut_ids
        from autoload.text.plan import choose_truncation

        strategy = choose_truncation(truncation_strategy)
        return cut_ids(ids, pair_ids, num_tokens_to_remove, strategy, stride, self.truncation_side)

    @contextmanager
    def as_target_tokenizer(self: Any) -> Iterator[None]:
        """Within it, texts are encoded as those that the model is to produce."""
        self._switch_to_target_mode()
        try:
            yield
        finally:
            self._switch_to_input_mode()

    def _switch_to_target_mode(self) -> None:
        """Encode the target language from here on; most tokenizers have one mode only."""

    def _switch_to_input_mode(self) -> None:
        """Encode the source language from here on."""

    def prepare_seq2seq_batch(
        self: Any,
        src_texts: list[str],
        tgt_texts: list[str] | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        padding: Any = "longest",
        return_tensors: Any = None,
        truncation: Any = True,
        **settings: Any,
    ) -> BatchEncoding:
        """Inputs and labels of a batch of translations."""
        for language in ("src_lang", "tgt_lang"):
            if language in settings:
                setattr(self, language, settings.pop(language))
        return self(
            src_texts,
            text_target=tgt_texts,
            max_length=max_length,
            max_target_length=max_target_length,
            padding=padding,
            return_tensors=return_tensors,
            truncation=truncation,
            **settings,
        )

    def sanitize_special_tokens(self: Any) -> int:
        """Add named tokens that the vocabulary lacks."""
        return self.add_tokens(self.all_special_tokens, special_tokens=True)
