"""Processors of a transcription's scores: the order of time stamps, and whether there is speech at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autoload.generation.processors import LogitsProcessor


class WhisperTimeStampLogitsProcessor(LogitsProcessor):
    """Time stamps come in pairs but for the ends, never go back, and are taken where together they outweigh any word.

    Args:
        generate_config: settings with `no_timestamps_token_id`, after which the stamps follow in the vocabulary.
        begin_index: number of tokens before the transcription.
    """

    def __init__(self, generate_config: Any, begin_index: int, _detect_timestamp_from_logprob: bool | None = None):
        self.no_timestamps_token_id = generate_config.no_timestamps_token_id
        self.timestamp_begin = self.no_timestamps_token_id + 1
        eos = generate_config.eos_token_id or generate_config.bos_token_id
        self.eos_token_id = eos[0] if isinstance(eos, (list, tuple)) else eos
        weighs = _detect_timestamp_from_logprob
        if weighs is None:
            weighs = getattr(generate_config, "_detect_timestamp_from_logprob", True)
        self.weighs = weighs
        self.max_initial_timestamp_index = getattr(generate_config, "max_initial_timestamp_index", None)
        self.begin_index = begin_index

    def set_begin_index(self, begin_index: int) -> None:
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        first = self.timestamp_begin
        scores = scores.clone()
        scores[:, self.no_timestamps_token_id] = -torch.inf
        for row, tokens in zip(scores, input_ids[:, self.begin_index :].tolist(), strict=True):
            self._order(row, tokens)
        if input_ids.shape[1] == self.begin_index:
            scores[:, :first] = -torch.inf
            if self.max_initial_timestamp_index is not None:
                scores[:, first + self.max_initial_timestamp_index + 1 :] = -torch.inf
        if self.weighs:
            logs = scores.float().log_softmax(-1)
            stamped = logs[:, first:].logsumexp(-1) > logs[:, :first].max(-1).values  # (batch,)
            scores[:, :first].masked_fill_(stamped[:, None], -torch.inf)
        return scores

    def _order(self, row: Tensor, tokens: list[int]) -> None:
        """Forbid in `row`, (vocabulary,), what may not follow `tokens`."""
        first = self.timestamp_begin
        after_stamp = bool(tokens) and tokens[-1] >= first
        after_pair = len(tokens) < 2 or tokens[-2] >= first
        if after_stamp and after_pair:
            row[first:] = -torch.inf  # words
        elif after_stamp:
            row[: self.eos_token_id] = -torch.inf  # the second stamp of the pair, or the end
        stamps = [token for token in tokens if token >= first]
        if stamps:
            row[first : stamps[-1] + (0 if after_stamp and not after_pair else 1)] = -torch.inf


class WhisperNoSpeechDetection(LogitsProcessor):
    """Remembers how probable it was, before the first word, that nobody speaks.

    Args:
        no_speech_token: whose probability that is.
        begin_index: number of tokens before the transcription; the first of them asks for speech.
        scores_is_logprobs: scores are logarithms of probabilities, as those of beams.
    """

    def __init__(self, no_speech_token: int, begin_index: int, scores_is_logprobs: bool = False):
        self.no_speech_token, self.offset, self.begin_index = no_speech_token, begin_index, begin_index
        self.scores_is_logprobs = scores_is_logprobs
        self.no_speech_prob: Any = [0.0]
        self.score: Callable[[], Tensor] | None = None  # gives the scores of the whole beginning

    def set_begin_index(self, begin_index: int) -> None:
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] != self.begin_index:
            return scores
        if self.offset > 1 and self.score is not None:
            probabilities = self.score()[:, self.begin_index - self.offset].float().softmax(-1)
        else:
            probabilities = scores.exp() if self.scores_is_logprobs else scores.float().softmax(-1)
        self.no_speech_prob = probabilities[:, self.no_speech_token]
        return scores
