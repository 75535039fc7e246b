"""The cache that settings ask for, and the compiled step over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autoload.errors import ArgumentError
from autoload.generation.configuration import GenerationConfig
from autoload.generation.watermarks import CompileConfig
from autoload.layers.cache import DynamicCache, EncoderDecoderCache, QuantizedCache, StaticCache

STATIC = ("static", "offloaded_static", "sliding_window", "hybrid_chunked")  # the last two are old names


def make_cache(model: Any, settings: GenerationConfig, kwargs: dict[str, Any], room: int) -> Callable[..., Any] | None:
    """Put a cache into `kwargs`, unless the model's own will do; returns the decoding step if it is compiled.

    Without a wish of the caller the first pass gets none: the model makes the kind it needs.

    Args:
        model: that generates.
        settings: of the call.
        kwargs: inputs of the model.
        room: tokens that a static cache needs.
    """
    kind = settings.cache_implementation
    if kwargs.get("past_key_values") is not None:
        if kind is not None:
            text = "generate: pass past_key_values or cache_implementation, not both."
            raise ArgumentError(text, name="cache_implementation")
        return _compiled(model, settings, kwargs["past_key_values"])
    if settings.use_cache is False or kind in (None, "dynamic", "hybrid"):
        return None
    cache: Any
    if kind in STATIC:
        cache = StaticCache(model.config, max(room, settings.max_cache_len or 0), offloading=kind == "offloaded_static")
    elif kind == "offloaded":
        cache = DynamicCache(config=model.config, offloading=True)
    else:
        options = dict(settings.cache_config or {})
        cache = QuantizedCache(options.pop("backend", "quanto"), model.config, **options)
    if model.config.is_encoder_decoder:
        cache = EncoderDecoderCache(cache, DynamicCache())  # without windows: all of the source is looked at
    kwargs["past_key_values"] = cache
    return _compiled(model, settings, cache)


def _compiled(model: Any, settings: GenerationConfig, cache: Any) -> Callable[..., Any] | None:
    """The model's pass, compiled, where a cache of fixed shape makes that worthwhile."""
    config = settings.compile_config or CompileConfig()
    if settings.disable_compile or not getattr(cache, "is_compileable", False):
        return None
    if model.device.type == "cpu" and not config._compile_all_devices:
        return None
    return torch.compile(model, **config.to_dict())
