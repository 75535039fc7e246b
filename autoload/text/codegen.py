"""CodeGen's tokenizer: GPT-2's, with a way to cut generated code off."""

from __future__ import annotations

import re
from typing import Any

from autoload.text.fast import PreTrainedTokenizerFast


class CodeGenTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that can decode up to where generated code begins something new."""

    def _decode(
        self,
        ids: list[int],
        skip_special_tokens: bool,
        clean_up: bool | None,
        truncate_before_pattern: list[str] | None = None,
        **options: Any,
    ) -> str:
        text = super()._decode(ids, skip_special_tokens, clean_up, **options)
        return truncate(text, truncate_before_pattern) if truncate_before_pattern else text


def truncate(code: str, patterns: list[str]) -> str:
    """Code up to its second `print` and second definition at the start of a line, and up to any of the patterns."""
    for start in (r"^print", r"^def"):
        found = list(re.finditer(start, code, re.MULTILINE))
        if len(found) > 1:
            code = code[: found[1].start()]
    ends = [found.start() for pattern in patterns if (found := re.search(pattern, code, re.MULTILINE))]
    return code[: min(ends)] if ends else code
