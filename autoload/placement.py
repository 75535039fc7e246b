"""Where a model's parameters go: one device without any other package, several through accelerate."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoload.errors import ArgumentError


@dataclass(frozen=True)
class Plan:
    """`device` of each parameter; `device_map` where the model is spread over several."""

    device: torch.device | Callable[[str], torch.device] | None = None
    device_map: dict[str, Any] | None = None


def plan(model: nn.Module, device: Any, device_map: Any, dtype: torch.dtype | None, max_memory: Any) -> Plan:
    """What `device=` and `device_map=` ask for.

    Raises:
        ArgumentError: both are given, or a device does not exist.
        ImportError: several devices are asked for and accelerate is not installed.
    """
    if device is not None and device_map is not None:
        raise ArgumentError("from_pretrained: pass device or device_map, not both.", name="device_map")
    if device_map is None or isinstance(device_map, (int, torch.device)):
        return Plan(_device(device if device is not None else device_map))
    if isinstance(device_map, str) and device_map not in ("auto", "balanced", "balanced_low_0", "sequential"):
        return Plan(_device(device_map))
    if isinstance(device_map, dict) and set(device_map) == {""}:
        return Plan(_device(device_map[""]))
    if isinstance(device_map, str) and not torch.cuda.is_available() and max_memory is None:
        return Plan()  # "auto" on a machine with nothing but a CPU
    accelerate = _accelerate()
    if isinstance(device_map, str):
        parts = model.modules()  # a model with a head holds the one that knows its layers
        keep_whole = sorted({name for part in parts for name in getattr(part, "_no_split_modules", [])})
        if device_map != "sequential":
            max_memory = accelerate.utils.get_balanced_memory(
                model,
                max_memory=max_memory,
                no_split_module_classes=keep_whole,
                dtype=dtype,
                low_zero=device_map == "balanced_low_0",
            )
        device_map = accelerate.infer_auto_device_map(model, max_memory, keep_whole, dtype=dtype)
    if not isinstance(device_map, dict):
        raise ArgumentError(f"device_map is {device_map!r}, expected a device, 'auto' or a dict.", name="device_map")
    places = dict(device_map)

    def place(name: str) -> torch.device:
        path = name
        while path not in places:
            if not path:
                raise ArgumentError(f"device_map names no device for {name!r}.", name="device_map")
            path = path.rpartition(".")[0]
        return torch.device("cpu") if places[path] == "disk" else _device(places[path]) or torch.device("cpu")

    return Plan(place, places)


def dispatch(model: nn.Module, plan: Plan, offload_folder: str | os.PathLike | None) -> None:
    """Hooks that move activations from device to device."""
    if plan.device_map is None:
        return
    _accelerate().dispatch_model(model, plan.device_map, offload_dir=offload_folder, skip_keys="past_key_values")


def _device(value: Any) -> torch.device | None:
    if value is None:
        return None
    try:
        device = torch.device("cuda", value) if isinstance(value, int) else torch.device(value)
    except (RuntimeError, TypeError) as e:
        raise ArgumentError(f"device is {value!r}: {str(e).splitlines()[0]}", name="device") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentError(f"device is {value!r}, but torch {torch.__version__} sees no CUDA device.", name="device")
    return device


def _accelerate() -> Any:
    try:
        import accelerate
        import accelerate.utils
    except ImportError as e:
        raise ImportError(
            "spreading a model over several devices needs accelerate: pip install 'autoload[accelerate]'"
        ) from e
    return accelerate
