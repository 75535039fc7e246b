"""Caches of a whole model: what attention and recurrent layers remember of earlier tokens.

A cache is a list of layers with one method that attention calls, `update`. Model code asks only for lengths and
updates, so any object with `update`, `get_seq_length` and `get_mask_sizes` works in its place. The layers stand in
`cache_layers.py`, those that keep their content elsewhere or in fewer bits in `cache_storage.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils import _pytree

from autoload.bridge import Anchor, stands_for
from autoload.layers.cache_layers import (
    CacheLayer,
    Layer,
    SlidingCacheLayer,
    StateLayer,
    StaticCacheLayer,
    StaticSlidingCacheLayer,
)
from autoload.layers.cache_storage import BACKENDS, OffloadedLayer

STATE_KINDS = ("mamba", "linear_attention", "conv")  # kinds of layers without keys and values
# Kinds of layers that see keys within a window; some also see what becomes of those before it.
WINDOW_KINDS = ("sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention")


@stands_for("transformers.cache_utils")
class Cache(Anchor):
    """A cache with given layers; index, length and iteration are over layers."""

    def __init__(self, layers: Iterable[Any] = ()):
        self.layers: list[Any] = list(layers)

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *unused: Any, **also_unused: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values of one layer; returns all that the layer's queries may look at."""
        return self.layer(layer_idx).update(keys, values)

    def layer(self, layer_idx: int) -> Any:
        """One layer; those up to it are made if need be."""
        while len(self.layers) <= layer_idx:
            self.layers.append(self.new_layer(len(self.layers)))
        return self.layers[layer_idx]

    def new_layer(self, layer_idx: int) -> Any:
        return CacheLayer()

    def state(self, layer_idx: int, name: str) -> Tensor | None:
        """A state of one layer, None before it was kept."""
        return self.layers[layer_idx].states.get(name) if layer_idx < len(self.layers) else None

    def keep_state(self, layer_idx: int, name: str, value: Tensor) -> Tensor:
        """Remember a state of one layer."""
        return self.layer(layer_idx).keep_state(name, value)

    def _counting(self, layer_idx: int) -> Any:
        """The layer, or the first that counts tokens when this one does not."""
        if layer_idx < len(self.layers) and self.layers[layer_idx].counts_tokens:
            return self.layers[layer_idx]
        if layer_idx == 0:
            return next((layer for layer in self.layers if layer.counts_tokens), None)
        return None

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        """Tokens seen so far."""
        layer = self._counting(layer_idx)
        return 0 if layer is None else layer.get_seq_length()

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[Any, Any]:
        """Number of keys that layer `layer_idx` will see, and the position of the first."""
        layer = self._counting(layer_idx)
        return (query_length, 0) if layer is None else layer.get_mask_sizes(query_length)

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return self.layers[layer_idx].get_max_cache_shape() if layer_idx < len(self.layers) else -1

    def crop(self, max_length: int) -> None:
        """Forget the last tokens: all but the first `max_length`, or with a negative number that many; 0 forgets none."""
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
    def is_croppable(self) -> bool:
        return all(layer.is_croppable for layer in self.layers)

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


@stands_for("transformers.cache_utils")
class DynamicCache(Cache):
    """Grows with the sequence; layers with a window keep only what it can see.

    Args:
        data: (keys, values) of each layer to begin with.
        config: configuration whose `layer_types` and `sliding_window` say which layers have a window.
        offloading: keep the content in the CPU's memory.
    """

    def __init__(
        self, data: Iterable[tuple[Tensor, Tensor]] | None = None, config: Any = None, offloading: bool = False
    ):
        super().__init__()
        self.offloading = offloading
        text = config.get_text_config(decoder=True) if config is not None else None
        self.windows = layer_windows(text) if text is not None else []
        self.kinds = list(getattr(text, "layer_types", None) or ())
        for layer_idx, (keys, values, *_) in enumerate(data or ()):
            if keys is None:
                self.layers.append(self.new_layer(layer_idx))
            else:
                self.update(keys, values, layer_idx)

    def new_layer(self, layer_idx: int) -> Any:
        if layer_idx < len(self.kinds) and self.kinds[layer_idx] in STATE_KINDS:
            return StateLayer()
        window = self.windows[layer_idx] if layer_idx < len(self.windows) else None
        layer = SlidingCacheLayer(window) if window else CacheLayer()
        return OffloadedLayer(layer) if self.offloading else layer


class StaticCache(Cache):
    """Room for `max_cache_len` tokens, taken once; layers with a shorter window take room for the window."""

    def __init__(self, config: Any, max_cache_len: int, offloading: bool = False, **unused: Any):
        self.max_cache_len, self.offloading = max_cache_len, offloading
        text = config.get_text_config(decoder=True)
        kinds = getattr(text, "layer_types", None) or ["sliding_attention"] * layer_count(text)
        super().__init__(map(self._layer, kinds, layer_windows(text)))

    def _layer(self, kind: str, window: int | None) -> Any:
        if kind in STATE_KINDS:
            return StateLayer()
        layer = self._with_keys(kind, window)
        return OffloadedLayer(layer) if self.offloading else layer

    def new_layer(self, layer_idx: int) -> Any:
        return self._layer("full_attention", None)

    def _with_keys(self, kind: str, window: int | None) -> Layer:
        # A window slides by one token; a chunk does not, so its layer keeps everything and masks the rest.
        if window is not None and window < self.max_cache_len and kind in WINDOW_KINDS:
            return StaticSlidingCacheLayer(window)
        return StaticCacheLayer(self.max_cache_len)


class QuantizedCache(Cache):
    """Grows with the sequence and holds all but its newest tokens in few bits.

    Args:
        backend: "fp8", or "quanto" for integers by the package optimum-quanto.
        config: of the model, whose layers must see everything.
        settings: of the backend; see `cache_storage.quanto_layer`.

    Raises:
        ArgumentError: an unknown backend, or a model with windows.
    """

    def __init__(self, backend: str, config: Any, **settings: Any):
        from autoload.errors import ArgumentError

        super().__init__()
        if backend not in BACKENDS:
            text = f"a quantized cache by {backend!r}; expected one of {', '.join(BACKENDS)}."
            raise ArgumentError(text, name="backend")
        if any(layer_windows(config.get_text_config(decoder=True))):
            raise ArgumentError("a quantized cache needs a model without windows.", name="cache_implementation")
        self.new = partial(BACKENDS[backend], **settings)

    def new_layer(self, layer_idx: int) -> Any:
        return self.new()


@stands_for("transformers.cache_utils")
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

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        return self.self_attention_cache.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[Any, Any]:
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

    @property
    def is_compileable(self) -> bool:
        return self.self_attention_cache.is_compileable

    @property
    def is_croppable(self) -> bool:
        return self.self_attention_cache.is_croppable

    @property
    def is_initialized(self) -> bool:
        return self.self_attention_cache.is_initialized

    @property
    def is_sliding(self) -> list[bool]:
        return self.self_attention_cache.is_sliding

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __iter__(self) -> Iterator[Any]:
        pairs = zip(self.self_attention_cache, self.cross_attention_cache, strict=False)
        return ((*own, *cross) for own, cross in pairs)

    def __getitem__(self, layer_idx: int) -> Any:
        return (*self.self_attention_cache[layer_idx], *self.cross_attention_cache[layer_idx])


def layer_count(config: Any) -> int:
    """Number of layers that look back: the decoder's, where there is an encoder too."""
    if getattr(config, "is_encoder_decoder", False):
        for name in ("decoder_layers", "num_decoder_layers"):
            if (count := getattr(config, name, None)) is not None:
                return count
    return config.num_hidden_layers


def layer_windows(config: Any) -> list[int | None]:
    """For each layer, the number of tokens it can see at most, or None."""
    window = getattr(config, "cached_window", getattr(config, "sliding_window", None))
    chunk = getattr(config, "attention_chunk_size", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * layer_count(config)
    by_kind = {"chunked_attention": chunk, **dict.fromkeys(WINDOW_KINDS, window)}
    return [by_kind.get(kind) for kind in kinds]


def _flatten(cache: DynamicCache) -> tuple[list[Any], Any]:
    return [list(pair) for pair in cache], cache.windows


def _unflatten(pairs: Any, windows: Any) -> DynamicCache:
    cache = DynamicCache(pairs)
    cache.windows = windows
    return cache


_pytree.register_pytree_node(DynamicCache, _flatten, _unflatten, serialized_type_name="autoload.DynamicCache")
