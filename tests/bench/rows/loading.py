"""Loading weights that the disk's cache holds, and saving them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.checkpoints import drop, made, packages
from tests.bench.row import Goal, Row, Times, in_turn

Clock = Callable[[], float]


def tensors(folder: str) -> Iterator[tuple[str, Any]]:
    """Names and mapped tensors of all files: the least that a loader has to do."""
    from safetensors import safe_open

    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            for name in f.keys():
                yield name, f.get_tensor(name)


def _loads(
    name: str, stored: str, shards: int, task: str, limit: Callable[[str], Any], use: bool = False, **keywords: Any
):
    def measure(runs: int, clock: Clock) -> Times:
        import torch

        folder = made(name, stored, shards, task)
        ids = torch.tensor([[1, 2, 3]])

        def load(package: Any) -> Any:
            found = {key: getattr(torch, value) for key, value in keywords.items()}
            model = getattr(package, f"AutoModel{task}").from_pretrained(folder, **found)
            with torch.no_grad():
                return model(input_ids=ids) if use else model

        functions = {key: lambda package=package: load(package) for key, package in packages().items()}
        times = in_turn({"limit": lambda: limit(folder), **functions}, runs, clock)
        drop(folder)
        return times

    return measure


def opened(folder: str) -> Any:
    return dict(tensors(folder))


def read_through(folder: str) -> Any:
    """Every weight is read once, as a forward pass does."""
    import torch

    return [tensor.view(torch.int16).max() for _, tensor in tensors(folder)]


def cast_to(dtype: str) -> Callable[[str], Any]:
    def cast(folder: str) -> Any:
        import torch

        return [tensor.to(getattr(torch, dtype)) for _, tensor in tensors(folder)]

    return cast


def copied(folder: str) -> Any:
    """One copy of every weight."""
    return [tensor.clone() for _, tensor in tensors(folder)]


def _saves(runs: int, clock: Clock) -> Times:
    import torch

    folder = made("llama-1b", "bfloat16")
    with tempfile.TemporaryDirectory() as out:
        models = {key: package.AutoModelForCausalLM.from_pretrained(folder) for key, package in packages().items()}
        data = b"".join(path.read_bytes() for path in Path(folder).glob("*.safetensors"))

        def write() -> None:  # beside the old bytes, as a save that can be interrupted must
            fresh = Path(out) / "fresh"
            with open(fresh, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.replace(fresh, Path(out) / "bytes")

        saves = {
            key: lambda key=key, model=model: model.save_pretrained(Path(out) / key) for key, model in models.items()
        }
        with torch.no_grad():
            times = in_turn({"limit": write, **saves}, max(2, runs // 2), clock)
    drop(folder)
    return times


ROWS = [
    Row(
        "reload-1b",
        "Llama 1.1 B bf16 in 3 shards, loaded again; limit: mapping its tensors",
        Goal(0.0, plus=0.015),
        _loads("llama-1b", "bfloat16", 3, "ForCausalLM", opened),
    ),
    Row(
        "reload-1b-use",
        "the same and a forward pass; limit: reading every weight once",
        Goal(1.0, "reference"),
        _loads("llama-1b", "bfloat16", 3, "ForCausalLM", read_through, use=True),
    ),
    Row(
        "reload-bert",
        "BERT-base fp32, loaded again; limit: mapping its tensors",
        Goal(2.0),
        _loads("bert-base", "float32", 1, "", opened),
    ),
    Row(
        "reload-gpt2",
        "GPT-2 fp32, loaded again; limit: mapping its tensors",
        Goal(2.0),
        _loads("gpt2", "float32", 1, "ForCausalLM", opened),
    ),
    Row(
        "narrow",
        "1.1 B fp32 file to bf16 in memory; limit: one cast",
        Goal(1.2),
        _loads("llama-1b", "float32", 1, "ForCausalLM", cast_to("bfloat16"), dtype="bfloat16"),
    ),
    Row(
        "widen",
        "1.1 B bf16 file to fp32 in memory; limit: one cast",
        Goal(1.2),
        _loads("llama-1b", "bfloat16", 1, "ForCausalLM", cast_to("float32"), dtype="float32"),
    ),
    Row(
        "experts",
        "Mixtral's 8 experts fused, 2 GB bf16; limit: one copy",
        Goal(1.2),
        _loads("mixtral-8", "bfloat16", 1, "ForCausalLM", copied),
    ),
    Row("save-1b", "Llama 1.1 B bf16, saved; limit: its bytes written, synced and put in place", Goal(1.1), _saves),
]
