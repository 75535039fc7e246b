"""Normal noise as PyTorch draws it, so that what was trained with a fixed seed hears the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # numbers that are drawn together


def torch_normal(count: int, seed: int) -> NDArray[Any]:
    """What `torch.randn(count)` gives on the processor after seeding its generator: (count,) in float32.

    Args:
        count: at least 16; fewer are drawn in another way there.
        seed: a whole number, of which 32 bits count.
    """
    bits = np.random.MT19937()
    bits._legacy_seeding(seed & 0xFFFFFFFF)  # type: ignore[attr-defined]
    whole = count - count % BLOCK
    out = _normal(_uniform(bits, count)[:whole])
    if whole == count:
        return out
    last = _normal(_uniform(bits, BLOCK))  # which overlap those before
    return np.concatenate([out[: count - BLOCK], last])


def _uniform(bits: np.random.MT19937, count: int) -> NDArray[Any]:
    low = bits.random_raw(count).astype(np.uint32) & np.uint32(0xFFFFFF)
    return low.view(np.int32).astype(np.float32) * np.float32(2.0**-24)


def _normal(uniform: NDArray[Any]) -> NDArray[Any]:
    """Box and Muller's transform of blocks: the first half gives the radii, the second the angles."""
    radius, turn = uniform.reshape(-1, 2, BLOCK // 2).transpose(1, 0, 2)
    radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(1.0) - radius))
    angle = np.float32(2.0 * np.pi) * turn
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
