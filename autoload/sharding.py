"""One model over several processes, started by torchrun: tensor parallelism by DTensor, and FSDP2's `fully_shard`.

A family says how its layers can be cut (`Model.tensor_plan`, a table beside its `Spec`); the rest is torch's. A skeleton
is cut on the meta device, and then each process reads only its own slices of the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from autoload.errors import ArgumentError

TENSOR, DATA = "tp", "fsdp"  # names of a mesh's dimensions


def mesh_for(tp_plan: Any, device_mesh: Any) -> DeviceMesh:
    """The mesh that `tp_plan="auto"` or `device_mesh=...` means.

    Raises:
        ArgumentError: another plan, other dimensions, or no processes to spread over.
    """
    if tp_plan not in (None, "auto"):
        raise ArgumentError(f"from_pretrained: tp_plan is {tp_plan!r}, expected 'auto'.", name="tp_plan")
    if device_mesh is not None:
        names = device_mesh.mesh_dim_names or ((TENSOR,) if device_mesh.ndim == 1 else ())
        if not names or not set(names) <= {TENSOR, DATA}:
            text = (
                f"device_mesh has the dimensions {device_mesh.mesh_dim_names}, expected {TENSOR!r} or {DATA!r} or both"
            )
            raise ArgumentError(f"from_pretrained: {text} (mesh_dim_names of init_device_mesh).", name="device_mesh")
        return device_mesh
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    if not dist.is_initialized():
        if "WORLD_SIZE" not in os.environ:
            text = "tp_plan='auto' needs several processes. Start the program with torchrun, or call init_process_group"
            raise ArgumentError(f"from_pretrained: {text} first.", name="tp_plan")
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    return init_device_mesh(kind, (dist.get_world_size(),), mesh_dim_names=(TENSOR,))


def shard(model: Any, mesh: DeviceMesh, dtype_of: Callable[[str, Tensor], torch.dtype]) -> None:
    """Cut a skeleton, and make room for this process's part of it.

    Args:
        model: on the meta device.
        mesh: its dimension "tp" cuts matrices, "fsdp" shards whole layers.
        dtype_of: of each parameter, by its name.
    """
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(dtype_of(name, parameter))
    model.tie_weights()
    names = mesh.mesh_dim_names or (TENSOR,)
    if TENSOR in names:
        _cut(model, mesh[TENSOR] if len(names) > 1 else mesh)
    if DATA in names:
        part = mesh[DATA] if len(names) > 1 else mesh
        whole = {name for module in model.modules() for name in getattr(module, "_no_split_modules", ())}
        for module in [module for module in model.modules() if type(module).__name__ in whole]:
            fully_shard(module, mesh=part)
        fully_shard(model, mesh=part)
    device = torch.device("cuda", torch.cuda.current_device()) if mesh.device_type == "cuda" else torch.device("cpu")
    model._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t.to(device))
    model.tie_weights()
    model._device_mesh = mesh


def _cut(model: Any, mesh: DeviceMesh) -> None:
    base = model.base_model
    plan = base.tensor_plan() if hasattr(base, "tensor_plan") else {}
    if not plan:
        raise ArgumentError(
            f"from_pretrained: {type(model).__name__} has no plan for tensor parallelism; a device_mesh with the "
            f"dimension {DATA!r} shards it too.",
            name="tp_plan",
        )
    count = mesh.size()
    for module in base.modules():
        for name in ("heads", "kv_heads"):
            if isinstance(number := getattr(module, name, None), int):
                if number % count:
                    text = f"{number} {name.replace('kv_', 'key and value ')} cannot be cut for {count} processes"
                    raise ArgumentError(f"from_pretrained: {type(model).__name__}: {text}.", name="tp_plan")
                setattr(module, name, number // count)
    styles = {"columns": ColwiseParallel, "rows": RowwiseParallel}
    parallelize_module(base, mesh, {path: styles[how]() for path, how in plan.items()}, src_data_rank=None)
    head = model.get_output_embeddings()
    if head is not None and not model.ties_weights and head.out_features % count == 0:
        parallelize_module(head, mesh, ColwiseParallel(output_layouts=Replicate()), src_data_rank=None)


def own_part(tensor: DTensor) -> tuple[slice, ...]:
    """Which part of the whole tensor this process holds: cut by the mesh's last dimension first, as torch does."""
    start, stop = [0] * tensor.dim(), list(tensor.shape)
    coordinate = tensor.device_mesh.get_coordinate() or []
    for at in reversed(range(tensor.device_mesh.ndim)):
        placement: Any = tensor.placements[at]
        if placement.is_replicate():
            continue
        axis = placement.dim
        piece = -(-(stop[axis] - start[axis]) // tensor.device_mesh.size(at))
        begin = min(start[axis] + coordinate[at] * piece, stop[axis])
        start[axis], stop[axis] = begin, min(begin + piece, stop[axis])
    return tuple(map(slice, start, stop))


def whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state without cut tensors. All processes must call this together; each gets everything."""
    return {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in state.items()}


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return not dist.is_initialized() or dist.get_rank() == 0


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


def fill(target: DTensor, part: Tensor) -> None:
    """Put this process's part into a cut parameter, which stays the object that torch's wrappers know."""
    with torch.no_grad():
        target.to_local().copy_(part)
