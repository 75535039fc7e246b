"""What the Byte Latent Transformer remembers of earlier bytes: of four stacks, and the patch that has not ended yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError, GenerationError
from autoload.layers.attention import Mask, causal_triangle
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.models.blt_patches import patch_ends


@dataclass
class Ended:
    """The patches that end within the bytes of a call; `count` is the largest number of a row, others have fewer."""

    count: int
    states: Tensor  # (batch, bytes, dim) of the encoder, also those of earlier calls that these patches hold
    numbers: Tensor  # (batch, bytes), the patch of each among these; `count` for another one
    positions: Tensor  # (batch, count) among all patches of the text
    mask: Mask  # of the global transformer
    looks: (
        Tensor  # (batch, seq), the patch that each new byte looks at: 0 the last of earlier calls, 1 the first of these
    )


class PatchCache(EncoderDecoderCache):
    """Caches of the local encoder and the local decoder, of the patcher and of the global transformer.

    The global one has one place for each patch of the row in which most have ended; `rows` says which are filled, and
    holds what else there is one of for each text of the batch.
    """

    is_croppable = False  # type: ignore[assignment]

    def __init__(self, encoder: Any = None, decoder: Any = None):
        super().__init__(encoder, decoder)
        self.patcher_cache, self.global_cache = DynamicCache(), DynamicCache()
        self.rows: dict[str, Tensor] = {}

    @classmethod
    def of(cls, cache: Any) -> PatchCache:
        """A given cache, or a new one around an empty one.

        Raises:
            ArgumentError: it has a fixed size, or comes from another model.
        """
        if isinstance(cache, cls):
            return cache
        if getattr(cache, "is_compileable", False):
            raise ArgumentError("forward: blt takes a cache that grows, not one of fixed size.", name="past_key_values")
        if cache is not None and cache.get_seq_length():
            text = f"forward: past_key_values is a {type(cache).__name__} with content, expected what blt gave, or an empty one."
            raise ArgumentError(text, name="past_key_values")
        return cls(getattr(cache, "self_attention_cache", cache))

    @property
    def patches(self) -> Tensor:
        """The last patch of earlier calls, and those that ended in this one; (batch, 1 + count, dim)."""
        return self.rows["patches"]

    def with_group(self, input_ids: Tensor, size: int) -> Tensor:
        """New bytes behind those before them that form groups with them; these are kept for the next ones."""
        ids = torch.cat([self.rows["bytes"], input_ids], 1) if "bytes" in self.rows else input_ids
        self.rows["bytes"] = ids[:, max(0, ids.shape[1] - size + 1) :].clone()
        return ids

    def cut(self, x: Tensor, doubt: Tensor, longest: int | None) -> Ended:
        """The patches that end within new bytes.

        Args:
            x: (batch, seq, dim), states of the local encoder.
            doubt: (batch, seq), whether the patcher lets a patch begin after each byte.
            longest: number of bytes after which a patch ends anyway.
        """
        rows, batch = self.rows, x.shape[0]
        if "done" not in rows:
            doubt = doubt.clone()
            doubt[:, 0] = True  # the first byte is a patch
            zero = torch.zeros(batch, dtype=torch.long, device=x.device)
            empty = dict(states=x[:, :0], numbers=zero[:, None][:, :0], filled=doubt[:, :0])
            rows |= empty | dict(done=zero, since=zero)
        ends, rows["since"] = patch_ends(doubt, rows["since"], longest)
        looks = ends.cumsum(-1)  # (batch, seq)
        done, new = rows["done"], looks[:, -1]  # (batch,), numbers of patches
        rows["numbers"] = torch.cat([rows["numbers"], done[:, None] + looks - ends.long()], 1)
        rows["states"] = torch.cat([rows["states"], x], 1)
        rows["done"], count = done + new, int(new.max())
        slots = torch.arange(count, device=x.device)
        rows["filled"] = torch.cat([rows["filled"], slots < new[:, None]], 1)
        among = rows["numbers"] - done[:, None]
        among = among.where((among >= 0) & (among < count), count)
        before = causal_triangle(count, rows["filled"].shape[1], x.device)
        mask = Mask(before & rows["filled"][:, None, None])
        return Ended(count, rows["states"], among, done[:, None] + slots, mask, looks)

    def keep(self, patches: Tensor) -> None:
        """Take what the global transformer made of the patches; (batch, count, dim)."""
        known = self.rows.get("patches", torch.zeros_like(patches[:, :1]))
        self.rows["patches"] = torch.cat([known, patches], 1)

    def forget(self) -> None:
        """Drop what no later byte asks for: bytes of patches that have ended, and patches but the last."""
        rows = self.rows
        done, filled = rows["done"], rows["filled"]
        count = rows["patches"].shape[1] - 1
        new = filled[:, filled.shape[1] - count :].sum(-1)  # (batch,)
        rows["patches"] = rows["patches"].take_along_dim(new[:, None, None], 1)
        over = int((rows["numbers"] < done[:, None]).sum(-1).min())
        for name in ("states", "numbers"):
            rows[name] = rows[name][:, over:].clone()

    def crop(self, max_length: int) -> None:
        raise GenerationError(
            "crop: patches that have ended do not open again; make a new cache.", field="past_key_values"
        )

    def reset(self) -> None:
        super().reset()
        self.patcher_cache.reset()
        self.global_cache.reset()
        self.rows = {}

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        for cache in (self.patcher_cache, self.global_cache):
            cache.batch_select_indices(indices)
        self.rows = {name: x.index_select(0, indices.to(x.device)) for name, x in self.rows.items()}

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        for cache in (self.patcher_cache, self.global_cache):
            cache.batch_repeat_interleave(repeats)
        self.rows = {name: x.repeat_interleave(repeats, 0) for name, x in self.rows.items()}
