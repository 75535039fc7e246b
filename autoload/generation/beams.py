"""Beam search, also with sampled candidates: several continuations of each text are kept, the best are returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.generation.outputs import Record
from autoload.generation.run import Run
from autoload.layers.cache import EncoderDecoderCache

NEVER = -1.0e9  # added to scores of what must not be chosen


@dataclass
class Beams:
    """Texts of a batch. `parents` are, for each generated token, the row of the flat batch that it continues."""

    tokens: Tensor  # (batch, beams, seq)
    scores: Tensor  # (batch, beams), sums of log-probabilities; of finished ones after the length penalty
    parents: Tensor  # (batch, beams, new tokens)

    def select(self, chosen: Tensor, scores: Tensor) -> Beams:
        """The beams `chosen` (batch, any) of each row, with given scores."""
        return Beams(_pick(self.tokens, chosen), scores, _pick(self.parents, chosen))

    def extended(self, tokens: Tensor | int, parents: Tensor | int) -> Beams:
        """One column more; tensors are (batch, beams)."""
        return Beams(_append(self.tokens, tokens), self.scores, _append(self.parents, parents))

    def with_others(self, other: Beams) -> Beams:
        pairs = ((self.tokens, other.tokens), (self.scores, other.scores), (self.parents, other.parents))
        return Beams(*(torch.cat(pair, 1) for pair in pairs))


def _pick(x: Tensor, chosen: Tensor) -> Tensor:
    return x.take_along_dim(chosen[..., None] if x.dim() == 3 else chosen, 1)


def _append(x: Tensor, column: Tensor | int) -> Tensor:
    return F.pad(x, (0, 1), value=column) if isinstance(column, int) else torch.cat([x, column[..., None]], -1)


class Search:
    """The state of one search.

    Args:
        run: the call.
        input_ids: (batch * beams, seq), every prompt `num_beams` times.
    """

    def __init__(self, run: Run, input_ids: Tensor):
        settings = run.settings
        self.run, self.settings, self.beams = run, settings, settings.num_beams
        self.start, device = input_ids.shape[1], input_ids.device
        tokens = input_ids.unflatten(0, (-1, self.beams))
        batch = tokens.shape[0]
        none = torch.empty(batch, self.beams, 0, dtype=torch.int64, device=device)
        scores = torch.zeros(batch, self.beams, device=device)
        scores[:, 1:] = NEVER  # all beams begin alike, so only the first may be continued
        self.running = Beams(tokens, scores, none)
        self.finished = Beams(tokens, torch.full_like(scores, NEVER), none)
        self.done = torch.zeros(batch, self.beams, dtype=torch.bool, device=device)  # of finished ones: they are real
        self.hopeful = torch.ones(batch, 1, dtype=torch.bool, device=device)  # a running beam may still win
        self.offset = torch.arange(batch, device=device)[:, None] * self.beams
        # Enough candidates that, however many end, `beams` of them go on.
        self.candidates = max(2, 1 + (0 if run.eos is None else len(run.eos))) * self.beams
        # The reference takes a pad token of 0 for "not set" here, and its results are matched.
        self.fill = -1 if run.eos is None else int(run.pad or run.eos[0])

    @property
    def flat(self) -> Tensor:
        return self.running.tokens.flatten(0, 1)  # (batch * beams, seq)

    def advance(self, scores: Tensor, kept: Any) -> bool:
        """One token more, from log-probabilities (batch * beams, vocabulary); whether the search goes on."""
        found = self._best(scores.unflatten(0, (-1, self.beams)) + self.running.scores[..., None])
        stops = self.run.criteria(found.tokens.flatten(0, 1), kept).unflatten(0, (-1, self.candidates))
        ongoing = found.scores + stops * NEVER
        chosen = ongoing.topk(self.beams)[1]
        self.running = found.select(chosen, ongoing.gather(1, chosen))
        self._finish(found, stops)
        self._look_ahead()
        full = bool(self.done.all()) and self.settings.early_stopping is True
        return not full and bool(self.hopeful.any() & ~stops.all())

    def _best(self, scores: Tensor) -> Beams:
        """The best continuations of each text's beams, or sampled ones; `scores` is (batch, beams, vocabulary)."""
        size, scores = scores.shape[-1], scores.flatten(1)
        if self.settings.do_sample:
            places = torch.multinomial(scores.softmax(-1), self.candidates)
            best = scores.gather(1, places)
        else:
            best, places = scores.topk(self.candidates)
        parent = places // size  # (batch, candidates)
        return self.running.select(parent, best).extended(places % size, parent + self.offset)

    def _finish(self, found: Beams, stops: Tensor) -> None:
        """Take the candidates that end, if they are among the first `beams` and better than what is finished."""
        ends = stops.clone()
        ends[:, self.beams :] = False
        length = found.tokens.shape[-1] - self.start
        scores = found.scores / length**self.settings.length_penalty
        if self.settings.early_stopping is True:
            scores = scores + self.done.all(1, keepdim=True) * NEVER
        found = Beams(found.tokens, scores + ~self.hopeful * NEVER + ~ends * NEVER, found.parents)
        merged = self.finished.extended(self.fill, -1).with_others(found)
        best, chosen = merged.scores.topk(self.beams)
        self.finished = merged.select(chosen, best)
        self.done = torch.cat([self.done, ends], 1).gather(1, chosen)

    def _look_ahead(self) -> None:
        """Whether the best running beam, at the length that favours it, beats the worst finished one."""
        settings, length = self.settings, self.running.tokens.shape[-1]
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            length = settings.max_length
        best = self.running.scores[:, :1] / (length - self.start) ** settings.length_penalty
        worst = torch.where(self.done, self.finished.scores.amin(1, keepdim=True), NEVER)
        self.hopeful = self.hopeful & (best > worst).any(-1, keepdim=True)

    def results(self) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, scores and parents of the best texts, flat and cut to the longest of them."""
        count = self.settings.num_return_sequences
        tokens, scores, parents = (
            x[:, :count].flatten(0, 1) for x in (self.finished.tokens, self.finished.scores, self.finished.parents)
        )
        made = int((parents >= 0).sum(1).max())
        return tokens[:, : self.start + made], scores, parents[:, :made]


def beam_search(run: Run, input_ids: Tensor) -> Any:
    """The best texts; (batch * num_return_sequences, seq), or an output with more where it is asked for."""
    settings = run.settings
    search, record = Search(run, input_ids), Record(settings, run.encoder_outputs)
    out, made = run.prefill(input_ids), 0
    while True:
        logits = out.logits[:, -1].to(input_ids.device, torch.float32, copy=True)  # (batch * beams, vocabulary)
        scores = run.processors(search.flat, logits.log_softmax(-1))
        record.add(scores, logits, out)
        del out  # the first pass may have scores of the whole prompt
        goes_on = search.advance(scores, record.scores)
        made += 1
        if not goes_on:
            break
        _reorder(run, search.running.parents[..., -1].flatten())
        out = run.step(search.flat, made)
    tokens, scores, parents = search.results()
    if not settings.return_dict_in_generate:
        return tokens
    kept = scores if settings.output_scores else None
    return record.output(tokens, run.cache, sequences_scores=kept, beam_indices=parents)


def _reorder(run: Run, rows: Tensor) -> None:
    """Let row i of the cache be what row `rows[i]` was."""
    own = getattr(run.model, "_reorder_cache", None)
    if run.cache is None:
        return
    if own is not None:
        run.inputs.kwargs["past_key_values"] = own(run.cache, rows)
    elif run.model.config.is_encoder_decoder and isinstance(run.cache, EncoderDecoderCache):
        # What the encoder gave is the same for all beams of a text.
        run.cache.self_attention_cache.reorder_cache(rows)
    else:
        run.cache.reorder_cache(rows)
