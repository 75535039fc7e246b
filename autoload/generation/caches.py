"""The cache that settings ask for, and the compiled step over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoload.errors import ArgumentError
from autoload.generation.configuration import GenerationConfig
from autoload.layers.cache import StaticCache


def make_cache(model: Any, settings: GenerationConfig, kwargs: dict[str, Any], room: int) -> Callable[..., Any] | None:
    """Put a cache into `kwargs`, unless the model's own will do; returns the decoding step if it is compiled.

    Without a wish of the caller the first pass gets none: the model makes the kind it needs.
    """
    kind = settings.cache_implementation
    if kwargs.get("past_key_values") is not None:
        if kind is not None:
            text = "generate: pass past_key_values or cache_implementation, not both."
            raise ArgumentError(text, name="cache_implementation")
        return None
    if settings.use_cache is False or kind in (None, "dynamic", "hybrid"):
        return None
    kwargs["past_key_values"] = StaticCache(model.config, max(room, settings.max_cache_len or 0))
    return None
