"""A model over two processes gives what one process gives, reads its slices only, and saves one whole checkpoint."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import autoload
from autoload.errors import ArgumentError
from tests.checkpoints import same_weights, saved

SIZES = dict(num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)


def ids() -> torch.Tensor:
    return torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def member(rank: int, port: int, work: Any, arguments: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        work(rank, *arguments)
    finally:
        dist.destroy_process_group()


def two_processes(work: Any, *arguments: Any) -> None:
    mp.spawn(member, (free_port(), work, arguments), nprocs=2)  # type: ignore[attr-defined]


def load(path: Path, how: str, **keywords: Any) -> Any:
    """Over two processes: "tp", "fsdp", or "both" on a mesh of one by two."""
    from torch.distributed.device_mesh import init_device_mesh

    if how == "auto":
        keywords["tp_plan"] = "auto"
    else:
        shape, names = ((1, 2), ("fsdp", "tp")) if how == "both" else ((2,), (how,))
        keywords["device_mesh"] = init_device_mesh("cpu", shape, mesh_dim_names=names)
    return autoload.AutoModelForCausalLM.from_pretrained(path, **keywords)


def same_as_one(rank: int, path: Path, how: str) -> None:
    read: list[tuple[int, int]] = []
    from autoload.weights import Weights

    plain = Weights.read

    def counting(self: Any, name: str, part: Any = None) -> torch.Tensor:
        tensor = plain(self, name, part)
        read.append((tensor.numel(), torch.Size(self.entries[name].shape).numel()))
        return tensor

    Weights.read = counting  # type: ignore[method-assign]
    model = load(path, how)
    Weights.read = plain  # type: ignore[method-assign]
    one = autoload.AutoModelForCausalLM.from_pretrained(path)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, one)]
    taken, whole = (sum(numbers) for numbers in zip(*read, strict=True))
    assert taken < 0.8 * whole, (taken, whole)  # embeddings and norms are whole under tensor parallelism
    if how == "fsdp":
        assert taken < 0.55 * whole
    assert torch.allclose(model(ids()).logits, one(ids()).logits, atol=1e-5)
    options: Any = dict(max_new_tokens=5, do_sample=False, eos_token_id=None)
    assert torch.equal(model.generate(ids(), **options), one.generate(ids(), **options))
    assert model.loading_report.missing == []
    for m in (model, one):
        m.train()(input_ids=ids(), labels=ids()).loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    assert torch.allclose(model.eval()(ids()).logits, one.eval()(ids()).logits, atol=1e-4)
    assert not torch.allclose(one(ids()).logits, autoload.AutoModelForCausalLM.from_pretrained(path)(ids()).logits)
    model.save_pretrained(path.parent / "saved")
    again = autoload.AutoModelForCausalLM.from_pretrained(path.parent / "saved", strict=True)
    assert torch.allclose(again(ids()).logits, one(ids()).logits, atol=1e-4)


@pytest.mark.parametrize(
    ("model_type", "how"), [("llama", "tp"), ("llama", "fsdp"), ("llama", "both"), ("qwen3", "auto")]
)
def test_two_processes(tmp_path: Path, model_type: str, how: str) -> None:
    sizes = dict(SIZES, vocab_size=60, hidden_size=16, num_hidden_layers=2, intermediate_size=20, head_dim=4)
    two_processes(same_as_one, saved(tmp_path / "whole", model_type, "CausalLM", **sizes), how)


def test_tied_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole", "llama", "CausalLM", tie_word_embeddings=True, **SIZES)
    two_processes(tied, path)


def tied(rank: int, path: Path) -> None:
    one = autoload.AutoModelForCausalLM.from_pretrained(path)
    for how in ("tp", "fsdp"):
        model = load(path, how)
        assert torch.allclose(model(ids()).logits, one(ids()).logits, atol=1e-5), how
        model.save_pretrained(path.parent / how)
        assert same_weights(autoload.AutoModelForCausalLM.from_pretrained(path.parent / how), one)


def refused(rank: int, path: Path, odd: Path) -> None:
    with pytest.raises(ArgumentError, match="has no plan for tensor parallelism"):
        load(path, "tp")
    with pytest.raises(ArgumentError, match="3 heads cannot be cut for 2 processes"):
        load(odd, "auto")
    with pytest.raises(ArgumentError, match="expected 'auto'"):
        autoload.AutoModelForCausalLM.from_pretrained(odd, tp_plan="colwise")
    with pytest.raises(ArgumentError, match="not both"):
        autoload.AutoModelForCausalLM.from_pretrained(odd, tp_plan="auto", device_map="cpu")
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("pp",))
    with pytest.raises(ArgumentError, match="expected 'tp' or 'fsdp' or both"):
        autoload.AutoModelForCausalLM.from_pretrained(odd, device_mesh=mesh)


def test_refusals(tmp_path: Path) -> None:
    odd = dict(num_attention_heads=3, num_key_value_heads=3, hidden_size=18, head_dim=6)
    two_processes(
        refused, saved(tmp_path / "gpt2", "gpt2", "CausalLM"), saved(tmp_path / "odd", "llama", "CausalLM", **odd)
    )


def test_without_processes(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="Start the program with torchrun"):
        autoload.AutoModelForCausalLM.from_pretrained(saved(tmp_path, "llama", "CausalLM"), tp_plan="auto")


def test_torchrun(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole", "llama", "CausalLM", **SIZES)
    program = tmp_path / "program.py"
    program.write_text(
        "import os, pathlib, torch, autoload\n"
        f"model = autoload.AutoModelForCausalLM.from_pretrained({str(path)!r}, tp_plan='auto')\n"
        "total = float(model(torch.arange(3, 12)[None]).logits.sum())\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).write_text(str(total))\n"
        "torch.distributed.barrier()  # torch may abort where one process leaves while another still talks to it\n"
        "torch.distributed.destroy_process_group()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    one = autoload.AutoModelForCausalLM.from_pretrained(path)
    expected = float(one(torch.arange(3, 12)[None]).logits.sum().detach())
    for rank in ("0", "1"):
        assert float((tmp_path / rank).read_text()) == pytest.approx(expected, abs=1e-3)
