"""The loss of a transducer, place by place: slow, plain, and differentiable."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import torch
from torch import Tensor


def rnnt_loss(logits: Tensor, targets: Tensor, frames: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Of each row, (batch,), from scores (batch, frames, labels + 1, vocabulary)."""
    rows = zip(logits.log_softmax(-1), targets.tolist(), frames.tolist(), counts.tolist(), strict=True)
    return torch.stack([-_row(*row, blank) for row in rows])


def _row(scores: Tensor, labels: list[int], frames: int, count: int, blank: int) -> Tensor:
    reached: dict[tuple[int, int], Tensor] = {(0, 0): scores.new_zeros(())}
    for t in range(frames):
        for u in range(count + 1):
            ways = []
            if t > 0:
                ways.append(reached[t - 1, u] + scores[t - 1, u, blank])
            if u > 0:
                ways.append(reached[t, u - 1] + scores[t, u - 1, labels[u - 1]])
            if ways:
                reached[t, u] = torch.stack(ways).logsumexp(0)
    return reached[frames - 1, count] + scores[frames - 1, count, blank]


def lend_torchaudio() -> None:
    """The reference takes the loss from torchaudio, of which it needs no more than this; where it is missing, lend it."""
    from transformers.loss import loss_rnnt
    from transformers.utils.import_utils import is_torchaudio_available

    if is_torchaudio_available() or "torchaudio" in sys.modules:
        return

    def loss(logits: Tensor, targets: Tensor, logit_lengths: Tensor, target_lengths: Tensor, blank: int, reduction: str) -> Tensor:  # fmt: skip
        assert reduction == "none"
        return rnnt_loss(logits, targets, logit_lengths, target_lengths, blank)

    lent = types.ModuleType("torchaudio")
    lent.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    lent.functional = types.SimpleNamespace(rnnt_loss=loss)  # type: ignore[attr-defined]
    sys.modules["torchaudio"] = lent
    loss_rnnt.rnnt_loss = loss_rnnt.rnnt_loss.__wrapped__  # past the check
