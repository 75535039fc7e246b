"""Safetensors files, read as the format's own library reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

from autoload.tensorfile import DTYPES, TensorFile
from tests.damaged.cases import safetensors


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    one, other = (t.reshape(-1).view(torch.uint8) if t.numel() else t for t in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(one, other)


@pytest.mark.parametrize("odd", [0, 1, 3], ids=["aligned", "odd by one", "odd by three"])
def test_every_dtype_wherever_it_lies(tmp_path: Path, odd: int) -> None:
    tensors = {"first": ("U8", [odd], os.urandom(odd))}
    for name, dtype in DTYPES.items():
        size = 6 * dtype.itemsize
        tensors[name] = (name, [2, 3], bytes(size) if name == "BOOL" else os.urandom(size))
    tensors |= {"empty": ("F32", [0, 4], b""), "number": ("F16", [], b"\0\x3c")}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(tensors))
    expected, file = load(path.read_bytes()), TensorFile(path)
    assert {*file.rows} == {*expected} == {*tensors}
    for name, tensor in expected.items():
        found = file.read(name)
        assert same(found, tensor), name
        assert found.untyped_storage().nbytes() == tensor.nbytes, "a tensor holds its own bytes alone"
        assert not found.numel() or found.data_ptr() % found.dtype.itemsize == 0


def test_header_and_tensors_are_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4), "b": torch.zeros(2)}, path)
    file = TensorFile(path)
    save_file({"a": torch.full((4,), 7.0)}, tmp_path / "new.safetensors")
    os.replace(tmp_path / "new.safetensors", path)
    assert torch.equal(file.read("a"), torch.ones(4)) and torch.equal(file.read("b"), torch.zeros(2))
    assert torch.equal(TensorFile(path).read("a"), torch.full((4,), 7.0))


def test_a_change_of_a_tensor_stays_in_this_process(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4)}, path)
    before = path.read_bytes()
    file = TensorFile(path)
    tensor = file.read("a")
    del file
    tensor.fill_(3)
    assert path.read_bytes() == before and torch.equal(tensor, torch.full((4,), 3.0))


def test_another_default_device_is_of_no_concern(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4), "b": torch.ones(0)}, path)
    with torch.device("meta"):
        file = TensorFile(path)
        assert file.read("a").device.type == file.read("b").device.type == "cpu"
