"""The losses that `labels` give. -100 marks what does not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.errors import ArgumentError

# Tasks, as class names end, by which the reference tells losses apart.
NAMED = (
    "ForCausalLM ForMaskedLM ForConditionalGeneration ForQuestionAnswering ForTokenClassification "
    "ForSequenceClassification ForImageClassification ForAudioClassification ForVideoClassification ForCTC "
    "ParakeetForRNNT ParakeetForTDT"
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


# -- transducers: the probability of a text is that of all its alignments with the frames

REDUCTIONS = ("mean_volume", "mean_batch", "mean", "sum", "none")
NEVER = -1e30  # log of a probability of zero, with gradients that are zero and not undefined


def rnnt_loss(
    logits: Tensor, labels: Tensor, frames: Tensor, counts: Tensor, blank: int, reduction: str = "mean_volume"
) -> Tensor:
    """Loss of a transducer (Graves 2012, arXiv:1211.3711), in fp32: a blank goes on by one frame, a label by none.

    Args:
        logits: (batch, frames, labels + 1, vocabulary), after each frame and each number of labels.
        labels: (batch, labels).
        frames, counts: (batch,), how many frames and labels are real.
        blank: number of the blank.
        reduction: "mean_volume" divides the sum by the number of labels, "mean_batch" by that of the rows; "mean" is
            the mean of each row's loss by its labels; "sum" and "none".
    """
    skips, labelled = _steps(logits, labels, blank, 0.0)
    return _reduced(-_alignments({1: skips}, {0: labelled}, frames, counts), counts, reduction)


def tdt_loss(
    logits: Tensor,
    duration_logits: Tensor,
    labels: Tensor,
    frames: Tensor,
    counts: Tensor,
    blank: int,
    durations: Sequence[int],
    sigma: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Loss of a token-and-duration transducer (arXiv:2304.06795), in fp32: each step goes on by a duration.

    Args:
        logits: (batch, frames, labels + 1, vocabulary).
        duration_logits: (batch, frames, labels + 1, durations).
        durations: numbers of frames; a blank goes on by at least one.
        sigma: what the log of each step's probability loses, so that fewer steps are likelier.
        labels, frames, counts, blank, reduction: as in `rnnt_loss`.
    """
    skips, labelled = _steps(logits, labels, blank, sigma)
    spans = duration_logits.float().log_softmax(-1).unbind(-1)
    by_span = list(zip(durations, spans, strict=True))
    blanks = {d: skips + span for d, span in by_span if d > 0}
    return _reduced(
        -_alignments(blanks, {d: labelled + span for d, span in by_span}, frames, counts), counts, reduction
    )


def _steps(logits: Tensor, labels: Tensor, blank: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Logs of the probability of a blank, and of the next label; both (batch, frames, labels + 1)."""
    if logits.dim() != 4 or logits.shape[2] != labels.shape[1] + 1:
        text = (
            f"labels have {labels.shape[1]} tokens, so decoder_input_ids are to have {labels.shape[1] + 1}, the blank"
        )
        raise ArgumentError(f"forward: {text} and the labels; the scores are {tuple(logits.shape)}.", name="labels")
    scores = logits.float().log_softmax(-1) - sigma
    following = labels.to(logits.device).clamp(min=0)[:, None, :, None].expand(-1, logits.shape[1], -1, -1)
    labelled = scores[:, :, :-1].gather(-1, following)[..., 0]
    return scores[..., blank], F.pad(labelled, (0, 1), value=NEVER)


def _alignments(blanks: dict[int, Tensor], labelled: dict[int, Tensor], frames: Tensor, counts: Tensor) -> Tensor:
    """Log of the summed probability of all ways from the first frame and no label to past the last frame and all.

    All places with the same sum of frames and labels are reached at once, from those with a smaller one.

    Args:
        blanks: for each number of frames that a blank goes on by, its log probability, (batch, frames, labels + 1).
        labelled: the same of the next label.
        frames, counts: (batch,), how many frames and labels are real.
    """
    total, width = next(iter(blanks.values())).shape[1:]
    blanks = {d: _diagonals(x, NEVER) for d, x in blanks.items()}  # (sums, batch, labels + 1)
    labelled = {d: _diagonals(x, NEVER) for d, x in labelled.items()}
    first = next(iter(blanks.values()))[0]
    reached = [torch.full_like(first, NEVER).index_fill(1, torch.zeros_like(counts[:1]), 0.0)]
    for place in range(1, total + width - 1):
        ways = [reached[place - d] + x[place - d] for d, x in blanks.items() if d <= place]
        further = [reached[place - d - 1] + x[place - d - 1] for d, x in labelled.items() if d < place]
        ways += [F.pad(x[:, :-1], (1, 0), value=NEVER) for x in further]
        reached.append(torch.stack(ways).logsumexp(0))
    states, rows = torch.stack(reached), torch.arange(len(frames), device=frames.device)
    last = []
    for d, x in blanks.items():
        places = ((frames - d).clamp(min=0) + counts, rows, counts)
        last.append((states[places] + x[places]).masked_fill(frames < d, NEVER))
    out = torch.stack(last).logsumexp(0)
    return out.masked_fill(out < NEVER / 2, -torch.inf)


def _diagonals(x: Tensor, filler: float) -> Tensor:
    """Entries by the sum of both places and by the second: (batch, a, b) to (a + b - 1, batch, b)."""
    batch, a, b = x.shape
    rows = F.pad(x.transpose(1, 2), (0, b), value=filler).flatten(1)[:, :-b]  # each row begins one further on
    return rows.view(batch, b, a + b - 1).permute(2, 0, 1)


def _reduced(losses: Tensor, counts: Tensor, reduction: str) -> Tensor:
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"reduction={reduction!r}: expected one of {', '.join(REDUCTIONS)}.", name="reduction")
    if reduction == "mean_volume":
        return losses.sum() / counts.sum()
    if reduction == "mean":
        return (losses / counts).mean()
    return losses.mean() if reduction == "mean_batch" else losses.sum() if reduction == "sum" else losses
