"""Cache layers that keep their content elsewhere, or in fewer bits, than attention reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autoload.layers.cache_layers import CacheLayer

FLOAT8 = torch.float8_e4m3fn


class OffloadedLayer:
    """A layer whose content lies in the CPU's memory; it visits the device of its queries for their attention only."""

    is_compileable = False

    def __init__(self, inner: Any):
        self.inner = inner

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (batch, heads, new, dim) and give everything back, on the device that it came from."""
        device = keys.device
        held = self.inner.update(keys.to("cpu"), values.to("cpu"))
        return held[0].to(device), held[1].to(device)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not there yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.inner, name)


class QuantizedLayer(CacheLayer):
    """Holds all but the newest tokens in few bits; every pass reads them back.

    Args:
        pack: gives the stored form of keys or values (batch, heads, seq, dim).
        unpack: gives them back.
        residual_length: newest tokens that are kept as they are.
    """

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor], residual_length: int = 128):
        super().__init__()
        self.pack, self.unpack, self.residual_length = pack, unpack, residual_length
        self.packed: tuple[Any, Any] | None = None
        self.packed_length = 0
        self.order: Tensor | None = None  # rows of the packed content, where the batch was reordered since

    @property
    def keys(self) -> Tensor | None:
        return self._all(0)

    @property
    def values(self) -> Tensor | None:
        return self._all(1)

    @property
    def is_initialized(self) -> bool:
        return self.packed is not None

    def _all(self, which: int) -> Tensor | None:
        if self.packed is None:
            return None
        old, new = self._unpacked(which), (self._keys, self._values)[which]
        return old if new is None else torch.cat([old, new[:, :, : self.length]], 2)

    def _unpacked(self, which: int) -> Tensor:
        x = self.unpack(self.packed[which])  # type: ignore[index]
        return x if self.order is None else x.index_select(0, self.order)

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self.packed is None:
            self._pack(keys, values)
            return keys, values
        super().update(keys, values)
        whole = self.keys, self.values
        if self.length >= self.residual_length:
            self._pack(*whole)  # type: ignore[arg-type]
            self._keys = self._values = None
            self.length = 0
        return whole  # type: ignore[return-value]

    def _pack(self, keys: Tensor, values: Tensor) -> None:
        self.packed = self.pack(keys.contiguous()), self.pack(values.contiguous())
        self.packed_length, self.order = keys.shape[2], None

    def get_seq_length(self) -> int:
        return self.packed_length + self.length

    def get_mask_sizes(self, query_length: int) -> tuple[Any, Any]:
        return self.get_seq_length() + query_length, 0

    def remove(self, count: int) -> None:
        if count > self.length:  # into the packed part
            left = max(0, self.get_seq_length() - count)
            keys, values = self.keys, self.values
            self._keys = self._values = None
            self.length = 0
            if keys is not None and values is not None:
                self._pack(keys[:, :, :left], values[:, :, :left])
        else:
            super().remove(count)

    def reset(self) -> None:
        super().reset()
        self.packed, self.packed_length, self.order = None, 0, None

    def map_batch(self, fn: Callable[[Tensor], Tensor]) -> None:
        super().map_batch(fn)
        if self.packed is not None:
            old = self.order
            if old is None:
                old = torch.arange(self.unpack(self.packed[0]).shape[0], device=self.unpack(self.packed[0]).device)
            self.order = fn(old)


def float8_layer() -> QuantizedLayer:
    """Keys and values as 8-bit floating-point numbers with one scale; needs nothing but torch."""

    def pack(x: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
        scale = (x.abs().amax().float() / torch.finfo(FLOAT8).max).clamp(min=torch.finfo(torch.float32).tiny)
        return (x.float() / scale).to(FLOAT8), scale, x.dtype

    return QuantizedLayer(pack, lambda packed: (packed[0].float() * packed[1]).to(packed[2]), residual_length=1)


def quanto_layer(
    nbits: int = 4, axis_key: int = 0, axis_value: int = 0, q_group_size: int = 64, residual_length: int = 128
) -> QuantizedLayer:
    """Groups of 2- or 4-bit integers, by the package optimum-quanto.

    Args:
        nbits: 2 or 4.
        axis_key, axis_value: 0 or -1, along which groups are formed; both alike.
        q_group_size: numbers that share a scale.
        residual_length: newest tokens that are kept as they are.

    Raises:
        ImportError: the package is not installed.
        ArgumentError: bits or axes that it does not have.
    """
    from autoload.errors import ArgumentError

    if nbits not in (2, 4) or axis_key not in (0, -1) or axis_value != axis_key:
        text = f"cache_config: nbits {nbits}, axis_key {axis_key}, axis_value {axis_value}; expected 2 or 4 bits,"
        raise ArgumentError(f"{text} and 0 or -1 for both axes.", name="cache_config")
    try:
        from optimum.quanto import MaxOptimizer, qint2, qint4, quantize_weight  # type: ignore[import-not-found]
    except ImportError as e:
        raise ImportError("a quantized cache by quanto needs the package: pip install optimum-quanto") from e
    kind, find = (qint4 if nbits == 4 else qint2), MaxOptimizer()

    def pack(x: Tensor) -> Any:
        scale, shift = find(x, kind, axis_key, q_group_size)
        return quantize_weight(x, kind, axis_key, scale, shift, q_group_size)

    return QuantizedLayer(pack, lambda packed: packed.dequantize(), residual_length)


BACKENDS: dict[str, Callable[..., QuantizedLayer]] = {"fp8": float8_layer, "quanto": quanto_layer}
