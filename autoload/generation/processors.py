"""Logits processors: functions of the tokens so far and the scores of the next one that give new scores.

Scores are fp32, (batch, vocabulary). A processor never changes them in place. Warpers, which only sampling uses, stand
in `warpers.py`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autoload.generation.checks import FIELDS, check_field, refused


class LogitsProcessor:
    """Base of all processors."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """New scores.

        Args:
            input_ids: (batch, seq), the prompt and what was generated.
            scores: (batch, vocabulary).
        """
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


class LogitsProcessorList(list):
    """Processors, one after the other."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        for processor in self:
            scores = (
                processor(input_ids, scores, **kwargs)
                if kwargs and _takes_more(processor)
                else processor(input_ids, scores)
            )
        return scores


def _takes_more(processor: Any) -> bool:
    return len(inspect.signature(processor.__call__).parameters) > 2


def checked(name: str, value: Any, where: str) -> Any:
    """The value of a setting, checked as in a configuration; it must be set."""
    if value is None:
        raise refused(name, value, FIELDS[name][0], where)
    return check_field(name, value, where)


def token_tensor(ids: Any, device: Any = None) -> Tensor:
    """One token or several as a tensor (tokens,)."""
    if not isinstance(ids, Tensor):
        ids = torch.tensor([ids] if isinstance(ids, int) else list(ids), dtype=torch.int64)
    return ids.reshape(-1).to(device=device, dtype=torch.int64)


def forbid(scores: Tensor, tokens: Tensor) -> Tensor:
    """Scores in which some tokens are impossible."""
    vocabulary = torch.arange(scores.shape[-1], device=scores.device)
    return scores.masked_fill(torch.isin(vocabulary, tokens.to(scores.device)), -math.inf)


def only(scores: Tensor, tokens: Any) -> Tensor:
    """Scores in which nothing but some tokens is possible."""
    scores = torch.full_like(scores, -math.inf)
    scores[:, tokens] = 0.0
    return scores


# -- length


class MinLengthLogitsProcessor(LogitsProcessor):
    """No end before `min_length` tokens, the prompt included."""

    def __init__(self, min_length: int, eos_token_id: Any, device: Any = "cpu"):
        self.min_length = checked("min_length", min_length, "MinLengthLogitsProcessor")
        self.eos_token_id = token_tensor(eos_token_id, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return forbid(scores, self.eos_token_id) if input_ids.shape[-1] < self.min_length else scores


class MinNewTokensLengthLogitsProcessor(LogitsProcessor):
    """No end before `min_new_tokens` tokens after the prompt."""

    def __init__(self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: Any, device: Any = "cpu"):
        self.prompt_length_to_skip = checked("min_length", prompt_length_to_skip, "MinNewTokensLengthLogitsProcessor")
        self.min_new_tokens = checked("min_new_tokens", min_new_tokens, "MinNewTokensLengthLogitsProcessor")
        self.eos_token_id = token_tensor(eos_token_id, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        made = input_ids.shape[-1] - self.prompt_length_to_skip
        return forbid(scores, self.eos_token_id) if made < self.min_new_tokens else scores


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """A given token after the first one."""

    def __init__(self, bos_token_id: int):
        self.bos_token_id = checked("forced_bos_token_id", bos_token_id, "ForcedBOSTokenLogitsProcessor")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return only(scores, self.bos_token_id) if input_ids.shape[-1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """An end where the longest length is reached."""

    def __init__(self, max_length: int, eos_token_id: Any, device: Any = "cpu"):
        self.max_length = max_length
        self.eos_token_id = token_tensor(checked("forced_eos_token_id", eos_token_id, type(self).__name__), device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return only(scores, self.eos_token_id) if input_ids.shape[-1] == self.max_length - 1 else scores


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """From some length on the end becomes likelier with every token.

    Args:
        exponential_decay_length_penalty: number of generated tokens at which it begins, and the factor per token.
        eos_token_id: one or several.
        input_ids_seq_length: of the prompt.
    """

    def __init__(self, exponential_decay_length_penalty: Any, eos_token_id: Any, input_ids_seq_length: int):
        name = "exponential_decay_length_penalty"
        start, self.regulation_factor = checked(name, exponential_decay_length_penalty, type(self).__name__)
        self.regulation_start = start + input_ids_seq_length
        self.eos_token_id = token_tensor(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        late = input_ids.shape[-1] - self.regulation_start
        if late <= 0:
            return scores
        eos = self.eos_token_id.to(scores.device)
        ends = scores[:, eos]
        gain = ends.abs() * (self.regulation_factor**late - 1)
        return scores.index_add(-1, eos, gain.masked_fill(~ends.isfinite(), 0.0))


# -- penalties


def penalised(scores: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    """Scores of `tokens` (batch, any) made smaller by a factor, whatever their sign."""
    old = scores.gather(1, tokens)
    return scores.scatter(1, tokens, torch.where(old < 0, old * penalty, old / penalty))


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens that were seen become less likely (CTRL, arXiv:1909.05858).

    Args:
        penalty: above 1 discourages repetition.
        prompt_ignore_length: leading tokens that do not count; a number, or one per row.
    """

    def __init__(self, penalty: float, prompt_ignore_length: int | Tensor | None = None):
        self.penalty = checked("repetition_penalty", penalty, "RepetitionPenaltyLogitsProcessor")
        self.prompt_ignore_length = prompt_ignore_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        size, skip = scores.shape[-1], self.prompt_ignore_length
        if isinstance(skip, int):
            input_ids = input_ids[:, skip:]
        elif skip is not None:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            input_ids = input_ids.masked_fill(places < skip.to(input_ids.device)[:, None], size)
        # Ignored tokens, and tokens beyond the vocabulary, go to a column that is thrown away.
        scores = torch.nn.functional.pad(scores, (0, 1))
        return penalised(scores, input_ids.clamp(max=size), self.penalty)[:, :size]


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens of the source become likelier: the penalty is on what is not in it."""

    def __init__(self, penalty: float, encoder_input_ids: Tensor):
        self.penalty = 1 / checked("encoder_repetition_penalty", penalty, type(self).__name__)
        self.encoder_input_ids = encoder_input_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        source = self.encoder_input_ids
        if len(scores) > len(source):
            source = source.repeat_interleave(len(scores) // len(source), 0)
        return penalised(scores, source, self.penalty)


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No sequence of `ngram_size` tokens twice."""

    def __init__(self, ngram_size: int):
        self.ngram_size = checked("no_repeat_ngram_size", ngram_size, type(self).__name__)
        if ngram_size == 0:
            raise refused("no_repeat_ngram_size", ngram_size, "a positive integer", type(self).__name__)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        n, size = self.ngram_size, scores.shape[-1]
        if input_ids.shape[1] < n:
            return scores
        return scores.masked_fill(_continuations(input_ids, input_ids, n, size), -math.inf)


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No sequence of `encoder_ngram_size` tokens of the source."""

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Tensor):
        self.ngram_size = checked("encoder_no_repeat_ngram_size", encoder_ngram_size, type(self).__name__)
        self.source = encoder_input_ids if encoder_input_ids.dim() == 2 else encoder_input_ids[None]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        n, size = self.ngram_size, scores.shape[-1]
        if input_ids.shape[1] < n - 1 or self.source.shape[1] < n:
            return scores
        source = self.source.repeat_interleave(len(scores) // len(self.source), 0)
        return scores.masked_fill(_continuations(source, input_ids, n, size), -math.inf)


def _continuations(source: Tensor, input_ids: Tensor, n: int, size: int) -> Tensor:
    """True at tokens that would end an n-gram of `source` (batch, seq) begun by the last n - 1 `input_ids`."""
    windows = source.unfold(1, n, 1)  # (batch, places, n)
    begun = (windows[..., :-1] == input_ids[:, None, input_ids.shape[1] + 1 - n :]).all(-1)  # (batch, places)
    ends = torch.where(begun, windows[..., -1].clamp(max=size), size)  # the last column is thrown away
    found = torch.zeros(len(source), size + 1, dtype=torch.bool, device=source.device)
    return found.scatter_(1, ends, True)[:, :size]


# -- tokens


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """Adds a bias to the token that would complete one of some sequences.

    Args:
        sequence_bias: {(token, ...): bias}, or the same as [[[token, ...], bias], ...].
    """

    def __init__(self, sequence_bias: Any):
        pairs = checked("sequence_bias", sequence_bias, type(self).__name__)
        pairs = pairs.items() if isinstance(pairs, dict) else pairs
        self.sequence_bias = {tuple(int(t) for t in ids): float(bias) for ids, bias in pairs}
        self._ready: tuple[Any, Tensor, list[tuple[Tensor, Tensor, Tensor]]] | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        key = (scores.device, scores.shape[-1])
        if self._ready is None or self._ready[0] != key:
            self._ready = (key, *self._tensors(scores))
        bias = self._ready[1].expand_as(scores)
        for begins, ends, values in self._ready[2]:
            if (n := begins.shape[1]) <= input_ids.shape[1]:
                begun = (input_ids[:, None, -n:] == begins).all(-1)  # (batch, sequences)
                bias = bias.index_add(1, ends, torch.where(begun, values, 0.0))
        return scores + bias

    def _tensors(self, scores: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        """The bias of single tokens (vocabulary,); and for each length, beginnings, last tokens and biases."""
        size, device = scores.shape[-1], scores.device
        if unknown := [t for ids in self.sequence_bias for t in ids if t >= size]:
            raise refused("sequence_bias", unknown[:8], f"token ids below {size}", type(self).__name__)
        single = torch.zeros(size, device=device)
        by_length: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for ids, bias in self.sequence_bias.items():
            if len(ids) == 1:
                single[ids[0]] = bias
            else:
                by_length.setdefault(len(ids), []).append((ids, bias))
        longer = [
            (
                torch.tensor([ids[:-1] for ids, _ in group], device=device),
                torch.tensor([ids[-1] for ids, _ in group], device=device),
                torch.tensor([bias for _, bias in group], device=device),
            )
            for group in by_length.values()
        ]
        return single, longer


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Some sequences never appear; the end of the text cannot be forbidden this way."""

    def __init__(self, bad_words_ids: list[list[int]], eos_token_id: Any = None):
        self.bad_word_ids = checked("bad_words_ids", bad_words_ids, type(self).__name__)
        if not self.bad_word_ids:
            raise refused("bad_words_ids", bad_words_ids, "at least one sequence", type(self).__name__)
        ends = set() if eos_token_id is None else {(t,) for t in token_tensor(eos_token_id).tolist()}
        words = [tuple(word) for word in self.bad_word_ids]
        self.sequence_bias = {word: -math.inf for word in words if word not in ends}
        self._ready = None


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Some tokens never appear."""

    def __init__(self, suppress_tokens: Any, device: Any = "cpu"):
        self.suppress_tokens = token_tensor(suppress_tokens, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return forbid(scores, self.suppress_tokens)


class SuppressTokensAtBeginLogitsProcessor(LogitsProcessor):
    """Some tokens do not appear first; `begin_index` is the length at which "first" is."""

    def __init__(self, begin_suppress_tokens: Any, begin_index: int, device: Any = "cpu"):
        self.begin_suppress_tokens = token_tensor(begin_suppress_tokens, device)
        self.begin_index = begin_index

    def set_begin_index(self, begin_index: int) -> None:
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return forbid(scores, self.begin_suppress_tokens) if input_ids.shape[-1] == self.begin_index else scores


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """A function of row and tokens so far says which tokens may come (GENRE, arXiv:2010.00904)."""

    def __init__(self, prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]], num_beams: int):
        self._allowed, self._beams = prefix_allowed_tokens_fn, num_beams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        mask = torch.full_like(scores, -math.inf)
        for row, tokens in enumerate(input_ids):
            allowed = self._allowed(row // self._beams, tokens)
            if len(allowed) == 0:
                text = "at least one token; no continuation is left"
                raise refused("prefix_allowed_tokens_fn", [], text, f"row {row // self._beams}")
            mask[row, allowed] = 0.0
        out = scores + mask
        # Where other processors forbid all that is allowed in every beam of a row, the function alone decides.
        stuck = out.amax(-1).isneginf().view(-1, self._beams).all(-1)  # (batch,)
        return torch.where(stuck.repeat_interleave(self._beams)[:, None], mask, out)


# -- numbers


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """NaN becomes 0, infinities the largest numbers."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return torch.nan_to_num(scores, nan=0.0)


class LogitNormalization(LogitsProcessor):
    """Logarithms of probabilities again, after other processors."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.log_softmax(-1)
