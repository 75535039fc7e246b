"""Parakeet's tokenizer: what it decodes may be a token for each vector of a sound."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from autoload.text.fast import PreTrainedTokenizerFast


class ParakeetTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that joins equal tokens and leaves out padding, which is the blank of CTC."""

    def _decode(
        self,
        ids: list[int],
        skip_special_tokens: bool,
        clean_up: bool | None,
        group_tokens: bool = True,
        **options: Any,
    ) -> str:
        kept = [token for token, _ in groupby(ids)] if group_tokens else ids
        kept = [token for token in kept if token != self.pad_token_id]
        return super()._decode(kept, skip_special_tokens, clean_up, **options)
