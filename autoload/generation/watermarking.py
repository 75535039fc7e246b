"""Processors that hide a signature in sampled text; the settings stand in `watermarks.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.generation.processors import LogitsProcessor

TABLE_SIZE = 1_000_003  # of the pseudo-random permutation; part of the published scheme
MULTIPLIER, INCREMENT = 6364136223846793005, 1  # of the linear congruential hash, likewise


class WatermarkLogitsProcessor(LogitsProcessor):
    """Adds a bias to a "green" part of the vocabulary that follows from the preceding tokens (arXiv:2306.04634).

    Args:
        vocab_size: of the model.
        device: of the tokens.
        greenlist_ratio: size of the green part.
        bias: that its tokens get.
        hashing_key: secret of the signature.
        seeding_scheme: "lefthash" looks at the last token, "selfhash" also at the candidate.
        context_width: tokens that "selfhash" looks at.
    """

    tried = 40  # candidates that "selfhash" looks at

    def __init__(
        self,
        vocab_size: int,
        device: Any,
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ):
        self.vocab_size, self.bias, self.hash_key = vocab_size, bias, hashing_key
        self.green = int(vocab_size * greenlist_ratio)
        self.seeding_scheme, self.context_width = seeding_scheme, context_width
        self.random = torch.Generator(device=device).manual_seed(hashing_key)
        self.table = torch.randperm(TABLE_SIZE, generator=self.random, device=device)

    def greenlist(self, tokens: Tensor) -> Tensor:
        """The green tokens after `tokens` (seq,)."""
        tokens = tokens[-self.context_width :]
        if self.seeding_scheme == "selfhash":
            hashed = self.table[tokens % TABLE_SIZE] + 1
            seed = int((self.hash_key * hashed * hashed[-1]).min())
        else:
            seed = self.hash_key * int(tokens[-1])
        self.random.manual_seed(seed % (2**64 - 1))
        return torch.randperm(self.vocab_size, generator=self.random, device=tokens.device)[: self.green]

    def _own_green(self, tokens: Tensor, scores: Tensor) -> Tensor:
        """The likeliest tokens that are green in the list that they make themselves."""
        likely = scores.argsort(descending=True)[: self.tried]
        mine = [bool((self.greenlist(torch.cat([tokens, t[None]])) == t).any()) for t in likely]
        return likely[torch.tensor(mine, device=likely.device)]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] < self.context_width:
            return scores
        scores = scores.clone()
        for tokens, row in zip(input_ids, scores, strict=True):
            green = self._own_green(tokens, row) if self.seeding_scheme == "selfhash" else self.greenlist(tokens)
            row[green] += self.bias
        return scores


class SynthIDTextWatermarkLogitsProcessor(LogitsProcessor):
    """Tilts probabilities, depth by depth, by keyed bits of the context and each candidate token.

    Args:
        ngram_len: tokens of a context and its candidate.
        keys: one for each depth.
        sampling_table_size: entries of the table of random bits.
        sampling_table_seed: of that table.
        context_history_size: contexts that are remembered; a repeated one is left alone.
        device: of the tokens.
        skip_first_ngram_calls: leave the first tokens alone, until a context is full.
        debug_mode: take uniform scores.
    """

    def __init__(
        self,
        ngram_len: int,
        keys: list[int],
        sampling_table_size: int,
        sampling_table_seed: int,
        context_history_size: int,
        device: Any,
        skip_first_ngram_calls: bool = False,
        debug_mode: bool = False,
    ):
        self.ngram_len, self.keys = ngram_len, torch.tensor(keys, device=device)
        random = torch.Generator(device=device).manual_seed(sampling_table_seed)
        self.table = torch.randint(0, 2, (sampling_table_size,), generator=random, device=device)
        self.history_size = context_history_size
        self.skips, self.uniform = skip_first_ngram_calls, debug_mode
        self.context: Tensor | None = None  # (batch, ngram_len - 1)
        self.history: Tensor | None = None  # (batch, history_size), hashes of contexts
        self.calls = 0

    @staticmethod
    def hashed(start: Tensor, data: Tensor) -> Tensor:
        """The hash `start` after the entries of `data` (..., any), one after the other."""
        for column in data.unbind(-1):
            start = (start + column) * MULTIPLIER + INCREMENT
        return start

    def bits(self, context: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
        """Bits of each candidate, (batch, vocabulary, depth), and the hash of the context, (batch,)."""
        one = torch.ones(context.shape[0], dtype=torch.int64, device=context.device)
        base = self.hashed(one, context)  # (batch,)
        tokens = torch.arange(vocabulary, device=context.device)
        ngram = self.hashed(base[:, None], tokens[None, :, None])  # (batch, vocabulary)
        keyed = self.hashed(ngram[..., None], self.keys[:, None])  # (batch, vocabulary, depth)
        return self.table[keyed % len(self.table)], base

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        batch, size = scores.shape
        if self.uniform:
            scores = torch.ones_like(scores)
        if self.context is None or self.history is None:
            self.context = input_ids.new_zeros(batch, self.ngram_len - 1)
            self.history = input_ids.new_zeros(batch, self.history_size)
        else:
            self.context = torch.cat([self.context, input_ids[:, -1:]], 1)[:, 1:]
        self.calls += 1
        if self.skips and self.calls < self.ngram_len:
            return scores
        bits, seen = self.bits(self.context, size)
        repeated = (self.history == seen[:, None]).any(1, keepdim=True)
        self.history = torch.cat([seen[:, None], self.history], 1)[:, :-1]
        return torch.where(repeated, scores, self.tilted(scores, bits))

    @staticmethod
    def tilted(scores: Tensor, bits: Tensor) -> Tensor:
        """Logarithms of the probabilities after the tournament."""
        probs = scores.softmax(1)
        for bit in bits.unbind(-1):
            probs = probs * (1 + bit - (bit * probs).sum(1, keepdim=True))
        logs = probs.log()
        return torch.where(logs.isfinite(), logs, torch.finfo(logs.dtype).min)
