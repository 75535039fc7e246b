"""What a decoder remembers between steps: keys and values of each layer, or another state of fixed size.

A cache is a list of layers with one method that attention calls, `update`. Model code asks only for lengths and
updates, so any object with `update`, `get_seq_length` and `get_mask_sizes` works in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

BLOCK = 256  # a growing cache makes room for this many steps at once


class CacheLayer:
    """Keys and values of one layer, growing; nothing is moved per step, room is made in blocks."""

    is_sliding = False
    is_compileable = False

    def __init__(self) -> None:
        self._keys: Tensor | None = None  # (batch, heads, room, dim)
        self._values: Tensor | None = None
        self.length = 0

    @property
    def keys(self) -> Tensor | None:
        return None if self._keys is None else self._keys[:, :, : self.length]  # (batch, heads, length, dim)

    @property
    def values(self) -> Tensor | None:
        return None if self._values is None else self._values[:, :, : self.length]

    @property
    def is_initialized(self) -> bool:
        return self._keys is not None

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (batch, heads, new, dim) and give everything back."""
        if self._keys is None or self._values is None:
            self._keys, self._values, self.length = keys, values, keys.shape[2]
            return keys, values
        end = self.length + keys.shape[2]
        if torch.is_grad_enabled() and (keys.requires_grad or self._keys.requires_grad):  # keep what backward needs
            self._keys = torch.cat([self._keys[:, :, : self.length], keys], 2)
            self._values = torch.cat([self._values[:, :, : self.length], values], 2)
        else:
            if end > self._keys.shape[2]:
                room = (end // BLOCK + 1) * BLOCK
                self._keys, self._values = _grow(self._keys, self.length, room), _grow(self._values, self.length, room)
            self._keys[:, :, self.length : end] = keys
            self._values[:, :, self.length : end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens seen so far."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys attention will see after appending `query_length`, and the position of the first."""
        return self.length + query_length, 0

    def get_max_cache_shape(self) -> int:
        return -1

    def crop(self, max_length: int) -> None:
        """Forget all but the first `max_length` tokens; a negative number forgets that many."""
        keep = max_length if max_length >= 0 else self.length + max_length
        self.length = max(0, min(self.length, keep))

    def reset(self) -> None:
        self._keys = self._values = None
        self.length = 0

    def map_batch(self, fn: Any) -> None:
        """Replace keys and values by `fn` of them, a function over the batch axis."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = fn(self._keys), fn(self._values)


class SlidingCacheLayer(CacheLayer):
    """Keeps what a window of `window` tokens can still see."""

    is_sliding = True

    def __init__(self, window: int):
        super().__init__()
        self.window = window
        self.seen = 0

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += keys.shape[2]
        keys, values = super().update(keys, values)
        drop = self.length - (self.window - 1)
        if drop > 0 and (drop >= BLOCK or self.length <= drop + keys.shape[2]):
            # Views given out stay valid: what remains moves to fresh memory.
            self._keys, self._values = keys[:, :, drop:], values[:, :, drop:]
            self.length -= drop
        return keys, values

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, self.seen - self.length

    def get_max_cache_shape(self) -> int:
        return self.window

    def crop(self, max_length: int) -> None:
        keep = max_length if max_length >= 0 else self.seen + max_length
        drop = self.seen - min(self.seen, max(keep, 0))
        if drop and self.seen > self.length:
            raise ValueError("cannot crop a sliding cache that has already dropped tokens")
        self.length, self.seen = self.length - drop, self.seen - drop

    def reset(self) -> None:
        super().reset()
        self.seen = 0


class StaticCacheLayer(CacheLayer):
    """Room for `max_length` tokens from the start: shapes and addresses never change, as compiled graphs need."""

    is_compileable = True

    def __init__(self, max_length: int):
        super().__init__()
        self.max_length = max_length
        self.position: Tensor | None = None  # tokens seen, on the device, so that a captured graph advances it

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self._keys is None or self._values is None or self.position is None:
            shape = (keys.shape[0], keys.shape[1], self.max_length)
            self._keys = keys.new_zeros(*shape, keys.shape[3])
            self._values = values.new_zeros(*shape, values.shape[3])
            self.position = torch.zeros((), dtype=torch.int64, device=keys.device)
        where = self.position + torch.arange(keys.shape[2], device=keys.device)
        self._keys.index_copy_(2, where, keys)
        self._values.index_copy_(2, where, values)
        self.position.add_(keys.shape[2])
        return self._keys, self._values

    @property
    def keys(self) -> Tensor | None:
        return self._keys

    @property
    def values(self) -> Tensor | None:
        return self._values

    def get_seq_length(self) -> Any:
        return 0 if self.position is None else self.position

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.max_length, 0

    def get_max_cache_shape(self) -> int:
        return self.max_length

    def crop(self, max_length: int) -> None:
        if self.position is not None:
            keep = max_length if max_length >= 0 else self.position + max_length
            self.position.clamp_(max=keep)

    def reset(self) -> None:
        if self._keys is not None and self._values is not None and self.position is not None:
            self._keys.zero_()
            self._values.zero_()
            self.position.zero_()


class Cache:
    """A cache with given layers; index, length and iteration are over layers."""

    def __init__(self, layers: Iterable[Any] = ()):
        self.layers: list[Any] = list(layers)

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *unused: Any, **also_unused: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values of one layer; returns all that the layer's queries may look at."""
        while len(self.layers) <= layer_idx:
            self.layers.append(self.new_layer(len(self.layers)))
        return self.layers[layer_idx].update(keys, values)

    def new_layer(self, layer_idx: int) -> Any:
        return CacheLayer()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens seen so far."""
        return self.layers[layer_idx].get_seq_length() if layer_idx < len(self.layers) else 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Number of keys that layer `layer_idx` will see, and the position of the first."""
        if layer_idx < len(self.layers):
            return self.layers[layer_idx].get_mask_sizes(query_length)
        return query_length, 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return self.layers[layer_idx].get_max_cache_shape() if layer_idx < len(self.layers) else -1

    def crop(self, max_length: int) -> None:
        for layer in self.layers:
            layer.crop(max_length)

    def reset(self) -> None:
        for layer in self.layers:
            layer.reset()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i of the batch becomes what row `beam_idx[i]` was."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        for layer in self.layers:
            layer.map_batch(lambda x: x.index_select(0, indices.to(x.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        for layer in self.layers:
            layer.map_batch(lambda x: x.repeat_interleave(repeats, 0))

    @property
    def is_compileable(self) -> bool:
        return bool(self.layers) and all(layer.is_compileable for layer in self.layers)

    @property
    def is_initialized(self) -> bool:
        return bool(self.layers) and all(layer.is_initialized for layer in self.layers)

    @property
    def is_sliding(self) -> list[bool]:
        return [layer.is_sliding for layer in self.layers]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[tuple[Tensor | None, Tensor | None]]:
        return ((layer.keys, layer.values) for layer in self.layers)

    def __getitem__(self, layer_idx: int) -> tuple[Tensor | None, Tensor | None]:
        return self.layers[layer_idx].keys, self.layers[layer_idx].values


class DynamicCache(Cache):
    """Grows with the sequence; layers with a window keep only what it can see.

    Args:
        data: (keys, values) of each layer to begin with.
        config: configuration whose `layer_types` and `sliding_window` say which layers have a window.
    """

    def __init__(self, data: Iterable[tuple[Tensor, Tensor]] | None = None, config: Any = None):
        super().__init__()
        self.windows = layer_windows(config.get_text_config(decoder=True)) if config is not None else []
        for layer_idx, (keys, values, *_) in enumerate(data or ()):
            if keys is None:
                self.layers.append(self.new_layer(layer_idx))
            else:
                self.update(keys, values, layer_idx)

    def new_layer(self, layer_idx: int) -> CacheLayer:
        window = self.windows[layer_idx] if layer_idx < len(self.windows) else None
        return SlidingCacheLayer(window) if window else CacheLayer()


class StaticCache(Cache):
    """Room for `max_cache_len` tokens in every layer, taken once."""

    def __init__(self, config: Any, max_cache_len: int, **unused: Any):
        self.max_cache_len = max_cache_len
        count = config.get_text_config(decoder=True).num_hidden_layers
        super().__init__(StaticCacheLayer(max_cache_len) for _ in range(count))


class EncoderDecoderCache(Cache):
    """Two caches: what the decoder said, and the encoder's keys and values, which are made once."""

    def __init__(self, self_attention_cache: Any = None, cross_attention_cache: Any = None):
        super().__init__()
        self.self_attention_cache = self_attention_cache if self_attention_cache is not None else DynamicCache()
        self.cross_attention_cache = cross_attention_cache if cross_attention_cache is not None else DynamicCache()
        known = range(len(self.cross_attention_cache))
        self.is_updated = {i: self.cross_attention_cache.get_seq_length(i) > 0 for i in known}

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *unused: Any, **also_unused: Any
    ) -> tuple[Tensor, Tensor]:
        return self.self_attention_cache.update(keys, values, layer_idx)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.self_attention_cache.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.self_attention_cache.get_mask_sizes(query_length, layer_idx)

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return self.self_attention_cache.get_max_cache_shape(layer_idx)

    def crop(self, max_length: int) -> None:
        self.self_attention_cache.crop(max_length)

    def reset(self) -> None:
        self.self_attention_cache.reset()
        self.cross_attention_cache.reset()
        self.is_updated = dict.fromkeys(self.is_updated, False)

    def batch_select_indices(self, indices: Tensor) -> None:
        self.self_attention_cache.batch_select_indices(indices)
        self.cross_attention_cache.batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        self.self_attention_cache.batch_repeat_interleave(repeats)
        self.cross_attention_cache.batch_repeat_interleave(repeats)

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __iter__(self) -> Iterator[Any]:
        pairs = zip(self.self_attention_cache, self.cross_attention_cache, strict=False)
        return ((*own, *cross) for own, cross in pairs)

    def __getitem__(self, layer_idx: int) -> Any:
        return (*self.self_attention_cache[layer_idx], *self.cross_attention_cache[layer_idx])


def layer_windows(config: Any) -> list[int | None]:
    """For each layer, the number of tokens it can see at most, or None."""
    window = getattr(config, "sliding_window", None)
    chunk = getattr(config, "attention_chunk_size", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * config.num_hidden_layers
    by_kind = {"sliding_attention": window, "chunked_attention": chunk}
    return [by_kind.get(kind) for kind in kinds]


def _grow(x: Tensor, length: int, room: int) -> Tensor:
    out = x.new_empty(*x.shape[:2], room, x.shape[3])
    out[:, :, :length] = x[:, :, :length]
    return out


def _flatten(cache: DynamicCache) -> tuple[list[Any], Any]:
    return [list(pair) for pair in cache], cache.windows


def _unflatten(pairs: Any, windows: Any) -> DynamicCache:
    cache = DynamicCache(pairs)
    cache.windows = windows
    return cache


_pytree.register_pytree_node(
    DynamicCache, _flatten, _unflatten, serialized_type_name="autoload.DynamicCache"
)
