"""Patches of bytes, as the Byte Latent Transformer uses them: where they begin, and who belongs to which."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.layers.attention import Mask

# Bases of the polynomial hashes, one for each function; more functions begin again.
PRIMES = (
    1_000_000_007,
    5_915_587_277,
    1_500_450_271,
    3_267_000_013,
    5_754_853_343,
    4_093_082_899,
    9_576_890_767,
    3_628_273_133,
    2_860_486_313,
    5_463_458_053,
    3_367_900_313,
)


def hash_ids(input_ids: Tensor, size: int, prime: int, rows: int) -> Tensor:
    """Row of each byte and the `size - 1` before it in a table; (batch, seq). Whole numbers overflow, as they must."""
    groups = F.pad(input_ids.long(), (size - 1, 0)).unfold(1, size, 1)  # (batch, seq, size)
    powers = torch.tensor(prime, device=input_ids.device) ** torch.arange(size, device=input_ids.device)
    return (groups * powers).sum(-1) % rows


def patch_lengths_of(entropies: Tensor, threshold: float) -> Tensor:
    """Lengths (batch, patches): the first byte is one, the second begins one, and so does each that was in doubt.

    The last length of a row may be negative, where it has fewer patches than another row.

    Args:
        entropies: (batch, seq), at each byte of what may follow it.
        threshold: above it the byte that follows begins a patch; the first byte's does not count.
    """
    batch, length = entropies.shape
    doubt = entropies[:, 1:] > threshold
    places = torch.arange(2, length + 1, device=entropies.device)
    later = torch.where(doubt, places, length + 1).sort(-1).values[:, : int(doubt.sum(-1).max())]
    first, end = places.new_tensor([0, 1]).expand(batch, 2), places.new_full((batch, 1), length)
    return torch.cat([first, later, end], 1).diff(dim=-1)


def split_patches(lengths: Tensor, longest: int) -> Tensor:
    """Patches of at most `longest` bytes; rows with fewer of them end in zeros."""
    pieces = -(-int(lengths.max()) // longest)
    offsets = torch.arange(pieces, device=lengths.device) * longest
    parts = (lengths[..., None] - offsets).clamp(0, longest).flatten(1)  # (batch, patches * pieces)
    order = (parts == 0).int().sort(dim=-1, stable=True).indices
    return parts.gather(1, order)[:, : int((parts > 0).sum(-1).max())]


def patch_ends(doubt: Tensor, since: Tensor, longest: int | None) -> tuple[Tensor, Tensor]:
    """Whether each byte is the last of its patch (batch, seq), and the new `since`.

    Args:
        doubt: (batch, seq), whether the patcher lets a patch begin after this byte.
        since: (batch,), bytes before these since it last did.
        longest: number of bytes after which a patch ends anyway.
    """
    begins = torch.arange(1, doubt.shape[1] + 1, device=doubt.device).where(doubt, -since[:, None])  # (batch, seq)
    last = torch.cat([-since[:, None], begins], 1).cummax(1).values  # (batch, 1 + seq), where the patch began
    length = torch.arange(1, doubt.shape[1] + 1, device=doubt.device) - last[:, :-1]
    ends = doubt if longest is None else doubt | (length % longest == 0)
    return ends, doubt.shape[1] - last[:, -1]


def patch_ids_of(lengths: Tensor, length: int) -> Tensor:
    """Number of the patch that each byte belongs to; (batch, seq)."""
    starts = F.pad(lengths.cumsum(-1)[:, :-1], (1, 0))  # (batch, patches)
    positions = torch.arange(length, device=lengths.device)
    return (starts[:, None] <= positions[None, :, None]).sum(-1) - 1


def pooled(x: Tensor, patch_ids: Tensor, count: int) -> Tensor:
    """The largest of each patch's values, 0 where a patch is empty; (batch, patches, dim). Bytes of others have `count`."""
    index = patch_ids[..., None].expand_as(x)
    made = x.new_zeros(x.shape[0], count + 1, x.shape[2]).scatter_reduce(1, index, x, "amax", include_self=False)
    return made[:, :count]


def same_patch(queries: Tensor, keys: Tensor, dtype: torch.dtype) -> Mask:
    """Who is of one patch. As numbers that are added: a patch without bytes then looks at all, and nothing is undefined."""
    apart = queries[:, :, None] != keys[:, None, :]
    return Mask(
        torch.zeros(apart.shape, dtype=dtype, device=apart.device).masked_fill(apart, torch.finfo(dtype).min)[:, None]
    )
