"""When to stop: functions of the tokens so far that say which rows are done."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from autoload.generation.processors import token_tensor


class StoppingCriteria:
    """Base of all criteria."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Which rows are done; (batch,).

        Args:
            input_ids: (batch, seq), the prompt and what was generated.
            scores: one tensor per step where they are kept, else None.
        """
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


class _AllRows(StoppingCriteria):
    """Base of criteria whose answer is the same for all rows and needs no look at the tokens."""

    def is_done(self, length: int) -> bool:
        raise NotImplementedError

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = self.is_done(input_ids.shape[1])
        return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)


class MaxLengthCriteria(_AllRows):
    """At a number of tokens, the prompt included."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None):
        self.max_length, self.max_position_embeddings = max_length, max_position_embeddings

    def is_done(self, length: int) -> bool:
        return length >= self.max_length


class MaxTimeCriteria(_AllRows):
    """After some seconds."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None):
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def is_done(self, length: int) -> bool:
        return time.time() - self.initial_timestamp > self.max_time


class EosTokenCriteria(StoppingCriteria):
    """At one of the tokens that end a text."""

    def __init__(self, eos_token_id: Any):
        self.eos_token_id = token_tensor(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Any, new_token_length: int = 1, **kwargs: Any) -> Tensor:
        self.eos_token_id = self.eos_token_id.to(input_ids.device)
        return torch.isin(input_ids[:, -new_token_length:], self.eos_token_id).any(-1)


class ConfidenceCriteria(StoppingCriteria):
    """When a draft model gives its own token less than a probability; for a batch of one."""

    def __init__(self, assistant_confidence_threshold: float):
        self.assistant_confidence_threshold = assistant_confidence_threshold

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        p = scores[-1].softmax(-1).gather(-1, input_ids[:, -1:])[:, 0]
        return p < self.assistant_confidence_threshold


class StoppingCriteriaList(list):
    """Criteria; a row is done when one of them says so."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        done = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        for criterion in self:
            done = done | criterion(input_ids, scores, **kwargs)
        return done

    def check(self, input_ids: Tensor, scores: Any) -> bool | Tensor:
        """The same answer with as little work as possible: True or False for all rows, or (batch,)."""
        done: Any = False
        for criterion in self:
            if isinstance(criterion, _AllRows):
                if criterion.is_done(input_ids.shape[1]):
                    return True
            else:
                done = criterion(input_ids, scores) | done
                if done is True:
                    return True
        return done

    @property
    def max_length(self) -> int | None:
        return next((c.max_length for c in self if isinstance(c, MaxLengthCriteria)), None)
