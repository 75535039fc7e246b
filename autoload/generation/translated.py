"""Drafts of a model with another vocabulary: text goes between the two tokenizers.

The model that checks accepts only what it would have said itself, so a draft that reads differently costs time alone.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError
from autoload.generation.run import Run


class Translated:
    """Proposes what a smaller model says, in the tokens of the model that checks.

    Args:
        run: of the model that checks.
        assistant: the smaller model.
        tokenizer: of the model that checks.
        assistant_tokenizer: of the smaller model.
    """

    wants: dict[str, Any] = {}

    def __init__(self, run: Run, assistant: Any, tokenizer: Any, assistant_tokenizer: Any):
        if tokenizer is None:
            text = "generate: an assistant_tokenizer needs the model's own beside it; pass tokenizer=."
            raise ArgumentError(text, name="tokenizer")
        if assistant.config.is_encoder_decoder or run.model.config.is_encoder_decoder:
            text = "generate: an assistant with another tokenizer must be a decoder, and so must the model."
            raise ArgumentError(text, name="assistant_model")
        self.model, self.max_length = assistant, run.settings.max_length
        self.own, self.theirs = tokenizer, assistant_tokenizer
        self.count = assistant.generation_config.num_assistant_tokens or run.settings.num_assistant_tokens
        self.settings = copy.deepcopy(assistant.generation_config)
        self.settings.update(is_assistant=True, max_length=None, min_length=None, do_sample=False, num_beams=1)
        self.settings.update(return_dict_in_generate=True, output_scores=True)
        self.cache: Any = None
        self.seen: list[int] = []  # tokens of the assistant, which the cache holds but for the last

    def propose(self, input_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Proposed tokens (1, any), and no scores."""
        room = self.max_length - input_ids.shape[1] - 1
        ids = self.theirs(self.own.decode(input_ids[0], skip_special_tokens=True))["input_ids"]
        if room <= 0 or not ids:
            return input_ids[:, :0], None
        self._go_back(ids)
        out = self.model.generate(
            torch.tensor([ids], device=self.model.device),
            generation_config=self.settings,
            max_new_tokens=int(self.count),
            past_key_values=self.cache,
        )
        self.cache, self.seen = out.past_key_values, out.sequences[0].tolist()
        new = self.own(self._said(ids), add_special_tokens=False)["input_ids"][:room]
        return torch.tensor([new], dtype=input_ids.dtype, device=input_ids.device), None

    def _go_back(self, ids: list[int]) -> None:
        """Keep of the cache what begins as this text does."""
        if self.cache is not None:
            pairs = enumerate(zip(ids, self.seen, strict=False))
            same = next((i for i, (a, b) in pairs if a != b), min(len(ids), len(self.seen)))
            self.cache.crop(-max(0, int(self.cache.get_seq_length()) - min(same, len(ids) - 1)))

    def _said(self, ids: list[int]) -> str:
        """What the assistant added to a text."""
        before = self.theirs.decode(ids, skip_special_tokens=True)
        whole = self.theirs.decode(self.seen, skip_special_tokens=True)
        if whole.startswith(before):
            return whole[len(before) :]
        return self.theirs.decode(self.seen[len(ids) :], skip_special_tokens=True)

    def learn(self, accepted: int, proposed: int, out: Any) -> None:
        """The number of proposals stays the same: tokens of the two models do not correspond."""
