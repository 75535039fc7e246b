"""From files to a model: find the weights, check them against the skeleton, put them in, and say where each came from.

Nothing process-wide is touched: the skeleton is built under a mode of this thread only, no initialiser runs, no random
number is drawn but for new heads.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoload.config import torch_dtype
from autoload.errors import (
    UNFORESEEN,
    ArgumentError,
    AutoloadError,
    ConfigError,
    CorruptCheckpoint,
    WeightsError,
    reading,
)
from autoload.hub import LFS_POINTER, Files, confined, read_json
from autoload.keys import Matches, Piece, match_names
from autoload.model import PreTrainedModel, init_module
from autoload.notebook import card, some
from autoload.tensorfile import TensorFile, lfs_pointer

logger = logging.getLogger("autoload")

Strict = Literal["head"] | bool


@dataclass(repr=False)
class LoadingReport:
    """Where every parameter of a loaded model came from."""

    sources: dict[str, str] = field(default_factory=dict)  # parameter -> file, "new", "tied to ...", "computed"
    missing: list[str] = field(default_factory=list)  # not in the files, made new
    unexpected: list[str] = field(default_factory=list)  # in the files, not in the model
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(
        default_factory=list
    )  # file's, model's shape
    unwrapped: bool = False  # the names carried the prefix of a training wrapper

    def facts(self) -> dict[str, Any]:
        """A few lines for people."""
        counts: dict[str, int] = {}
        for source in self.sources.values():
            origin = "tied" if source.startswith("tied to") else os.path.basename(source)
            counts[origin] = counts.get(origin, 0) + 1
        return {
            "parameters": len(self.sources),
            "from": ", ".join(f"{origin}: {count}" for origin, count in counts.items()),
            "missing": some(self.missing),
            "unexpected": some(self.unexpected),
            "mismatched": some([name for name, *_ in self.mismatched]),
        }

    def __repr__(self) -> str:
        return f"LoadingReport({'; '.join(f'{name} {value}' for name, value in self.facts().items() if value)})"

    def _repr_html_(self) -> str:
        return card("LoadingReport", self.facts(), "\n".join(f"{k}: {v}" for k, v in self.sources.items()))

    def as_dict(self) -> dict[str, Any]:
        """The reference's `output_loading_info`."""
        return {
            "missing_keys": set(self.missing) - {name for name, *_ in self.mismatched},
            "unexpected_keys": set(self.unexpected),
            "mismatched_keys": set(self.mismatched),
            "error_msgs": [],
        }


@dataclass(frozen=True)
class Entry:
    """One tensor of a weights file."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


class Weights:
    """The tensors of a checkpoint by name; shapes and dtypes are known before any is read."""

    def __init__(self, paths: Iterable[Path], weight_map: Mapping[str, Path] | None = None, *, copy: bool = False):
        self.entries: dict[str, Entry] = {}
        self.metadata_dtype: str | None = None
        self._copy = copy
        self._open: dict[Path, TensorFile | dict[str, Tensor]] = {}
        self.paths = list(paths)
        for path in self.paths:
            entries = self._headers(path)
            for name, entry in entries.items():
                if weight_map is None or weight_map.get(name, path) == path:  # the map decides, where it names a tensor
                    if name in self.entries:
                        other = self.entries[name].file.name
                        text = (
                            f"{path}: the tensor {name!r} is in {other} too, expected one, or an index that names it."
                        )
                        raise CorruptCheckpoint(text, path=str(path))
                    self.entries[name] = entry
        if weight_map is not None:
            for name, path in weight_map.items():
                if name not in self.entries:
                    raise CorruptCheckpoint(
                        f"{path}: no tensor {name!r}, although the index (model.safetensors.index.json) says that it is "
                        "in this file.",
                        path=str(path),
                        remedy="Download both again (force_download=True), or save the model again.",
                    )

    def _headers(self, path: Path) -> dict[str, Entry]:
        if path.suffix == ".safetensors":
            file = self._open[path] = TensorFile(path)
            return {name: Entry(path, row.shape, row.dtype) for name, row in file.rows.items()}
        tensors = read_pickle(path)
        self._open[path] = tensors
        return {name: Entry(path, tuple(t.shape), t.dtype) for name, t in tensors.items()}

    def read(self, name: str, part: tuple[slice, ...] | None = None) -> Tensor:
        """The tensor; a view of the mapped file unless the checkpoint is to be copied. Of a `part` only that is read."""
        path = self.entries[name].file
        with reading(path, "weights file", CorruptCheckpoint):
            file = self._open[path]
            tensor = file.read(name) if isinstance(file, TensorFile) else file[name]
            tensor = tensor if part is None else tensor[part]  # of a mapped file the rest is never read
        return tensor.clone() if self._copy else tensor

    def floating_dtype(self) -> torch.dtype | None:
        """dtype of the first floating tensor."""
        return next((e.dtype for e in self.entries.values() if e.dtype.is_floating_point), None)


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pytorch_model.bin, read without running code from it.

    Raises:
        CorruptCheckpoint: damaged, no mapping of names to tensors, or it holds objects other than tensors.
    """
    remedy = "Convert it to safetensors where it was made; only plain tensors are read from such files."
    with reading(path, "weights file", CorruptCheckpoint):
        with open(path, "rb") as f:
            start = f.read(64)
        if start.startswith(LFS_POINTER):
            raise lfs_pointer(str(path))
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=start.startswith(b"PK"))
        except Exception as e:  # torch's own text recommends to run the code in the file
            what = str(e).split("\n")[0]
            what = (
                what
                if "weights_only" not in what.lower() and "Weights only" not in what
                else "it holds more than tensors"
            )
            raise CorruptCheckpoint(
                f"{path}: this weights file cannot be read: {what[:200].rstrip('.')}.", path=str(path), remedy=remedy
            ) from e
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        raise CorruptCheckpoint(
            f"{path}: a trainer's checkpoint with the keys {', '.join(map(str, list(state)[:5]))}, expected names of "
            "parameters.",
            path=str(path),
            remedy="Save its 'state_dict' alone.",
        )
    if not isinstance(state, Mapping) or not all(
        isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()
    ):
        text = f"{path}: found {type(state).__name__}, expected a mapping of names to tensors and nothing else."
        raise CorruptCheckpoint(text, path=str(path), remedy=remedy)
    if start.startswith(b"PK"):
        _check_records(path, state.values())
    return dict(state)


def _check_records(path: Path, tensors: Iterable[Tensor]) -> None:
    """Refuse an archive whose records have another size than the tensors say: mapped, these would read beyond."""
    import zipfile

    with reading(path, "weights file", CorruptCheckpoint), zipfile.ZipFile(path) as archive:
        records = [row for row in archive.infolist() if "/data/" in row.filename and row.file_size]
    storages = {storage.data_ptr(): storage.nbytes() for t in tensors if (storage := t.untyped_storage()).nbytes()}
    found, expected = sorted(row.file_size for row in records), sorted(storages.values())
    if found != expected or any(row.compress_type != zipfile.ZIP_STORED for row in records):
        text = (
            f"{path}: its {len(found)} records hold {sum(found)} bytes, expected {sum(expected)}, stored as they are."
        )
        raise CorruptCheckpoint(text, path=str(path))


def find_weights(
    files: Files, *, variant: str | None = None, use_safetensors: bool | None = None, copy: bool = False
) -> Weights:
    """The checkpoint of a model: safetensors before pickles, whole before sharded.

    Raises:
        MissingFile: there is none, or shards of it are missing (all of them are named).
        CorruptCheckpoint: what is there does not fit together.
    """
    dot = f".{variant}" if variant else ""
    singles = (
        [(f"model{dot}.safetensors", f"model.safetensors.index{dot}.json")] if use_safetensors is not False else []
    )
    if not use_safetensors:
        singles.append((f"pytorch_model{dot}.bin", f"pytorch_model.bin.index{dot}.json"))
    for single, index in singles:
        if (path := files.find(single)) is not None:
            return Weights([path], copy=copy)
        if (path := files.find(index)) is not None:
            return _sharded(files, path, copy)
    raise files.missing([name for pair in singles for name in pair], "the weights")


def find_part(files: Files, stem: str, use_safetensors: bool | None = None) -> Weights:
    """A file of tensors beside the checkpoint: safetensors before a pickle.

    Raises:
        MissingFile: there is neither.
    """
    names = [f"{stem}.safetensors"] if use_safetensors is not False else []
    names += [] if use_safetensors else [f"{stem}.bin"]
    for name in names:
        if (path := files.find(name)) is not None:
            return Weights([path])
    raise files.missing(names, "the tensors")


def _sharded(files: Files, index: Path, copy: bool) -> Weights:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        text = f"{index}: weight_map is {str(weight_map)[:80]!r}, expected names of tensors and their files."
        raise CorruptCheckpoint(text, path=str(index))
    names = sorted(set(weight_map.values()))
    for name in names:
        confined(name, str(index))
        if not name.endswith((".safetensors", ".bin")):
            text = f"{index}: found the shard {name!r}, expected a .safetensors or .bin file."
            raise CorruptCheckpoint(text, path=str(index))
    _check_count(index, names)
    paths = {name: files.find(name) for name in names}
    absent = [name for name, path in paths.items() if path is None]
    if absent:
        raise files.missing(absent, f"shards named by {index.name}")
    found = {name: path for name, path in paths.items() if path is not None}
    weights = Weights(found.values(), {tensor: found[name] for tensor, name in weight_map.items()}, copy=copy)
    metadata = content.get("metadata")
    dtype = metadata.get("dtype") if isinstance(metadata, dict) else None
    weights.metadata_dtype = dtype if isinstance(dtype, str) else None
    return weights


def _check_count(index: Path, names: list[str]) -> None:
    """Shards are numbered: an index that leaves one out has lost it."""
    numbered = [match for name in names if (match := re.search(r"-(\d{5})-of-(\d{5})\b", name))]
    totals = {int(match[2]) for match in numbered}
    if len(totals) == 1 and len(numbered) == len(names) < max(totals):
        lost = sorted({*range(1, max(totals) + 1)} - {int(match[1]) for match in numbered})
        text = f"{index}: weight_map names {len(names)} shards, expected {max(totals)}: it lacks number {lost[0]}."
        raise CorruptCheckpoint(text, path=str(index))


class Skeleton(TorchFunctionMode):
    """Within it, tensors are made on the meta device and initialisers do nothing. Of this thread only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.tensor, torch.arange}
_INITIALISERS = {getattr(nn.init, n) for n in dir(nn.init) if n.endswith("_") and not n.startswith("_")} | {
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.zero_,
    Tensor.fill_,
}


def build_skeleton(
    cls: type, config: Any, model_args: Iterable[Any] = (), options: Mapping[str, Any] | None = None
) -> Any:
    """The model without weights: its parameters are on the meta device."""
    try:
        with Skeleton():
            return cls(config, *model_args, **(options or {}))
    except UNFORESEEN as e:
        if isinstance(e, AutoloadError) or not hasattr(cls, "variant"):  # a user's own class speaks for itself
            raise
        where = os.path.join(getattr(config, "_name_or_path", ""), "config.json")
        raise ConfigError.of(e, where, cls.__name__) from e


def shard(model: Any, tp_plan: Any, device_mesh: Any, dtype: torch.dtype | None) -> torch.device:
    """Cut a skeleton over several processes; returns the device of this one."""
    from autoload import sharding

    mesh = sharding.mesh_for(tp_plan, device_mesh)
    sharding.shard(model, mesh, _Putter(model, {}, dtype, None).dtype_of)
    return next(model.parameters()).device


def parameter_device() -> torch.device:
    """Where parameters come to life just now: accelerate's `init_empty_weights` puts them on the meta device."""
    probe = nn.Module()
    probe.register_parameter("room", nn.Parameter(torch.empty(0)))
    return probe.get_parameter("room").device


def load_weights(
    model: nn.Module,
    weights: Weights | Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | Callable[[str], torch.device] | None = None,
    strict: Strict = "head",
    ignore_mismatched_sizes: bool = False,
    remade: Iterable[int] = (),
    where: str = "state_dict",
    key_mapping: Mapping[str, str] | None = None,
) -> LoadingReport:
    """Put weights into a skeleton.

    Args:
        model: built by `build_skeleton`.
        weights: a checkpoint, or tensors by name.
        dtype: of floating parameters; None keeps each as stored.
        device: of all parameters, or of each by its name.
        strict: "head": parts of a task head may be missing as a whole and are made new; True: nothing may be missing or
            unexpected; False: whatever is missing is made new.
        ignore_mismatched_sizes: make parameters new whose shape differs.
        remade: numbers of labels that the caller asked for; head parameters of another number are made new, but for strict=True.
        where: what to call the checkpoint in messages.
        key_mapping: further renames, pattern to replacement.

    Raises:
        WeightsError: the weights do not fit.
    """
    if isinstance(weights, Weights):
        where += f" ({weights.paths[0].name if len(weights.paths) == 1 else f'{len(weights.paths)} shards'})"
    targets, tied = dict(_slots(model)), _tied(model)
    names = list(weights.entries if isinstance(weights, Weights) else weights)
    renamed = _renamed(names, key_mapping)
    matches = _match(model, targets, tied, renamed, weights)
    prefix = getattr(model, "base_model_prefix", "")
    report = LoadingReport(unexpected=[renamed[n] for n in matches.unexpected], unwrapped=matches.unwrapped)
    put = _Putter(model, targets, dtype, device)
    for target, piece in matches.pieces.items():
        sources = tuple(renamed[s] for s in piece.sources)
        mismatch = put.place(target, Piece(sources, piece.combine), weights, where)
        if mismatch is None:
            first = weights.entries[sources[0]].file.name if isinstance(weights, Weights) else "state_dict"
            report.sources[target] = first
        else:
            report.mismatched.append((target, *mismatch))
    report.missing = [t for t in targets if t not in report.sources and tied.get(t) not in report.sources]
    made = getattr(model, "computed", ())
    computed = [t for t in report.missing if t.endswith(made)]
    report.missing = [t for t in report.missing if t not in computed]
    fits = {name for name, *_ in report.mismatched}
    _judge(
        model,
        report,
        strict,
        ignore_mismatched_sizes,
        set(remade) if strict is not True else set(),
        prefix,
        where,
        fits,
        len(names),
        claimed=isinstance(weights, Weights) and _claims(model),
    )
    put.make_new([*report.missing, *computed])
    report.sources.update(dict.fromkeys(report.missing, "new") | dict.fromkeys(computed, "computed"))
    for target, source in tied.items():
        if target in targets and target not in report.sources:
            report.sources[target] = f"tied to {source}"
            put.share(target, source)
    put.move_computed()
    _announce(report, model, where)
    return report


def compare(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> LoadingReport:
    """What `load_weights` would report of a checkpoint with tensors of these names and shapes; nothing is loaded."""
    targets, tied = dict(_slots(model)), _tied(model)
    matches = _match(model, targets, tied, shapes)
    report = LoadingReport(unexpected=matches.unexpected, unwrapped=matches.unwrapped)
    for target, piece in matches.pieces.items():
        found, expected = shapes[piece.sources[0]], tuple(targets[target].shape)
        if piece.combine is None and found != expected:
            report.mismatched.append((target, found, expected))
        else:
            report.sources[target] = piece.sources[0]
    report.missing = [t for t in targets if t not in report.sources and tied.get(t) not in report.sources]
    return report


def _match(
    model: nn.Module,
    targets: Mapping[str, Tensor],
    tied: dict[str, str],
    names: Iterable[str],
    weights: Weights | Mapping[str, Tensor] | None = None,
) -> Matches:
    """Which tensors make which parameters; of two that are tied, the source is the one to fill.

    Files of T5 1.1 and others hold both, with values of their own, whatever the configuration says of ties. Such ones
    leave `tied`, and the model remembers them.
    """
    variant, config = getattr(model, "variant", None), getattr(model, "config", None)
    prefix = getattr(model, "base_model_prefix", "")
    matches = match_names(targets, names, variant.keys if variant else (), prefix, config)
    if variant and variant.ignores and matches.unexpected:
        useless = re.compile(variant.ignores(config))
        matches.unexpected = [name for name in matches.unexpected if not useless.search(name)]
    for target, source in list(tied.items()):
        piece, other = matches.pieces.pop(target, None), matches.pieces.get(source)
        if piece is not None and other is not None and isinstance(names, Mapping) and weights is not None:
            one, two = (_tensor(p, names, weights) for p in (piece, other))
            if one.shape != two.shape or not torch.equal(one, two):
                matches.pieces[target] = piece
                del tied[target]
                model.apart = frozenset((*model.apart, target))  # type: ignore[operator, misc, assignment]
                continue
        if piece is not None and source in targets:
            matches.pieces.setdefault(source, piece)
    for target, other in getattr(model, "read_from", {}).items():
        name = next((n for n in (other, other.removeprefix(f"{prefix}.")) if n in matches.unexpected), None)
        if target not in matches.pieces and name is not None:
            matches.pieces[target] = Piece((name,))
            matches.unexpected.remove(name)
    passed = getattr(model, "passes_over", ())
    matches.unexpected = [n for n in matches.unexpected if n.removeprefix(f"{prefix}.").split(".", 1)[0] not in passed]
    return matches


def _tensor(piece: Piece, renamed: Mapping[str, str], weights: Weights | Mapping[str, Tensor]) -> Tensor:
    """What a parameter is made of."""
    read = weights.read if isinstance(weights, Weights) else weights.__getitem__
    tensors = [read(renamed[source]) for source in piece.sources]
    return tensors[0] if piece.combine is None else piece.combine(tensors)


def _renamed(names: list[str], key_mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Name after the caller's own renames -> name in the file."""
    if not key_mapping:
        return {name: name for name in names}
    out = {}
    for name in names:
        new = name
        for pattern, replacement in key_mapping.items():
            new = re.sub(pattern, replacement, new)
        out[new] = name
    return out


def _slots(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and saved buffers, each name once per place it stands in."""
    for path, module in model.named_modules():
        dot = f"{path}." if path else ""
        for name, p in module._parameters.items():
            if p is not None:
                yield dot + name, p
        for name, b in module._buffers.items():
            if b is not None and name not in module._non_persistent_buffers_set:
                yield dot + name, b


def _tied(model: nn.Module) -> dict[str, str]:
    return model.tied_weights if isinstance(model, PreTrainedModel) else {}


def _part_of(slot: Tensor) -> tuple[slice, ...] | None:
    """This process's part of a parameter that is cut over several; None for a whole one."""
    if not hasattr(slot, "placements"):
        return None
    from autoload import sharding

    return sharding.own_part(slot)  # type: ignore[arg-type]


class _Putter:
    """Puts tensors into the places of a skeleton."""

    def __init__(
        self,
        model: nn.Module,
        targets: Mapping[str, Tensor],
        dtype: torch.dtype | None,
        device: torch.device | Callable[[str], torch.device] | None,
    ):
        self.model, self.targets, self.dtype, self.device = model, targets, dtype, device
        self.keep_fp32: tuple[str, ...] = tuple(getattr(model, "keep_fp32", ()))
        if dtype == torch.float16:
            self.keep_fp32 += tuple(getattr(model, "keep_fp32_in_fp16", ()))
        self.modules = dict(model.named_modules())

    def dtype_of(self, target: str, tensor: Tensor) -> torch.dtype:
        if not tensor.is_floating_point() or self.dtype is None:
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
        expected = tuple(self.targets[target].shape)
        if piece.combine is None and isinstance(weights, Weights):
            found = weights.entries[piece.sources[0]].shape  # known without reading it
            if found != expected:
                return found, expected
        slot = self.targets[target]
        cut = _part_of(slot)
        if cut is not None and piece.combine is None:
            source = piece.sources[0]
            own = weights.read(source, cut) if isinstance(weights, Weights) else weights[source][cut]
            self.fill(slot, own)
            return None
        read = weights.read if isinstance(weights, Weights) else weights.__getitem__
        tensors = [read(source) for source in piece.sources]
        if piece.combine is None:
            tensor = tensors[0]
        else:
            try:
                tensor = piece.combine(tensors)
            except (RuntimeError, ValueError, IndexError) as e:
                text = f"{where}: {', '.join(piece.sources[:3])} cannot be joined into {target}: {e}"
                raise WeightsError(text, mismatched=[target]) from e
        if tuple(tensor.shape) != expected:
            return tuple(tensor.shape), expected
        if self.targets[target].is_floating_point() and not tensor.is_floating_point():
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


def _judge(
    model: nn.Module,
    report: LoadingReport,
    strict: Strict,
    ignore_mismatched: bool,
    remade: set[int],
    prefix: str,
    where: str,
    mismatched: set[str],
    count: int,
    claimed: bool,
) -> None:
    """Raise where the weights do not fit under the rule that was asked for; `claimed`: files say they have the head."""
    targets = [name for name, _ in _slots(model)]
    missing = [name for name in report.missing if name not in mismatched]
    bad_shapes = [
        (name, found, expected)
        for name, found, expected in report.mismatched
        if not ignore_mismatched and not (_is_head(model, name, prefix) and expected and expected[0] in remade)
    ]
    if bad_shapes:
        shown = "; ".join(f"{name}: {list(f)} in the file, {list(e)} in the model" for name, f, e in bad_shapes[:6])
        more = f" (and {len(bad_shapes) - 6} more)" if len(bad_shapes) > 6 else ""
        if all(_is_head(model, name, prefix) for name, *_ in bad_shapes):
            remedy = "Pass num_labels=... of the checkpoint, or ignore_mismatched_sizes=True to make this head new."
        else:
            remedy = "The configuration does not describe this checkpoint. Use the config.json that belongs to it."
        raise WeightsError(f"{where}: shapes differ: {shown}{more}. {remedy}", mismatched=bad_shapes)
    if targets and not report.sources and strict is not False:
        raise WeightsError(
            f"{where}: none of its {count} tensors belongs to a {type(model).__name__}: found "
            f"{', '.join(report.unexpected[:4]) or 'nothing'} ..., expected {', '.join(targets[:4])} ... "
            "Check that config.json and weights are of one model; key_mapping={pattern: replacement} renames tensors.",
            missing=missing,
            unexpected=report.unexpected,
        )
    if strict is False:
        return
    wrong = missing if strict is True else _backbone(model, missing, targets, prefix, claimed)
    if wrong:
        names = ", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise WeightsError(
            f"{where}: {len(wrong)} of {len(targets)} parameters of {type(model).__name__} are missing: {names}. "
            "Pass strict=False to fill them with random values.",
            missing=wrong,
            unexpected=report.unexpected,
        )
    if strict is True and report.unexpected:
        names = ", ".join(report.unexpected[:8])
        raise WeightsError(
            f"{where}: {len(report.unexpected)} tensors have no place in {type(model).__name__}: {names}.",
            missing=[],
            unexpected=report.unexpected,
        )


def _is_head(model: nn.Module, name: str, prefix: str) -> bool:
    return prefix in model._modules and not name.startswith(prefix + ".")


def _claims(model: nn.Module) -> bool:
    """Whether the configuration says that the files were saved from a model of this very class."""
    return type(model).__name__ in (getattr(getattr(model, "config", None), "architectures", None) or ())


def _backbone(model: nn.Module, missing: list[str], targets: list[str], prefix: str, claimed: bool) -> list[str]:
    """Missing parameters that are an error: of the backbone, or of a head that is partly there or said to be there."""
    base = model._modules.get(prefix)  # what it may lack, a model with a head around it may lack too
    may_lack = (*getattr(model, "may_lack", ()), *getattr(base, "may_lack", ()))
    absent, wrong = {*missing, *_tied(model)}, []  # a matrix that is another one says nothing of its head
    for name in missing:
        bare = name[len(prefix) + 1 :] if name.startswith(prefix + ".") else name
        if any(bare == part or bare.startswith(part + ".") or name.startswith(part + ".") for part in may_lack):
            continue
        if _added(name, absent, targets):
            continue
        if _is_head(model, name, prefix) and not claimed:
            group = name.split(".", 1)[0]
            if all(t in absent for t in targets if t.split(".", 1)[0] == group):
                continue
        wrong.append(name)
    return wrong


# Parts of layers that look at an encoder; a configuration may add them to a model that was trained without.
CROSS = frozenset(("crossattention", "ln_cross_attn", "encoder_attn", "encoder_attn_layer_norm"))


def _added(name: str, absent: set[str], targets: list[str]) -> bool:
    """Whether a parameter is part of cross-attention, none of which the file has."""
    return not CROSS.isdisjoint(name.split(".")) and all(
        t in absent for t in targets if not CROSS.isdisjoint(t.split("."))
    )


def _announce(report: LoadingReport, model: nn.Module, where: str) -> None:
    if report.unwrapped:
        logger.warning(
            "%s: the names carry a training wrapper's prefix (module., _orig_mod.), which was taken away.", where
        )
    if report.missing:
        other = {
            name: f" (the file's is {list(shape)}, asked for is {list(own)})" for name, shape, own in report.mismatched
        }
        names = ", ".join(n + other.get(n, "") for n in report.missing[:12]) + (
            " ..." if len(report.missing) > 12 else ""
        )
        logger.warning(
            "%s: %s has new parameters with random values, train them before use: %s",
            where,
            type(model).__name__,
            names,
        )


def choose_dtype(dtype: Any, config: Any, weights: Weights | None) -> torch.dtype | None:
    """What `dtype=` means: "auto" is the configuration's, else the index's, else that of the first floating tensor.

    Raises:
        ConfigError, ArgumentError: no floating dtype has that name.
    """
    if dtype is None or dtype == "auto":
        named = config.__dict__.get("dtype") if hasattr(config, "__dict__") else None
        if named is None and weights is not None:
            named = weights.metadata_dtype
        if named is not None:
            return _floating(torch_dtype(named), named)
        return weights.floating_dtype() if weights is not None else None
    if isinstance(dtype, torch.dtype):
        return _floating(dtype, dtype)
    try:
        return _floating(torch_dtype(dtype), dtype)
    except ConfigError as e:
        raise ArgumentError(f"dtype is {dtype!r}, expected {e.expected} or 'auto'.", name="dtype") from None


def _floating(dtype: torch.dtype | None, given: Any) -> torch.dtype | None:
    if dtype is not None and not dtype.is_floating_point:
        raise ConfigError("dtype", given, "a floating dtype", where="argument")
    return dtype
