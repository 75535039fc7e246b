"""A model without weights, and how tensors are put into it.

Nothing process-wide is touched: the skeleton is built under a mode of this thread only, no initialiser runs, no random
number is drawn but for new heads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoload.config import LAYERS
from autoload.errors import UNFORESEEN, AutoloadError, ConfigError, WeightsError
from autoload.keys import Piece
from autoload.model import init_module
from autoload.weights import Weights


class Skeleton(TorchFunctionMode):
    """Within it, initialisers do nothing, and tensors are made on `device` where the code names none. Of this thread only.

    Args:
        device: None leaves it to the code.
        most: how many tensors may be made; None is any number.
    """

    _within = threading.local()

    def __init__(self, device: str | None = "meta", most: int | None = None):
        super().__init__()
        self.device, self.most, self.made = device, most, 0

    @classmethod
    def is_built(cls) -> bool:
        """Whether this thread is in the middle of building one."""
        return getattr(cls._within, "depth", 0) > 0

    def __enter__(self) -> Any:
        self._within.depth = getattr(self._within, "depth", 0) + 1
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._within.depth -= 1
        super().__exit__(*raised)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        if func in _FACTORIES:
            self.made += 1
            if self.most is not None and self.made > self.most:
                raise TooManyTensors(f"more than {self.most} tensors")
            if self.device is not None and kwargs.get("device") is None:
                kwargs["device"] = self.device
        return func(*args, **kwargs)


class TooManyTensors(RuntimeError):
    """A configuration describes more than its weights can fill."""


SPARE = 5_000  # tensors that a skeleton may have beyond what its weights suggest: layers that are new, tables

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.tensor, torch.arange}
_INITIALISERS = {getattr(nn.init, n) for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")} | {
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.zero_,
    Tensor.fill_,
}


def build_skeleton(
    cls: type,
    config: Any,
    model_args: Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    tensors: int | None = None,
) -> Any:
    """The model without weights: its parameters are on the meta device.

    Args:
        cls: of the model.
        config: of the model.
        model_args, options: further arguments of its class.
        tensors: how many there are to fill it; one that has many times that many takes time and fits nothing.

    Raises:
        ConfigError: the configuration makes no model, or one much larger than its weights.
    """
    most = SPARE + 20 * tensors if tensors is not None and hasattr(cls, "variant") else None
    try:
        with Skeleton(most=most):
            return cls(config, *model_args, **(options or {}))
    except UNFORESEEN as e:
        if isinstance(e, AutoloadError) or not hasattr(cls, "variant"):  # a user's own class speaks for itself
            raise
        where = os.path.join(getattr(config, "_name_or_path", ""), "config.json")
        if isinstance(e, TooManyTensors):
            field, value = _most_layers(config)
            raise ConfigError(field, value, f"as many as make the {tensors} tensors of the weights", where=where) from e
        raise ConfigError.of(e, where, cls.__name__) from e


def _most_layers(config: Any, prefix: str = "") -> tuple[str, Any]:
    """The field that most likely asks for too much: the largest count of layers or experts."""
    found: dict[str, Any] = {"configuration": 0}
    for key, value in config.__dict__.items():
        if hasattr(value, "spec"):
            found.update([_most_layers(value, f"{prefix}{key}.")])
        elif type(value) is int and (LAYERS.search(key) or "experts" in key):
            found[prefix + key] = value
    return max(found.items(), key=lambda pair: pair[1])


def shard(model: Any, tp_plan: Any, device_mesh: Any, dtype: torch.dtype | None) -> torch.device:
    """Cut a skeleton over several processes; returns the device of this one."""
    from autoload import sharding

    mesh = sharding.mesh_for(tp_plan, device_mesh)
    sharding.shard(model, mesh, Putter(model, dtype).dtype_of)
    return next(model.parameters()).device


def parameter_device() -> torch.device:
    """Where parameters come to life just now: accelerate's `init_empty_weights` puts them on the meta device."""
    probe = nn.Module()
    probe.register_parameter("room", nn.Parameter(torch.empty(0)))
    return probe.get_parameter("room").device


def slots(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Parameters and saved buffers of a model's modules, each name once per place it stands in."""
    for path, module in modules.items():
        dot = f"{path}." if path else ""
        for name, p in module._parameters.items():
            if p is not None:
                yield dot + name, p
        for name, b in module._buffers.items():
            if b is not None and name not in module._non_persistent_buffers_set:
                yield dot + name, b


def _part_of(slot: Tensor) -> tuple[slice, ...] | None:
    """This process's part of a parameter that is cut over several; None for a whole one."""
    if not hasattr(slot, "placements"):
        return None
    from autoload import sharding

    return sharding.own_part(slot)  # type: ignore[arg-type]


class Putter:
    """Puts tensors into the places of a skeleton."""

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype | None = None,
        device: torch.device | Callable[[str], torch.device] | None = None,
    ):
        self.model, self.dtype, self.device = model, dtype, device
        self.modules = dict(model.named_modules())
        self.targets = dict(slots(self.modules))
        self.is_cut = getattr(model, "_device_mesh", None) is not None  # over several processes
        self.keep_fp32: tuple[str, ...] = tuple(getattr(model, "keep_fp32", ()))
        if dtype == torch.float16:
            self.keep_fp32 += tuple(getattr(model, "keep_fp32_in_fp16", ()))

    def dtype_of(self, target: str, tensor: Tensor) -> torch.dtype:
        if self.dtype is None or not tensor.dtype.is_floating_point:
            return tensor.dtype
        if self.keep_fp32 and any(part in target.split(".") for part in self.keep_fp32):
            return torch.float32
        return self.dtype

    def _device(self, target: str) -> torch.device | None:
        return self.device(target) if callable(self.device) else self.device

    def place(
        self, target: str, piece: Piece, weights: Any, where: str
    ) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Put one parameter in; its shapes (file's, model's) when they differ."""
        slot, of_file = self.targets[target], isinstance(weights, Weights)
        if piece.combine is None and of_file:
            found = weights.entries[piece.sources[0]].shape  # known without reading it
            if found != slot.shape:
                return found, tuple(slot.shape)
        read = weights.read if of_file else weights.__getitem__
        cut = _part_of(slot) if self.is_cut else None
        if cut is not None and piece.combine is None:
            source = piece.sources[0]
            self.fill(slot, read(source, cut) if of_file else read(source)[cut])
            return None
        tensors = [read(source) for source in piece.sources]
        if piece.combine is None:
            tensor = tensors[0]
        else:
            try:
                tensor = piece.combine(tensors)
            except UNFORESEEN as e:
                text = f"{where}: {', '.join(piece.sources[:3])} cannot be joined into {target}: {e}"
                raise WeightsError(text, mismatched=[target]) from e
        if tensor.shape != slot.shape:
            return tuple(tensor.shape), tuple(slot.shape)
        if slot.dtype.is_floating_point and not tensor.dtype.is_floating_point:
            dtype = str(tensor.dtype).removeprefix("torch.")
            text = f"{where}: {', '.join(piece.sources[:3])} holds {dtype}, expected floating numbers for {target}. "
            raise WeightsError(f"{text}Convert them, or load a repository with plain weights.", mismatched=[target])
        if cut is not None:
            self.fill(slot, tensor[cut])
        else:
            self.put(target, tensor.to(device=self._device(target), dtype=self.dtype_of(target, tensor)))
        return None

    def fill(self, slot: Tensor, own: Tensor) -> None:
        """Put this process's part into a parameter that is cut over several."""
        from autoload import sharding

        sharding.fill(slot, own)  # type: ignore[arg-type]

    def put(self, target: str, tensor: Tensor) -> None:
        path, _, leaf = target.rpartition(".")
        module = self.modules[path]
        if leaf in module._buffers:
            module._buffers[leaf] = tensor
        else:
            floating = tensor.is_floating_point() or tensor.is_complex()
            trainable = floating and (module._parameters[leaf] is None or module._parameters[leaf].requires_grad)  # type: ignore[union-attr]
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=trainable)

    def share(self, target: str, source: str) -> None:
        path, _, leaf = target.rpartition(".")
        self.modules[path]._parameters[leaf] = self.model.get_parameter(source)

    def move_computed(self) -> None:
        """Bring tables that are computed, not loaded, to where the parameters are."""
        for path, module in self.modules.items():
            for leaf in module._non_persistent_buffers_set:
                buffer = module._buffers[leaf]
                device = self._device(f"{path}.{leaf}")
                if buffer is not None and device is not None:
                    module._buffers[leaf] = buffer.to(device)

    def make_new(self, missing: list[str]) -> None:
        """Fresh values for parameters that no file has, and for computed buffers that stayed on the meta device."""
        if not missing:
            return
        config: Any = getattr(self.model, "config", None)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        std = getattr(text, "initializer_range", 0.02)
        names: dict[str, set[str]] = {}
        for target in missing:
            slot = self.targets[target]
            dtype = self.dtype_of(target, slot)
            if _part_of(slot) is None:
                self.put(target, torch.zeros(slot.shape, dtype=dtype, device=self._device(target) or "cpu"))
            path, _, leaf = target.rpartition(".")
            names.setdefault(path, set()).add(leaf)
        for path, leaves in names.items():
            module = self.modules[path]
            kept = {k: p.detach().clone() for k, p in module._parameters.items() if p is not None and k not in leaves}
            init_module(module, std)
            with torch.no_grad():
                for k, value in kept.items():  # a module half loaded, half new
                    module._parameters[k].copy_(value)  # type: ignore[union-attr]
