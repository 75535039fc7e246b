"""Stopping at a text, wherever the borders of its tokens are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.generation.processors import checked
from autoload.generation.stopping import StoppingCriteria

TOKENS_PER_CHARACTER = 4  # at most: bytes of a character
MARGIN = 8  # tokens more, since decoding treats the first ones of a text in its own way


class StopStringCriteria(StoppingCriteria):
    """When a string appears that ends with, or inside, the newest token.

    Args:
        tokenizer: decodes tokens.
        stop_strings: one text or several.
    """

    def __init__(self, tokenizer: Any, stop_strings: str | list[str]):
        strings = checked("stop_strings", stop_strings, type(self).__name__)
        self.stop_strings = (strings,) if isinstance(strings, str) else tuple(strings)
        self.tokenizer = tokenizer
        self._tail = TOKENS_PER_CHARACTER * max(map(len, self.stop_strings)) + MARGIN

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        rows = input_ids[:, -self._tail :].tolist()
        return torch.tensor([self._ends(row) for row in rows], device=input_ids.device)

    def _ends(self, tokens: list[int]) -> bool:
        text, before = self._decoded(tokens), self._decoded(tokens[:-1])
        # An unfinished character is not text yet: the newest token may complete it.
        old = len(before.rstrip("\ufffd"))
        return any(text.find(stop, max(0, old - len(stop) + 1)) >= 0 for stop in self.stop_strings)

    def _decoded(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
