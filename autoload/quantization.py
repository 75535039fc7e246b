"""Weights of eight bits or fewer through torchao: `from_pretrained(..., quantization_config=Int8WeightOnlyConfig())`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoload.errors import ArgumentError


@dataclass(frozen=True)
class Recipe:
    """What becomes of the weights, and of which."""

    config: Any  # torchao's
    kept: Sequence[str] = ()  # modules that stay as they are, by name or by a part of it


def recipe(given: Any) -> Recipe | None:
    """What `quantization_config` asks for.

    Args:
        given: a configuration of torchao; the reference's `TorchAoConfig`; or a dict with the same fields, `quant_type`
            and `modules_to_not_convert`. None asks for nothing.

    Raises:
        ArgumentError: it is of another kind, or torchao is not installed.
    """
    if given is None:
        return None
    fields = given if isinstance(given, Mapping) else getattr(given, "__dict__", {})
    method = getattr(fields.get("quant_method", "torchao"), "value", fields.get("quant_method", "torchao"))
    if method != "torchao":
        raise _refused(f"of the method {method!r}, expected 'torchao'")
    if importlib.util.find_spec("torchao") is None:
        raise _refused("needs the package torchao, which is not installed: pip install 'autoload[int8]'")
    from torchao.core.config import AOBaseConfig, config_from_dict  # type: ignore[import-not-found]

    kind = fields.get("quant_type") if isinstance(given, Mapping) or "quant_type" in fields else given
    if isinstance(kind, Mapping):  # as a config.json has it
        try:
            kind = config_from_dict(dict(kind.get("default", kind)))
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise _refused(f"not one that torchao reads: {e}") from e
    if not isinstance(kind, AOBaseConfig):
        raise _refused(f"{kind!r}, expected a configuration of torchao, Int8WeightOnlyConfig() for one")
    return Recipe(kind, tuple(fields.get("modules_to_not_convert") or ()))


def _refused(what: str) -> ArgumentError:
    return ArgumentError(f"from_pretrained: quantization_config is {what}.", name="quantization_config")


def quantize(model: Any, recipe: Recipe) -> None:
    """Convert the linear layers of the base model in place, one after the other; its heads keep their precision."""
    from torchao.quantization import quantize_  # type: ignore[import-not-found]

    inside = {id(module) for module in getattr(model, "base_model", model).modules()}
    outputs = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None

    def chosen(module: nn.Module, name: str) -> bool:
        kept = any(part in name for part in recipe.kept)
        return isinstance(module, nn.Linear) and id(module) in inside and module is not outputs and not kept

    quantize_(model, recipe.config, filter_fn=chosen)
    for part in model.modules():
        if hasattr(part, "is_quantized"):
            part.is_quantized = True
