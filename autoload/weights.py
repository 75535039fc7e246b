"""The files that hold weights: which there are, and which tensor lies in which; read without running code from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autoload.errors import CorruptCheckpoint, reading
from autoload.hub import LFS_POINTER, Files, confined, read_json
from autoload.tensorfile import TensorFile, lfs_pointer


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
        file = self._open[self.entries[name].file]
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
