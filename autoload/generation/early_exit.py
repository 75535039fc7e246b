"""A draft without a second model: the first layers of the model itself (Elhoushi et al. 2024, arXiv:2404.16710)."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from autoload.errors import ArgumentError
from autoload.generation.checks import refused


def first_layers(model: Any, count: int) -> Any:
    """A model that shares every parameter with another one and ends after `count` layers.

    Raises:
        GenerationError: the model has no more layers than that.
        ArgumentError: it has no plain list of layers.
    """
    base = model.base_model
    stacks = {name: part for name, part in base.named_children() if isinstance(part, nn.ModuleList)}
    depth = getattr(model.config, "num_hidden_layers", None)
    names = [name for name, part in stacks.items() if len(part) == depth]
    if len(names) != 1 or model.config.is_encoder_decoder:
        text = f"generate: {type(model).__name__} is not one stack of layers, so none of them can be left out."
        raise ArgumentError(text, name="assistant_early_exit")
    if count >= len(stacks[names[0]]):
        raise refused("assistant_early_exit", count, f"fewer than the model's {depth} layers", "generate")
    shallow = _twin(base)
    shallow._modules[names[0]] = stacks[names[0]][:count]
    if base is not model:
        whole = _twin(model)
        whole._modules[model.base_model_prefix] = shallow
        shallow = whole
    shallow.generation_config = copy.deepcopy(model.generation_config)
    return shallow


def _twin(module: Any) -> Any:
    """Another module with the same parts."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin
