"""How cost grows: with the number of tensors, of shards, of known model types."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.checkpoints import packages
from tests.bench.row import in_turn

Curve = dict[str, list[tuple[int, float]]]  # name -> (number, seconds)
TENSORS, SHARDS, TYPES = (100, 1_000, 5_000, 20_000), (1, 10, 50, 200), (1, 10, 100, 1_000)
SMALL = dict(vocab_size=16, hidden_size=8, intermediate_size=8, num_attention_heads=1, num_key_value_heads=1)
PER_LAYER = 9  # tensors of a Llama's layer


def _loads(folder: str, runs: int, clock: Callable[[], float]) -> dict[str, float]:
    functions = {
        key: lambda package=package: package.AutoModel.from_pretrained(folder) for key, package in packages().items()
    }
    return {key: median(values) for key, values in in_turn(functions, runs, clock).items()}


def _llama(layers: int) -> Any:
    import autoload

    return autoload.AutoModel.from_config(autoload.AutoConfig.for_model("llama", num_hidden_layers=layers, **SMALL))


def by_tensors(runs: int, clock: Callable[[], float]) -> Curve:
    """Loading a Llama of more and more layers, from one file."""
    curve: Curve = {}
    for count in TENSORS:
        with tempfile.TemporaryDirectory() as folder:
            _llama(count // PER_LAYER).save_pretrained(folder)
            for key, seconds in _loads(folder, runs, clock).items():
                curve.setdefault(key, []).append((count, seconds))
    return curve


def by_shards(runs: int, clock: Callable[[], float]) -> Curve:
    """Loading a Llama of 2,000 tensors from more and more files."""
    model, curve = _llama(2_000 // PER_LAYER), {}
    for count in SHARDS:
        with tempfile.TemporaryDirectory() as folder:
            size = model.get_memory_footprint() // count + 1
            model.save_pretrained(folder, **({"max_shard_size": size} if count > 1 else {}))
            found = len(list(Path(folder).glob("*.safetensors")))
            for key, seconds in _loads(folder, runs, clock).items():
                curve.setdefault(key, []).append((found, seconds))
    return curve


def by_types(runs: int, clock: Callable[[], float]) -> Curve:
    """Looking one type up, with more and more types that a user registered. Runs last: it leaves them behind."""
    from autoload import registry

    points, known = [], 0
    for count in TYPES:
        for index in range(known, count):
            registry.register(f"bench-{index}", config="autoload:BertConfig", heads={"Model": "autoload:BertModel"})
        known = count
        look = in_turn({"": lambda: [registry.resolve("bert", "Model") for _ in range(1_000)].clear()}, runs, clock)
        points.append((count, median(look[""]) / 1_000))
    return {"autoload": points}


CURVES: dict[str, Callable[[int, Callable[[], float]], Curve]] = {
    "load time by number of tensors": by_tensors,
    "load time by number of shards": by_shards,
    "look-up time by number of registered types": by_types,
}
