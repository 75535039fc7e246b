"""Transcription by a transducer: a walk over the frames of a sound, each step of which writes a token or a blank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from autoload.generation.checks import refused
from autoload.generation.configuration import GenerationMode
from autoload.generation.prepare import special_tokens


class Patience:
    """On by one frame at a blank, or after a number of tokens at one frame."""

    def __init__(self, blank: int, most: int):
        self.blank, self.most = blank, most
        self.count: Tensor | None = None  # of tokens at this frame, (batch,)

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Frames to go on by, (batch,), and the scores of tokens, (batch, vocabulary)."""
        blank = logits.argmax(-1) == self.blank
        count = torch.ones_like(blank, dtype=torch.int64) if self.count is None else self.count + 1
        onward = blank | (count >= self.most)
        self.count = count.masked_fill(onward, 0)
        return onward.long(), logits


class Durations:
    """On by the likeliest duration; at a blank by one frame at least.

    Args:
        blank: number of the blank.
        vocabulary: how many scores are those of tokens; those of durations follow.
        durations: numbers of frames.
    """

    def __init__(self, blank: int, vocabulary: int, durations: Tensor):
        self.blank, self.vocabulary, self.durations = blank, vocabulary, durations

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """As of `Patience`. No duration is ever taken for a token."""
        tokens, spans = logits[:, : self.vocabulary], logits[:, self.vocabulary :]
        onward = self.durations[spans.argmax(-1)]
        blank = tokens.argmax(-1) == self.blank
        scores = torch.cat([tokens, torch.full_like(spans, -torch.inf)], -1)
        return torch.where(blank, onward.clamp(min=1), onward), scores


@dataclass
class Frames:
    """What the encoder has made of a sound so far.

    `vectors` are (batch, frames, dim), `lengths` (batch,) say how many are real; a stream has `more` of them.
    """

    vectors: Tensor
    lengths: Tensor
    more: Iterator[Tensor] | None = None

    def at(self, places: Tensor) -> Tensor:
        """One vector of each row, (batch, 1, dim); the last one beyond the end."""
        rows = torch.arange(len(places), device=self.vectors.device)
        return self.vectors[rows, places.clamp(max=self.vectors.shape[1] - 1)][:, None]

    def passed(self, places: Tensor) -> Tensor:
        """Which rows are past their last frame, (batch,); when all are, a stream is read on."""
        done = places >= self.lengths
        if self.more is None or not bool(done.all()):
            return done
        if (vectors := next(self.more, None)) is None:
            self.more = None
            return done
        self.vectors = torch.cat([self.vectors, vectors], 1)
        self.lengths = self.lengths + vectors.shape[1]
        return places >= self.lengths


@dataclass
class Transcription:
    """The decoding loop of `generate`; `durations` holds the frames that each step went on by.

    `score` gives the scores after one token and one frame, (batch, vocabulary), and keeps what it has to remember.
    """

    frames: Callable[..., Frames]
    score: Callable[[Tensor, Tensor], Tensor]
    rule: Callable[[Tensor], tuple[Tensor, Tensor]]
    streamer: Any = None
    steps: list[Tensor] = field(default_factory=list)

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **inputs: Any,
    ) -> Tensor:
        """Tokens and blanks, (batch, steps)."""
        if generation_config.get_generation_mode() is not GenerationMode.GREEDY_SEARCH:
            text = "neither sampling nor beams: a transducer takes the likeliest step"
            raise refused("do_sample, num_beams", generation_config.get_generation_mode().value, text, "generate")
        frames = self.frames(**inputs)
        places = torch.zeros(len(input_ids), dtype=torch.int64, device=frames.vectors.device)
        running, tokens = torch.ones_like(places, dtype=torch.bool), input_ids[:, -1]
        ends = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        pad = special_tokens(generation_config, True, input_ids.device)[1]
        while True:
            onward, scores = self.rule(self.score(tokens, frames.at(places)))
            places = places + onward
            self.steps.append(onward)
            if logits_processor:
                scores = logits_processor(input_ids, scores.to(torch.float32, copy=True))
            tokens = scores.argmax(-1)
            if ends:
                tokens = torch.where(running, tokens, pad)  # type: ignore[arg-type]
            input_ids = torch.cat([input_ids, tokens[:, None]], -1)
            if self.streamer is not None:
                self.streamer.put(tokens.cpu())
            running = running & ~frames.passed(places)
            done = stopping_criteria.check(input_ids, None)
            if done is True:
                break
            running = running if done is False else running & ~done
            if not bool(running.any()):
                break
        if self.streamer is not None:
            self.streamer.end()
        return input_ids

    @property
    def durations(self) -> Tensor:
        """(batch, steps), with a zero for the token before the first step."""
        steps = torch.stack(self.steps, 1)
        return torch.cat([torch.zeros_like(steps[:, :1]), steps], 1)
