"""The losses that `labels` give. -100 marks what does not count."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Tasks, as class names end, by which the reference tells losses apart.
NAMED = (
    "ForCausalLM ForMaskedLM ForConditionalGeneration ForQuestionAnswering ForTokenClassification "
    "ForSequenceClassification ForImageClassification ForAudioClassification ForVideoClassification ForCTC"
).split()


def named_loss(class_name: str) -> str | None:
    """The loss that a class's name says, `ForCausalLM`; None for `GPT2LMHeadModel`, whose labels are counted otherwise."""
    return next((name for name in NAMED if name in class_name), None)


def cross_entropy(logits: Tensor, labels: Tensor, num_items: Any = None, ignore_index: int = -100) -> Tensor:
    """Mean over the labels that count, or their sum over `num_items` when accumulated over several batches."""
    labels = labels.to(logits.device)
    if num_items is None:
        return F.cross_entropy(logits, labels, ignore_index=ignore_index)
    total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
    return total / (num_items.to(total.device) if isinstance(num_items, Tensor) else num_items)


def causal_lm_loss(
    logits: Tensor,
    labels: Tensor | None = None,
    vocab_size: int | None = None,
    num_items_in_batch: Any = None,
    ignore_index: int = -100,
    shift_labels: Tensor | None = None,
    **unused: Any,
) -> Tensor:
    """Next-token loss in fp32.

    Args:
        logits: (batch, seq, vocabulary).
        labels: (batch, seq), aligned with the inputs; each position predicts the next label.
        num_items_in_batch: divide the sum by this instead of averaging.
        shift_labels: labels that are shifted already.
    """
    if shift_labels is None:
        assert labels is not None
        shift_labels = F.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    return cross_entropy(
        logits.float().reshape(-1, logits.shape[-1]), shift_labels.reshape(-1), num_items_in_batch, ignore_index
    )


def token_loss(logits: Tensor, labels: Tensor, num_items: Any = None) -> Tensor:
    """One label per token: masked words, token classes. logits (batch, seq, classes), labels (batch, seq)."""
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), num_items)


def classification_loss(logits: Tensor, labels: Tensor, config: Any) -> Tensor:
    """Loss of a sequence classifier; what the labels are decides `config.problem_type` where it is not set.

    Args:
        logits: (batch, labels).
        labels: (batch,) class numbers, or (batch, labels) numbers or switches.
    """
    labels = labels.to(logits.device)
    if config.problem_type is None:
        if config.num_labels == 1:
            config.problem_type = "regression"
        elif labels.dtype in (torch.long, torch.int):
            config.problem_type = "single_label_classification"
        else:
            config.problem_type = "multi_label_classification"
    if config.problem_type == "regression":
        return F.mse_loss(logits.squeeze(), labels.squeeze()) if config.num_labels == 1 else F.mse_loss(logits, labels)
    if config.problem_type == "single_label_classification":
        return cross_entropy(logits.view(-1, config.num_labels), labels.view(-1))
    return F.binary_cross_entropy_with_logits(logits, labels)


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Mean of the losses of a span's two ends. logits (batch, seq), positions (batch,); beyond the end: ignored."""
    ignored = start_logits.shape[1]
    start, end = (p.squeeze(-1) if p.dim() > 1 else p for p in (start, end))
    start, end = start.clamp(0, ignored), end.clamp(0, ignored)
    return (
        cross_entropy(start_logits, start, ignore_index=ignored) + cross_entropy(end_logits, end, ignore_index=ignored)
    ) / 2


def ctc_loss(logits: Tensor, labels: Tensor, lengths: Tensor, config: Any) -> Tensor:
    """Connectionist temporal classification (Graves et al. 2006), in fp32; `pad_token_id` is the blank.

    Args:
        logits: (batch, frames, vocabulary).
        labels: (batch, most labels), filled up with -100 or the blank.
        lengths: (batch,), how many frames are real.
        config: with ctc_loss_reduction and ctc_zero_infinity.
    """
    labels = labels.to(logits.device)
    real = (labels != -100) & (labels != config.pad_token_id)
    scores = logits.log_softmax(-1, dtype=torch.float32).transpose(0, 1)  # (frames, batch, vocabulary)
    with torch.backends.cudnn.flags(enabled=False):  # its kernel asks for more than labels of any length
        return F.ctc_loss(
            scores,
            labels[real],
            lengths,
            real.sum(-1),
            blank=config.pad_token_id,
            reduction=config.ctc_loss_reduction,
            zero_infinity=config.ctc_zero_infinity,
        )
