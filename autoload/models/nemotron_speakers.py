"""What Nemotron's diarization remembers of a recording: the best frames of each speaker, and the last ones heard."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WEAK = math.log(2.0)  # what a speaker's better frames gain; the best gain twice that more


class SpeakerCache:
    """Frames that every piece of a recording looks back at.

    New frames wait in a queue; when that is full the oldest join the cache, and when that is full, the frames in which
    each speaker is heard best are kept (Medennikov et al. 2025, arXiv:2507.18446).

    Args:
        config: the settings of a stream.
        fifo_length: how long the queue is, where it is not the stream's.
        speaker_cache_update_period: how many frames at least leave the queue, in the same way.
    """

    def __init__(self, config: Any, fifo_length: int | None = None, speaker_cache_update_period: int | None = None):
        self.fifo_length = config.fifo_length if fifo_length is None else fifo_length
        period = (
            config.speaker_cache_update_period if speaker_cache_update_period is None else speaker_cache_update_period
        )
        self.speaker_cache_update_period = period
        self.config = config
        self.is_compressed = False  # the cache has the frames of one speaker after those of another
        self.embeds: Tensor | None = None  # (batch, frames, dim)
        self.probs: Tensor | None = None  # (batch, frames, speakers)
        self.fifo: Tensor | None = None  # (batch, frames, dim)

    @property
    def is_initialized(self) -> bool:
        return self.embeds is not None

    @property
    def num_cache_frames(self) -> int:
        return 0 if self.embeds is None else self.embeds.shape[1]

    @property
    def num_fifo_frames(self) -> int:
        return 0 if self.fifo is None else self.fifo.shape[1]

    def get_embeds(self, chunk_embeds: Tensor) -> Tensor:
        """What a piece, (batch, frames, dim), looks back at; (batch, cached frames, dim)."""
        if self.embeds is None or self.fifo is None:
            self.embeds = self.fifo = chunk_embeds[:, :0]
            self.probs = chunk_embeds.new_zeros(len(chunk_embeds), 0, self.config.num_speakers)
        return torch.cat([self.embeds, self.fifo], 1)

    def update(
        self,
        chunk_input_embeds: Tensor,
        chunk_logits: Tensor,
        silence_embeds: Tensor,
        num_chunk_frames: int,
        mask: Tensor | None = None,
        num_lookback_frames: int = 0,
    ) -> None:
        """Take the frames of a piece.

        Args:
            chunk_input_embeds: (batch, frames, dim), what was read: cached frames, those looked back at, the piece, and
                what it looks ahead to.
            chunk_logits: (batch, frames * subsampling_factor, speakers), of all these.
            silence_embeds: (dim,), what stands for silence.
            num_chunk_frames: of the piece itself.
            mask: (batch, frames), False at padding.
            num_lookback_frames: frames of the piece before that were read again.
        """
        self.get_embeds(chunk_input_embeds)
        assert self.embeds is not None and self.probs is not None and self.fifo is not None
        cached, waiting, factor = self.num_cache_frames, self.num_fifo_frames, self.config.subsampling_factor
        heard = F.avg_pool1d(chunk_logits.sigmoid().transpose(1, 2), factor, factor).transpose(1, 2)
        heard = heard if mask is None else heard * mask.to(heard.dtype)[..., None]
        heard = heard.to(self.probs.dtype)  # (batch, frames, speakers)
        begin = cached + waiting + num_lookback_frames
        piece = slice(begin, begin + num_chunk_frames)
        queue = torch.cat([self.fifo, chunk_input_embeds[:, piece]], 1)
        leaving = self.leaving(queue.shape[1])
        self.fifo = queue[:, leaving:]
        if not leaving:
            return
        of_queue = torch.cat([heard[:, cached : cached + waiting], heard[:, piece]], 1)
        # Frames that stand as they were heard are judged anew; once they do not, what was found then has to do.
        known = self.probs if self.is_compressed else heard[:, :cached]
        self.embeds = torch.cat([self.embeds, queue[:, :leaving]], 1)
        self.probs = torch.cat([known, of_queue[:, :leaving]], 1)
        if self.num_cache_frames > self.config.speaker_cache_length:
            self.embeds, self.probs = self.compressed(self.embeds, self.probs, silence_embeds)
            self.is_compressed = True

    def leaving(self, waiting: int) -> int:
        """How many frames of the queue go into the cache."""
        if waiting <= self.fifo_length:
            return 0
        return min(max(self.speaker_cache_update_period, waiting - self.fifo_length), waiting)

    def compressed(self, embeds: Tensor, probs: Tensor, silence_embeds: Tensor) -> tuple[Tensor, Tensor]:
        """The best frames, those of one speaker after those of another, with some silence for each."""
        config, (batch, count, _) = self.config, probs.shape
        length, silences = config.speaker_cache_length, config.speaker_cache_silence_frames_per_speaker
        share = length // config.num_speakers - silences  # of a speaker
        scores = self.scores(probs, math.floor(share * config.min_positive_scores_rate))
        scores[:, length:] += config.latest_frames_score_boost
        for rate, gain in ((config.strong_boost_rate, 2 * WEAK), (config.weak_boost_rate, WEAK)):
            best = scores.topk(math.floor(share * rate), 1, sorted=False).indices
            scores = scores.scatter_add(1, best, torch.full_like(best, gain, dtype=scores.dtype))
        scores = F.pad(scores, (0, 0, 0, silences), value=torch.inf)
        by_speaker = scores.transpose(1, 2).flatten(1)  # (batch, speakers * frames)
        found, places = by_speaker.topk(length, 1, sorted=False)
        places = places.masked_fill(found == -torch.inf, by_speaker.shape[1]).sort(1).values
        frames = (places % (count + silences)).clamp(max=count)
        frames = frames.masked_fill(places == by_speaker.shape[1], count)[..., None]  # what is left over is silence
        silence = silence_embeds.to(embeds).expand(batch, 1, -1)
        embeds, probs = torch.cat([embeds, silence], 1), F.pad(probs, (0, 0, 0, 1))
        return embeds.take_along_dim(frames, 1), probs.take_along_dim(frames, 1)

    def scores(self, probs: Tensor, enough: int) -> Tensor:
        """How well a speaker is heard in a frame, and no other, (batch, frames, speakers); -inf where he is silent.

        Frames in which others are heard too do not count for a speaker with `enough` of his own.
        """
        least = self.config.prediction_score_threshold
        speaks, silent = probs.clamp(min=least).log(), (1 - probs).clamp(min=least).log()
        scores = speaks - silent + silent.sum(-1, keepdim=True) + math.log(2.0)
        heard, alone = probs > 0.5, scores > 0
        scores = scores.masked_fill(~heard, -torch.inf)
        plenty = (alone & heard).sum(1, keepdim=True) >= enough
        return scores.masked_fill(~alone & heard & plenty, -torch.inf)
