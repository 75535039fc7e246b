"""Safetensors files: the header, checked against the file's size, and the tensors, mapped into memory or copied."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from autoload.errors import CorruptCheckpoint, reading
from autoload.hub import LFS_POINTER

# dtype names of the format
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
}
MAX_HEADER = 100_000_000  # bytes, as the format's own readers limit it


class Row(NamedTuple):
    """One tensor of a header; `begin` counts from the start of the file."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    begin: int


class TensorFile:
    """A safetensors file. Header and tensors are of one file, even if another takes its name meanwhile.

    The tensors are slices of one private mapping, as the format's own reader makes them; that one keeps two small objects
    for every tensor that was ever read, which a server that loads again and again would notice.

    Raises:
        CorruptCheckpoint: the file is empty, truncated, a git-lfs pointer, or its header does not describe it.
    """

    def __init__(self, path: Path):
        self.path = path
        with reading(path, "weights file", CorruptCheckpoint), open(path, "rb") as f:

            def first(count: int) -> bytes:
                f.seek(0)
                return f.read(count)

            size = os.fstat(f.fileno()).st_size
            self.rows = parse_header(first, size, str(path))
            same = f"/proc/self/fd/{f.fileno()}"
            self._bytes = torch.UntypedStorage.from_file(same if os.path.exists(same) else str(path), False, size)

    def read(self, name: str) -> Tensor:
        """The tensor, in the mapped memory."""
        shape, dtype, begin = self.rows[name]
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype, device="cpu")
        storage: Any = self._bytes[begin : begin + size]
        if begin % dtype.itemsize:  # numbers that lie across the boundaries that processors like
            storage = storage.clone()
        return torch.empty(0, dtype=dtype, device="cpu").set_(storage, 0, shape)  # type: ignore[call-overload]


def parse_header(first: Callable[[int], bytes], size: int, where: str) -> dict[str, Row]:
    """The header of a file that need not be here: `first` gives so many of its bytes, `size` is all it has."""

    def damaged(reason: str) -> CorruptCheckpoint:
        return CorruptCheckpoint(f"{where}: {reason}.", path=where)

    start = first(40)
    if start.startswith(LFS_POINTER[:32]):
        raise lfs_pointer(where)
    if len(start) < 8:
        raise damaged(f"found {size} bytes, expected at least the 8 that a safetensors file begins with")
    (length,) = struct.unpack("<Q", start[:8])
    if length > min(MAX_HEADER, size - 8):
        raise damaged(f"its header claims {length} bytes, expected no more than the file has ({size})")
    text = first(8 + length)[8:].decode("utf-8")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise damaged(f"its header is {type(header).__name__}, expected a JSON object")
    metadata = header.pop("__metadata__", None)
    if text.count('"data_offsets"') != len(header) and (twice := _repeated(text)) is not None:
        raise damaged(f"its header has {twice!r} twice, expected each name once")
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(f"its __metadata__ is {str(metadata)[:80]!r}, expected an object of texts")
    found: dict[str, Row] = {}
    spans: list[tuple[int, int]] = []
    for name, tensor in header.items():
        try:
            dtype, shape, (begin, end) = tensor["dtype"], tuple(tensor["shape"]), tensor["data_offsets"]
            if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise damaged(
                f"its header does not describe the tensor {name!r}, expected dtype, shape and data_offsets"
            ) from None
        if dtype not in DTYPES:
            raise damaged(f"tensor {name!r} has the dtype {dtype!r}, expected one of {', '.join(DTYPES)}")
        count = math.prod(shape)
        if end - begin != count * DTYPES[dtype].itemsize:
            expected = f"{count * DTYPES[dtype].itemsize} for {dtype}"
            raise damaged(f"tensor {name!r} of shape {list(shape)} takes {end - begin} bytes, expected {expected}")
        found[name] = Row(shape, DTYPES[dtype], 8 + length + begin)
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise damaged(f"its tensors overlap or leave gaps: one begins at {begin}, expected {at}")
        at = end
    if 8 + length + at != size:
        raise damaged(f"expected {8 + length + at} bytes by its header, found {size}")
    return found


def _repeated(header: str) -> str | None:
    """A name that stands twice in one object: which of the two counts, readers do not agree on."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        found.extend(name for name in names if names.count(name) > 1)

    json.loads(header, object_pairs_hook=look)
    return found[0] if found else None


def lfs_pointer(where: str) -> CorruptCheckpoint:
    """The error for a file that git-lfs has not fetched."""
    text = f"{where}: this is a git-lfs pointer, not the weights."
    return CorruptCheckpoint(text, path=where, remedy="Run `git lfs pull`.")
