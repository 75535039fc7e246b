"""Tokenizers of SentencePiece models that had no Rust pipeline of old: their texts come back stripped."""

from __future__ import annotations

from typing import Any

from autoload.text.fast import PreTrainedTokenizerFast


class PieceTokenizer(PreTrainedTokenizerFast):
    """A Rust-backed tokenizer whose decoded texts have no space around them."""

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> str:
        return super()._decode(ids, skip_special_tokens, clean_up, **options).strip()
