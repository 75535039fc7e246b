"""CLIP's tokenizer: words are marked at their end, which only decoding has to know."""

from __future__ import annotations

from typing import Any

from autoload.text.fast import PreTrainedTokenizerFast


class CLIPTokenizer(PreTrainedTokenizerFast):
    """A tokenizer whose decoder leaves `</w>` where a word ends."""

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> str:
        text = super()._decode(ids, skip_special_tokens, clean_up, **options)
        return text.replace("</w>", " ").strip()
