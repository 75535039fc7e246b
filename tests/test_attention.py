"""Attention of one query, which takes a shorter way, equals the plain computation."""

from __future__ import annotations

import pytest
import torch

from autoload.layers.attention import Context, Mask, attend


def masks(batch: int, heads: int, keys: int) -> dict[str, Mask | None]:
    """The kinds of masks a decoding step may bring."""
    seen = torch.arange(keys)[None] >= torch.arange(batch)[:, None]  # left padding
    bias = torch.linspace(-2, 0, heads * keys).reshape(1, heads, 1, keys)
    return {
        "none": None,
        "padding": Mask(seen[:, None, None]),
        "bias per head": Mask(bias),
        "both": Mask(bias.masked_fill(~seen[:, None, None], -1e9)),
    }


@pytest.mark.parametrize("kind", masks(1, 1, 1))
@pytest.mark.parametrize("kv_heads", [6, 2, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_query(dtype: torch.dtype, kv_heads: int, kind: str) -> None:
    torch.manual_seed(0)
    batch, heads, keys, dim, width = 3, 6, 19, 8, 5
    q = torch.randn(batch, heads, 1, dim).to(dtype)
    k, v = torch.randn(batch, kv_heads, keys, dim).to(dtype), torch.randn(batch, kv_heads, keys, width).to(dtype)
    mask = masks(batch, heads, keys)[kind]
    exact = attend(q.float(), k.float(), v.float(), mask, Context(kernel="eager"), scale=0.3)
    found = attend(q, k, v, mask, Context(), scale=0.3)
    assert found.dtype == dtype and found.shape == (batch, 1, heads * width)
    rounding = 1e-6 if dtype == torch.float32 else torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), exact, rtol=rounding, atol=rounding)
