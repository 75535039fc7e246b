"""Processors that only sampling uses: they reshape the distribution, or cut its tail off."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from autoload.generation.checks import refused
from autoload.generation.processors import LogitsProcessor, checked


def _entropy(scores: Tensor) -> Tensor:
    """Of softmax(scores), in nats; (batch,)."""
    return torch.distributions.Categorical(logits=scores, validate_args=False).entropy()


class TemperatureLogitsWarper(LogitsProcessor):
    """Divides the scores: below 1 sharpens the distribution."""

    def __init__(self, temperature: float):
        self.temperature = checked("temperature", temperature, type(self).__name__)
        if temperature == 0:
            hint = "a positive number; for greedy decoding set do_sample to false"
            raise refused("temperature", temperature, hint, type(self).__name__)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores / self.temperature


class _Cut(LogitsProcessor):
    """Base of warpers that leave only some tokens.

    Args:
        value: of the setting.
        filter_value: score of what is cut.
        min_tokens_to_keep: the likeliest tokens that stay in any case.
    """

    setting = ""

    def __init__(self, value: Any, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        name = type(self).__name__
        self.value = checked(self.setting, value, name)
        if not isinstance(min_tokens_to_keep, int) or min_tokens_to_keep < 1:
            raise refused("min_tokens_to_keep", min_tokens_to_keep, "a positive integer", name)
        self.filter_value, self.min_tokens_to_keep = filter_value, min_tokens_to_keep

    def cut(self, scores: Tensor) -> Tensor:
        """True at the tokens to remove."""
        raise NotImplementedError

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill(self.cut(scores), self.filter_value)

    def below_top(self, scores: Tensor, count: int) -> Tensor:
        """True where a score is less than the `count`-th largest of its row."""
        return scores < scores.topk(min(count, scores.shape[-1]))[0][..., -1:]


class TopKLogitsWarper(_Cut):
    """The `top_k` likeliest tokens."""

    setting = "top_k"

    def __init__(self, top_k: int, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        super().__init__(top_k, filter_value, min_tokens_to_keep)
        if top_k == 0:
            raise refused("top_k", top_k, "a positive integer", type(self).__name__)
        self.top_k = max(top_k, min_tokens_to_keep)

    def cut(self, scores: Tensor) -> Tensor:
        return self.below_top(scores, self.top_k)


class TopPLogitsWarper(_Cut):
    """The likeliest tokens that together have the probability `top_p` (arXiv:1904.09751)."""

    setting = "top_p"

    def __init__(self, top_p: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        super().__init__(top_p, filter_value, min_tokens_to_keep)
        self.top_p = float(top_p)

    def cut(self, scores: Tensor) -> Tensor:
        ascending, order = scores.sort(descending=False)
        remove = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
        remove[..., -self.min_tokens_to_keep :] = False
        return remove.scatter(1, order, remove)


class MinPLogitsWarper(_Cut):
    """Tokens at least `min_p` times as likely as the likeliest (arXiv:2407.01082)."""

    setting = "min_p"

    def __init__(self, min_p: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        super().__init__(min_p, filter_value, min_tokens_to_keep)
        self.min_p = min_p

    def cut(self, scores: Tensor) -> Tensor:
        probs = scores.softmax(-1)
        best = probs.topk(min(self.min_tokens_to_keep, probs.shape[-1])).indices
        return (probs < self.min_p * probs.amax(-1, keepdim=True)).scatter(-1, best, False)


class TopHLogitsWarper(_Cut):
    """The likeliest tokens whose share of the entropy is at most `top_h` (arXiv:2509.02510), among the first 100."""

    setting = "top_h"
    considered = 100

    def __init__(self, top_h: float, filter_value: float = -math.inf):
        super().__init__(top_h, filter_value)
        self.top_h = top_h

    def cut(self, scores: Tensor) -> Tensor:
        best, order = scores.topk(min(self.considered, scores.shape[-1]))
        logs = best.log_softmax(-1)
        terms = -logs.exp() * logs
        keep = terms.cumsum(-1) <= _entropy(best)[:, None] * self.top_h
        keep[:, 0] = True
        return torch.ones_like(scores, dtype=torch.bool).scatter(1, order, ~keep)


class TypicalLogitsWarper(_Cut):
    """Tokens whose surprise is nearest to the entropy, up to the mass `typical_p` (arXiv:2202.00666)."""

    setting = "typical_p"

    def __init__(self, mass: float = 0.9, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        super().__init__(mass, filter_value, min_tokens_to_keep)
        if mass == 1:
            raise refused("typical_p", mass, "less than 1", type(self).__name__)
        self.mass = float(mass)

    def cut(self, scores: Tensor) -> Tensor:
        logs = scores.log_softmax(-1)
        entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
        distance, order = (-logs - entropy).abs().sort(descending=False)
        mass = scores.gather(-1, order).softmax(-1).cumsum(-1)
        last = (mass < self.mass).sum(1).clamp(max=distance.shape[-1] - 1)
        remove = distance > distance.gather(1, last[:, None])
        remove[..., : self.min_tokens_to_keep] = False
        return remove.scatter(1, order, remove)


class EpsilonLogitsWarper(_Cut):
    """Tokens of at least the probability `epsilon` (arXiv:2210.15191)."""

    setting = "epsilon_cutoff"

    def __init__(self, epsilon: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1):
        super().__init__(epsilon, filter_value, min_tokens_to_keep)
        if epsilon == 0:
            raise refused(self.setting, epsilon, "more than 0", type(self).__name__)
        self.epsilon = float(epsilon)

    def cut(self, scores: Tensor) -> Tensor:
        return (scores.softmax(-1) < self.epsilon) & self.below_top(scores, self.min_tokens_to_keep)


class EtaLogitsWarper(EpsilonLogitsWarper):
    """Epsilon, made smaller where the entropy is high (arXiv:2210.15191)."""

    setting = "eta_cutoff"

    def __init__(
        self, epsilon: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1, device: Any = "cpu"
    ):
        super().__init__(epsilon, filter_value, min_tokens_to_keep)

    def cut(self, scores: Tensor) -> Tensor:
        epsilon = torch.tensor(self.epsilon, dtype=scores.dtype, device=scores.device)
        eta = torch.minimum(epsilon, epsilon.sqrt() * (-_entropy(scores)).exp())[:, None]
        return (scores.softmax(-1) < eta) & self.below_top(scores, self.min_tokens_to_keep)
