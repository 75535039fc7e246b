"""Valid files, changed at random: byte by byte and field by field.

Whatever the change, a load ends with the values that the file has, as the library that owns its format reads them, or
with one error of `autoload.errors`; within five seconds and a gigabyte, and without a file left behind. A few changes are
tried in every run of the tests; `-m fuzz` tries as many as FUZZ_EXAMPLES says, other ones each time, and prints the seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.damaged.worker import Watched

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

MANY = int(os.environ.get("FUZZ_EXAMPLES", "600"))
NONSENSE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"),
    "", " ", "x", "0", "../x", "/etc/passwd", "a\0b", "\ud800", "é" * 300, "{{ 1 }}", "torch.float16", "float16",
    [], [None], [[]], [1, 2, 3], ["a"] * 50, {}, {"a": {}}, {"": None}, {"content": "x"}, {"type": "x"},
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A file of a healthy model, and how that is loaded."""

    base: str
    name: str
    load: str


TARGETS = {
    "config": Target("bert", "config.json", "model"),
    "llama-config": Target("llama", "config.json", "model"),
    "safetensors": Target("bert", "model.safetensors", "model"),
    "head-safetensors": Target("llama", "model.safetensors", "model"),
    "pickle": Target("pickle", "pytorch_model.bin", "model"),
    "index": Target("sharded", "model.safetensors.index.json", "model"),
    "generation": Target("llama", "generation_config.json", "model"),
    "tokenizer": Target("bert", "tokenizer.json", "tokenizer"),
    "bpe-tokenizer": Target("llama", "tokenizer.json", "tokenizer"),
    "tokenizer-config": Target("bert", "tokenizer_config.json", "tokenizer"),
    "special-tokens": Target("vocab", "special_tokens_map.json", "tokenizer"),
    "vocab.txt": Target("vocab", "vocab.txt", "tokenizer"),
    "vocab.json": Target("gpt2", "vocab.json", "tokenizer"),
    "merges": Target("gpt2", "merges.txt", "tokenizer"),
    "sentencepiece": Target("spm", "spiece.model", "tokenizer"),
    "tekken": Target("tekken", "tekken.json", "tokenizer"),
    "template": Target("llama", "chat_template.jinja", "chat"),
}
WITH_FIELDS = [name for name, target in TARGETS.items() if target.name.endswith((".json", ".safetensors"))]


@pytest.fixture(scope="module")
def worker() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


# -- changes


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """One to three changes: bits, bytes, pieces cut out, doubled or put in, the end cut off."""
    head = draw(st.booleans())  # headers and syntax are at the beginning
    for _ in range(draw(st.integers(1, 3))):
        end = min(len(data), 400) if head else len(data)
        at, span = draw(st.integers(0, max(end - 1, 0))), draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["bit", "byte", "digit", "cut", "double", "insert", "truncate"]))
        if kind == "bit" and data:
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == "byte":
            data = data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
        elif kind == "digit":  # still the same syntax, mostly
            places = [i for i in range(at, min(at + 2000, len(data))) if data[i : i + 1].isdigit()]
            if places:
                data = (
                    data[: places[0]] + draw(st.sampled_from([b"0", b"1", b"9", b"-1", b"99"])) + data[places[0] + 1 :]
                )
        elif kind == "cut":
            data = data[:at] + data[at + span :]
        elif kind == "double":
            data = data[: at + span] + data[at:]
        elif kind == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
        else:
            data = data[:at]
    return data


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key in a JSON document."""
    found = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        found += places(value[key])
    return found


@st.composite
def changed_fields(draw: st.DrawFn, content: Any) -> Any:
    """One to three fields with another value, without one, or under another name."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        spots = places(content)
        if not spots:
            return content
        holder, key = draw(st.sampled_from(spots))
        kind = draw(st.sampled_from(["set", "set", "set", "number", "drop", "rename", "swap"]))
        if kind == "set":
            holder[key] = json.loads(json.dumps(draw(st.sampled_from(NONSENSE))))
        elif kind == "number":
            holder[key] = draw(st.integers(-(2**66), 2**66) | st.floats())
        elif kind == "drop":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "", "../x", key + "_"]))] = holder.pop(key)
        elif kind == "swap":
            other, place = draw(st.sampled_from(spots))
            holder[key], other[place] = json.loads(json.dumps([other[place], holder[key]]))
    return content


# -- judgement


def judge(result: dict[str, Any], target: Target, changed: Any) -> None:
    assert result["outcome"] in ("loads", "error"), result
    assert result["stray"] == []
    if result["outcome"] == "error":
        kind = result["kinds"][0]
        assert "autoload.errors.AutoloadError" in result["kinds"], f"{kind}: {result['text']}"
        assert len(result["text"]) < 1500 and "weights_only" not in result["text"]
        return
    if target.load == "model":
        check_weights(result["value"], result["expected"], changed)
    elif result["expected"] is not None and target.name == "tokenizer.json":
        assert result["value"] == result["expected"], (result["value"], result["expected"])


def check_weights(value: dict[str, str], expected: dict[str, str] | None, changed: Any) -> None:
    """Every parameter has the bits of the tensor in the file, unless the configuration asks for another dtype."""
    assert expected is not None, "loads what the owner of the format refuses"
    asked = {changed.get("dtype"), changed.get("torch_dtype")} - {None} if isinstance(changed, dict) else set()
    for name, found in value.items():
        if name.startswith("pooler.") and not {"pooler.dense.weight", "pooler.dense.bias"} & {*expected}:
            continue  # BERTs without one are common: it is made new, with a warning
        if ".crossattention." in name and isinstance(changed, dict) and changed.get("add_cross_attention"):
            continue  # so is this, for decoders made of models that were trained alone
        assert name in expected, f"{name} is in no file"
        if found != expected[name]:
            dtype = found.split(" torch.")[1].split(" ")[0]
            assert dtype in {str(a).removeprefix("torch.") for a in asked} | {"float64" if "double" in asked else dtype + "!"}, (
                name, found, expected[name])  # fmt: skip


def try_bytes(worker: Watched, folder: Path, target: Target, data: bytes, changed: Any = None) -> None:
    fresh = folder.parent / "fresh"
    fresh.write_bytes(data)
    os.replace(fresh, folder / target.name)
    note(f"{target.name}: {data[:1500]!r}")
    judge(worker.ask({"folder": str(folder), "base": target.base, "load": target.load}), target, changed)


def run_bytes(worker: Watched, target: Target, examples: int, repeat: bool) -> None:
    folder = worker.copy(target.base)
    healthy = (folder / target.name).read_bytes()

    @settings(max_examples=examples, deadline=None, derandomize=repeat, database=None, suppress_health_check=list(HealthCheck), print_blob=True)  # fmt: skip
    @given(changed_bytes(healthy))
    def trial(data: bytes) -> None:
        try_bytes(worker, folder, target, data, parsed(data))

    trial()


def run_fields(worker: Watched, target: Target, examples: int, repeat: bool) -> None:
    folder = worker.copy(target.base)
    data = (folder / target.name).read_bytes()
    binary = target.name.endswith(".safetensors")
    length = int.from_bytes(data[:8], "little") if binary else 0
    content = json.loads(data[8 : 8 + length] if binary else data)

    @settings(max_examples=examples, deadline=None, derandomize=repeat, database=None, suppress_health_check=list(HealthCheck), print_blob=True)  # fmt: skip
    @given(changed_fields(content))
    def trial(changed: Any) -> None:
        text = json.dumps(changed).encode()
        whole = len(text).to_bytes(8, "little") + text + data[8 + length :] if binary else text
        try_bytes(worker, folder, target, whole, changed)

    trial()


def parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_changed_bytes(worker: Watched, name: str) -> None:
    run_bytes(worker, TARGETS[name], 20, repeat=True)


@pytest.mark.parametrize("name", WITH_FIELDS)
def test_a_few_changed_fields(worker: Watched, name: str) -> None:
    run_fields(worker, TARGETS[name], 20, repeat=True)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", TARGETS)
def test_many_changed_bytes(worker: Watched, name: str) -> None:
    run_bytes(worker, TARGETS[name], MANY, repeat=False)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", WITH_FIELDS)
def test_many_changed_fields(worker: Watched, name: str) -> None:
    run_fields(worker, TARGETS[name], MANY, repeat=False)
