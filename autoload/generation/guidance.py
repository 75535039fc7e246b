"""Guidance: moving away from what another prompt, or none, would give (arXiv:2306.17806)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.generation.processors import LogitsProcessor


class UnbatchedClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """Extrapolates from the scores under another prompt to those under the own one.

    Args:
        guidance_scale: 1 changes nothing.
        model: is run over the other prompt.
        unconditional_ids: the other prompt (batch, seq); None: the last token of the own one.
        unconditional_attention_mask: its mask.
        use_cache: keep the other prompt's keys and values.
    """

    def __init__(
        self,
        guidance_scale: float,
        model: Any,
        unconditional_ids: Tensor | None = None,
        unconditional_attention_mask: Tensor | None = None,
        use_cache: bool | None = True,
    ):
        self.guidance_scale, self.model, self.use_cache = guidance_scale, model, use_cache
        self.ids, self.mask = unconditional_ids, unconditional_attention_mask
        self.cache: Any = None
        self.begun = False

    def other_logits(self, input_ids: Tensor) -> Tensor:
        """Scores after the other prompt and what was generated, (batch, vocabulary)."""
        new = input_ids[:, -1:]
        if not self.begun:
            self.begun = True
            self.ids = new if self.ids is None else self.ids
            self.mask = torch.ones_like(self.ids) if self.mask is None else self.mask
            step = self.ids
        else:
            self.ids = torch.cat([self.ids, new], 1)  # type: ignore[list-item]
            self.mask = torch.cat([self.mask, torch.ones_like(new)], 1)  # type: ignore[list-item]
            step = new if self.use_cache else self.ids
        out = self.model(step, attention_mask=self.mask, use_cache=self.use_cache, past_key_values=self.cache)
        self.cache = out.get("past_key_values")
        return out.logits[:, -1]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        own = scores.log_softmax(-1)
        if self.guidance_scale == 1:
            return own
        other = self.other_logits(input_ids).log_softmax(-1)
        return self.guidance_scale * (own - other) + other


class ClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """The same for a batch whose second half has no condition."""

    def __init__(self, guidance_scale: float):
        self.guidance_scale = guidance_scale

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        own, other = scores.chunk(2)
        return other + (own - other) * self.guidance_scale
