"""The damaged models: what is changed in a healthy one, how it is loaded, and what must come of it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Damage = Callable[[Path], object]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
HTML = b"<!DOCTYPE html><html><body>Service unavailable</body></html>\n" * 9
NAME = "embeddings.word_embeddings.weight"
BODY = 60 * 16 * 4  # bytes of that tensor


@dataclass(frozen=True)
class Case:
    """One damaged model. `says`: texts of the error, the file or field first; empty: it loads, with the right values."""

    name: str
    base: str
    damage: Damage
    says: tuple[str, ...] = ()
    error: str = ""  # name of the class in autoload.errors; any of them if empty
    load: str = "model"  # an action of worker.ACTIONS
    keywords: dict[str, Any] = field(default_factory=dict)
    value: Any = None  # what it gives, where that is not what the healthy model gives
    as_nobody: bool = False  # load as a user who may not read everything


# -- ways to damage


def nothing(folder: Path) -> None:
    """The healthy twin."""


def put(name: str, content: bytes | str) -> Damage:
    """Replace a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def remove(*names: str) -> Damage:
    """Delete files."""
    return lambda folder: [(folder / name).unlink() for name in names]


def change(name: str, how: Callable[[bytes], bytes]) -> Damage:
    """Change the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(how((folder / name).read_bytes()))


def edit(name: str, how: Callable[[Any], object]) -> Damage:
    """Change a JSON file."""

    def apply(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        how(value)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")

    return apply


def fields(name: str, **values: Any) -> Damage:
    """Set fields of a JSON file."""
    return edit(name, lambda content: content.update(values))


def both(*damages: Damage) -> Damage:
    """One after the other."""
    return lambda folder: [damage(folder) for damage in damages]


def header(how: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the header of model.safetensors and keep its body."""

    def apply(data: bytes) -> bytes:
        (length,) = struct.unpack("<Q", data[:8])
        content = json.loads(data[8 : 8 + length])
        how(content)
        return raw_header(json.dumps(content).encode(), data[8 + length :])

    return change("model.safetensors", apply)


def raw_header(text: bytes, body: bytes = b"") -> bytes:
    """A safetensors file with this text for a header."""
    return struct.pack("<Q", len(text)) + text + body


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A safetensors file, written by hand: name -> dtype, shape, data."""
    content, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    return raw_header(json.dumps(content).encode(), body)


# -- JSON files

JSON_DAMAGE: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "cut": b'{"model_type": "be',
    "comma": b'{"a": 1,}',
    "quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // note',
    "two": b"{}{}",
    "latin-1": b'{"a": "\xe9"}',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "zeros": b"\0" * 64,
    "deep": b"[" * 100_000,
    "deep-object": b'{"a":' * 50_000,
    "digits": b'{"a": ' + b"9" * 5000 + b"}",
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text": b'"config"',
    "lfs": LFS,
    "html": HTML,
}
JSON_FILES = {  # file -> healthy model, action
    "config.json": ("bert", "model"),
    "tokenizer_config.json": ("bert", "tokenizer"),
    "tokenizer.json": ("bert", "tokenizer"),
    "special_tokens_map.json": ("vocab", "tokenizer"),
    "generation_config.json": ("llama", "model"),
    "model.safetensors.index.json": ("sharded", "model"),
    "vocab.json": ("gpt2", "tokenizer"),
    "tekken.json": ("tekken", "tokenizer"),
}


def json_cases() -> Iterable[Case]:
    for name, (base, load) in JSON_FILES.items():
        for kind, content in JSON_DAMAGE.items():
            yield Case(f"json-{name}-{kind}", base, put(name, content), (name,), load=load)


# -- config.json

FIELDS: list[tuple[str, str, Any]] = [
    *(("bert", "hidden_size", v) for v in (-32, 0, "64", 15.5, [16], 10**12, True, {"a": 1}, 17)),
    *(("bert", "num_attention_heads", v) for v in (0, -4, 3, "2", 10**9)),
    *(("bert", "num_hidden_layers", v) for v in (-1, 10**7, 2.5, "two")),
    *(("bert", "intermediate_size", v) for v in (0, -1, "big", 1e400)),
    *(("bert", "vocab_size", v) for v in (0, -1, 10**12, "60")),
    *(("bert", "max_position_embeddings", v) for v in (0, -24, "many")),
    *(("bert", "type_vocab_size", v) for v in (-1, "two", 10**13)),
    *(("bert", "hidden_act", v) for v in ("gelou", "", 3, ["gelu"], "os.system")),
    *(("bert", "layer_norm_eps", v) for v in ("tiny", -1.0, float("nan"), float("inf"))),
    *(("bert", "hidden_dropout_prob", v) for v in (1.5, -0.1, "half")),
    *(("bert", "initializer_range", v) for v in ("wide", [1])),
    *(("bert", "pad_token_id", v) for v in (9999, "[PAD]", 1.5, -61)),
    *(("bert", "eos_token_id", v) for v in ("x", {"id": 1}, True)),
    *(("bert", "is_decoder", v) for v in ("maybe", 3, [])),
    *(("bert", "id2label", v) for v in (3, {"one": "a"}, "labels")),
    *(("bert", "label2id", v) for v in (7, ["a"])),
    *(("bert", "num_labels", v) for v in (10**12, -1, "two")),
    *(("bert", "dtype", v) for v in ("float99", "int32", 7, "os")),
    *(("bert", "torch_dtype", v) for v in ("float99", [])),
    *(("bert", "problem_type", v) for v in ("guess", 1)),
    *(("bert", "model_type", v) for v in (None, 3, [], "", "../etc", "os.path", "berd")),
    *(("bert", "architectures", v) for v in ("BertModel", 3, [1])),
    *(("llama", "num_key_value_heads", v) for v in (0, -1, 5, "one", 3)),
    *(("llama", "head_dim", v) for v in (0, -8, "wide")),
    *(("llama", "rms_norm_eps", v) for v in ("tiny", -1e-6)),
    *(("llama", "attention_bias", v) for v in ("no", 7)),
    *(("llama", "tie_word_embeddings", v) for v in ("yes", [1])),
    *(("llama", "layer_types", v) for v in (3, ["full_attention"], [1, 2])),
    *(("llama", "rope_theta", v) for v in (-1.0, "big")),
]
ROPES: list[Any] = [
    {"rope_type": "spiral"},
    {"rope_type": 3},
    {"rope_type": "linear"},
    {"rope_type": "linear", "factor": -1},
    {"rope_type": "dynamic", "factor": "two"},
    {"rope_type": "yarn", "factor": 0},
    {"rope_type": "llama3", "factor": 8.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": "a", "high_freq_factor": 4.0},
    {"rope_type": "longrope", "short_factor": 3},
    {"rope_type": "default", "rope_theta": "big"},
    ["linear"],
    "linear",
    7,
]
RENAMED = {"rope_theta": "rope_parameters.rope_theta", "torch_dtype": "dtype"}  # what the error calls it


def config_cases() -> Iterable[Case]:
    for number, (base, name, value) in enumerate(FIELDS):
        damage = fields("config.json", **{name: value})
        if name == "model_type" and value in (None, ""):
            damage = both(damage, fields("config.json", architectures=None))
        if name == "torch_dtype":
            damage = both(edit("config.json", lambda c: c.pop("dtype")), damage)
        if name == "rope_theta":
            damage = both(edit("config.json", lambda c: c.pop("rope_parameters")), damage)
        if name == "num_labels":
            damage = both(damage, fields("config.json", id2label=None))
        yield Case(f"config-{number}-{name}", base, damage, (RENAMED.get(name, name), "config.json"))
    for number, rope in enumerate(ROPES):
        damage = fields("config.json", rope_parameters=rope)
        yield Case(f"config-rope-{number}", "llama", damage, ("rope_parameters", "config.json"), "ConfigError")
    other = both(fields("config.json", model_type="llama", architectures=["LlamaModel"], num_key_value_heads=1))
    yield Case("config-of-another-type", "bert", other, ("none of its",), "WeightsError")
    yield Case("config-missing", "bert", remove("config.json"), ("no config.json", "model.safetensors"), "MissingFile")
    yield Case("config-with-mark", "bert", change("config.json", lambda data: b"\xef\xbb\xbf" + data), ("config.json",))
    wider = fields("config.json", hidden_size=32)
    yield Case("config-wider-than-weights", "bert", wider, (NAME, "[60, 16]", "[60, 32]"), "WeightsError")
    deeper = fields("config.json", num_hidden_layers=5)
    yield Case("config-deeper-than-weights", "bert", deeper, ("encoder.layer.2",), "WeightsError")
    yield Case("config-unknown-fields", "bert", fields("config.json", colour="blue", _x=[1], attn={"a": None}))
    yield Case("config-floats-for-numbers", "bert", fields("config.json", hidden_size=16.0, num_hidden_layers=2.0))
    yield Case("config-inferred-type", "bert", edit("config.json", lambda c: c.pop("model_type")))


# -- safetensors


def swapped_offsets(content: dict[str, Any]) -> None:
    begin, end = content[NAME]["data_offsets"]
    content[NAME]["data_offsets"] = [end, begin]


def overlapping(content: dict[str, Any]) -> None:
    other = next(v for k, v in content.items() if k not in (NAME, "__metadata__") and v["shape"] == [16])
    other["data_offsets"] = [content[NAME]["data_offsets"][0], content[NAME]["data_offsets"][0] + 64]


def twice(data: bytes, other: dict[str, Any]) -> bytes:
    """The header names a tensor twice, the second time with something else."""
    (length,) = struct.unpack("<Q", data[:8])
    content = json.loads(data[8 : 8 + length])
    text = json.dumps(content)[:-1] + f', "{NAME}": {json.dumps(content[NAME] | other)}' + "}"
    return raw_header(text.encode(), data[8 + length :])


FILE_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda d: b"",
    "three-bytes": lambda d: d[:3],
    "eight-bytes": lambda d: d[:8],
    "header-cut": lambda d: d[:40],
    "body-cut": lambda d: d[:-40],
    "body-missing": lambda d: d[: 8 + struct.unpack("<Q", d[:8])[0]],
    "one-byte-short": lambda d: d[:-1],
    "one-byte-long": lambda d: d + b"\0",
    "length-zero": lambda d: struct.pack("<Q", 0) + d[8:],
    "length-huge": lambda d: struct.pack("<Q", 2**60) + d[8:],
    "length-most": lambda d: struct.pack("<Q", 2**64 - 1) + d[8:],
    "length-one-less": lambda d: struct.pack("<Q", struct.unpack("<Q", d[:8])[0] - 1) + d[8:],
    "length-of-the-file": lambda d: struct.pack("<Q", len(d) - 8) + d[8:],
    "header-no-json": lambda d: raw_header(b"{]"),
    "header-list": lambda d: raw_header(b"[]"),
    "header-number": lambda d: raw_header(b"3"),
    "header-latin-1": lambda d: raw_header(b'{"\xe9": 1}'),
    "header-deep": lambda d: raw_header(b'{"a":' * 100_000),
    "header-zeros": lambda d: raw_header(b"\0" * 100),
    "lfs": lambda d: LFS,
    "html": lambda d: HTML,
    "pickle": lambda d: b"PK\x03\x04" + b"\0" * 200,
    "zeros": lambda d: b"\0" * len(d),
    "name-twice": lambda d: twice(d, {"dtype": "I32"}),
    "name-twice-same": lambda d: twice(d, {}),
    "gzip": lambda d: b"\x1f\x8b\x08" + d,
}
HEADER_DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "dtype-unknown": lambda h: h[NAME].update(dtype="F33"),
    "dtype-number": lambda h: h[NAME].update(dtype=4),
    "dtype-list": lambda h: h[NAME].update(dtype=["F32"]),
    "dtype-narrower": lambda h: h[NAME].update(dtype="F16"),
    "dtype-missing": lambda h: h[NAME].pop("dtype"),
    "shape-negative": lambda h: h[NAME].update(shape=[-60, -16]),
    "shape-wrong": lambda h: h[NAME].update(shape=[60, 17]),
    "shape-enormous": lambda h: h[NAME].update(shape=[2**62, 2**62]),
    "shape-overflow": lambda h: h[NAME].update(shape=[2**32, 2**32, 240]),
    "shape-text": lambda h: h[NAME].update(shape="big"),
    "shape-float": lambda h: h[NAME].update(shape=[60.0, 16.0]),
    "shape-true": lambda h: h[NAME].update(shape=[True, 960]),
    "shape-null": lambda h: h[NAME].update(shape=None),
    "shape-nested": lambda h: h[NAME].update(shape=[[60], [16]]),
    "shape-missing": lambda h: h[NAME].pop("shape"),
    "offsets-short": lambda h: h[NAME].update(data_offsets=[0, 8]),
    "offsets-swapped": swapped_offsets,
    "offsets-negative": lambda h: h[NAME].update(data_offsets=[-BODY, 0]),
    "offsets-beyond": lambda h: h[NAME].update(data_offsets=[2**40, 2**40 + BODY]),
    "offsets-overlap": overlapping,
    "offsets-three": lambda h: h[NAME].update(data_offsets=[0, 8, 16]),
    "offsets-float": lambda h: h[NAME].update(data_offsets=[0.0, float(BODY)]),
    "offsets-missing": lambda h: h[NAME].pop("data_offsets"),
    "metadata-true": lambda h: h.update(__metadata__=True),
    "metadata-number": lambda h: h.update(__metadata__={"format": 3}),
    "entry-number": lambda h: h.update({NAME: 3}),
    "entry-null": lambda h: h.update({NAME: None}),
    "entry-gone": lambda h: h.pop(NAME),
}


def safetensors_cases() -> Iterable[Case]:
    name = "model.safetensors"
    for kind, how in FILE_DAMAGE.items():
        yield Case(f"safetensors-{kind}", "bert", change(name, how), (name,), "CorruptCheckpoint")
    for kind, how in HEADER_DAMAGE.items():
        yield Case(f"safetensors-{kind}", "bert", header(how), (name,), "CorruptCheckpoint")
    yield Case("safetensors-shape-turned", "bert", header(lambda h: h[NAME].update(shape=[16, 60])), (NAME, "[16, 60]"), "WeightsError")  # fmt: skip
    whole = header(lambda h: h[NAME].update(dtype="I32"))
    yield Case("safetensors-whole-numbers", "bert", whole, (NAME, "int32"), "WeightsError")
    yield Case("safetensors-no-tensors", "bert", put(name, raw_header(b"{}")), (name,))
    foreign = put(name, safetensors({"x.weight": ("F32", [2], b"\0" * 8)}))
    yield Case("safetensors-of-something-else", "bert", foreign, ("x.weight",), "WeightsError")
    renamed = header(lambda h: h.update({"embeddings.words": h.pop(NAME)}))
    yield Case("safetensors-tensor-renamed", "bert", renamed, (NAME,), "WeightsError")
    twice = change(name, lambda d: d[:8] + d[8:].replace(b'{"', b'{"__metadata__":{"format":"pt"},"', 0))
    headless = header(lambda h: h.update(other=h.pop("lm_head.weight")))
    yield Case("safetensors-head-renamed", "llama", headless, ("lm_head.weight",), "WeightsError")
    yield Case("safetensors-as-it-was", "bert", twice)
    yield Case("safetensors-null-metadata", "bert", header(lambda h: h.update(__metadata__=None)))
    yield Case("safetensors-no-metadata", "bert", header(lambda h: h.pop("__metadata__")))
    yield Case("safetensors-more-tensors", "bert", change(name, one_more))
    yield Case("safetensors-padded-header", "bert", change(name, padded))
    beside = both(put("pytorch_model.bin", b"not read"), change(name, lambda d: d[:-40]))
    yield Case("safetensors-damaged-beside-a-pickle", "bert", beside, (name,), "CorruptCheckpoint")
    yield Case("safetensors-beside-a-damaged-pickle", "bert", put("pytorch_model.bin", b"not read"))
    yield Case("safetensors-missing", "bert", remove(name), (name, "config.json"), "MissingFile")
    yield Case("safetensors-variant-missing", "bert", nothing, ("model.fp16.safetensors",), "MissingFile", keywords={"variant": "fp16"})  # fmt: skip
    yield Case("safetensors-variant-outside", "bert", nothing, ("variant",), keywords={"variant": "/../../x"})


def one_more(data: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    content, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    content["adapter.weight"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(body), len(body) + 8]}
    return raw_header(json.dumps(content).encode(), body + b"\0" * 8)


def padded(data: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    return raw_header(data[8 : 8 + length] + b" " * 64, data[8 + length :])


# -- index


def first_shard(index: dict[str, Any]) -> str:
    return sorted(set(index["weight_map"].values()))[0]


def set_map(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda index: index.update(weight_map=value)


def all_to(name: Any) -> Callable[[dict[str, Any]], object]:
    return lambda index: index.update(weight_map=dict.fromkeys(index["weight_map"], name))


def one_to(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda index: index["weight_map"].update({"model.norm.weight": value})


INDEX_DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no-map": lambda i: i.pop("weight_map"),
    "map-null": set_map(None),
    "map-empty": set_map({}),
    "map-list": set_map([1]),
    "map-text": set_map("all"),
    "entry-number": one_to(3),
    "entry-null": one_to(None),
    "entry-list": one_to(["a.safetensors"]),
    "entry-empty": one_to(""),
    "entry-dot": one_to("."),
    "entry-config": one_to("config.json"),
    "entry-folder": one_to("sub/"),
    "entry-zero": one_to("a\0.safetensors"),
    "entry-surrogate": one_to("\ud800.safetensors"),
    "entry-long": one_to("n" * 5000 + ".safetensors"),
    "outside-parent": all_to("../outside.safetensors"),
    "outside-deeper": all_to("sub/../../outside.safetensors"),
    "outside-absolute": all_to("/etc/passwd"),
    "outside-absolute-shard": all_to("/tmp/outside.safetensors"),
    "outside-backslash": all_to("..\\outside.safetensors"),
    "outside-url": all_to("https://example.org/outside.safetensors"),
    "unknown-tensor": lambda i: i["weight_map"].update({"not.there": first_shard(i)}),
    "other-shard": one_to("model-other.safetensors"),
}


def move_tensor(folder: Path) -> None:
    """A tensor is in two shards; the map says which counts."""
    from safetensors.torch import load_file, save_file

    index = json.loads((folder / "model.safetensors.index.json").read_text())
    name = "model.embed_tokens.weight"
    last = folder / sorted(set(index["weight_map"].values()) - {index["weight_map"][name]})[-1]
    state = load_file(last)
    save_file(state | {name: load_file(folder / index["weight_map"][name])[name] * 0}, last)


def forget_one(index: dict[str, Any]) -> str:
    """Take a tensor out of the index that shares its shard with another."""
    shards = list(index["weight_map"].values())
    name = next(n for n, shard in index["weight_map"].items() if shards.count(shard) > 1)
    del index["weight_map"][name]
    return name


def forget_two(folder: Path) -> None:
    """The same, and the tensor is in two shards."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    before = dict(index["weight_map"])
    name = forget_one(index)
    path.write_text(json.dumps(index))
    other = folder / next(shard for shard in before.values() if shard != before[name])
    save_file(load_file(other) | {name: load_file(folder / before[name])[name] + 1}, other)


def lose_shard(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    (folder / first_shard(index)).unlink()


def cut_shard(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    path = folder / first_shard(index)
    path.write_bytes(path.read_bytes()[:-8])


def swap_shards(folder: Path) -> None:
    """Two shards have each other's content."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    one, other, *_ = sorted(set(index["weight_map"].values()))
    a, b = (folder / one).read_bytes(), (folder / other).read_bytes()
    (folder / one).write_bytes(b)
    (folder / other).write_bytes(a)


def index_cases() -> Iterable[Case]:
    name = "model.safetensors.index.json"
    outside = lambda folder: (folder.parent / "outside.safetensors").write_bytes(b"")  # noqa: E731
    for kind, how in INDEX_DAMAGE.items():
        says = (name,) if kind != "entry-long" else ("File name too long",)
        yield Case(f"index-{kind}", "sharded", both(outside, edit(name, how)), says)
    yield Case("index-shard-missing", "sharded", lose_shard, ("00001-of-", "config.json"), "MissingFile")
    yield Case("index-shard-cut", "sharded", cut_shard, ("00001-of-",), "CorruptCheckpoint")
    yield Case("index-shards-swapped", "sharded", swap_shards, ("00001-of-", "index"), "CorruptCheckpoint")
    yield Case("index-tensor-twice", "sharded", move_tensor)
    yield Case("index-lacks-a-tensor", "sharded", edit(name, forget_one))
    yield Case("index-lacks-a-shard", "sharded", edit(name, lambda i: i["weight_map"].pop("lm_head.weight")), (name, "names 7 shards, expected 8"))  # fmt: skip
    yield Case("index-lacks-a-tensor-that-is-twice", "sharded", forget_two, ("is in", "too"), "CorruptCheckpoint")
    yield Case("index-metadata-nonsense", "sharded", fields(name, metadata=[1, "x"]))
    yield Case("index-metadata-size-lies", "sharded", fields(name, metadata={"total_size": -5}))
    yield Case("index-metadata-dtype", "sharded", both(fields(name, metadata={"dtype": "float99"}), fields("config.json", dtype=None)), ("dtype", "float99"))  # fmt: skip


# -- pickles


class Opaque:
    """Runs code where it is unpickled without care."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def pickled(make: Callable[[Path], Any]) -> Damage:
    """Write pytorch_model.bin with torch.save."""

    def apply(folder: Path) -> None:
        import torch

        torch.save(make(folder), folder / "pytorch_model.bin")

    return apply


def bare_pickle(folder: Path) -> None:
    import pickle

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Opaque(folder.parent / "ran")}))


def repacked(change: Callable[[str, bytes], bytes], compressed: bool = False) -> Callable[[bytes], bytes]:
    """The archive with other records."""
    import io
    import zipfile

    def apply(data: bytes) -> bytes:
        out, kind = io.BytesIO(), zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", kind) as target:
            for row in source.infolist():
                target.writestr(row.filename, change(row.filename, source.read(row)))
        return out.getvalue()

    return apply


def shortened(name: str, content: bytes) -> bytes:
    return content[:8] if name.endswith("data/0") else content


def pickle_cases() -> Iterable[Case]:
    import torch

    name = "pytorch_model.bin"
    ones = lambda *shape: torch.ones(*shape)  # noqa: E731
    contents: dict[str, Damage] = {
        "empty": put(name, b""),
        "lfs": put(name, LFS),
        "html": put(name, HTML),
        "zeros": put(name, b"\0" * 500),
        "cut": change(name, lambda d: d[:300]),
        "cut-late": change(name, lambda d: d[:-30]),
        "storage-lies": change(name, repacked(shortened)),
        "compressed": change(name, repacked(lambda name, content: content, compressed=True)),
        "list": pickled(lambda f: [ones(2)]),
        "tensor": pickled(lambda f: ones(2)),
        "number": pickled(lambda f: {"a": 3}),
        "numbered": pickled(lambda f: {1: ones(2)}),
        "nested": pickled(lambda f: {"model": {"a": ones(2)}}),
        "trainer": pickled(lambda f: {"state_dict": {"a": ones(2)}, "epoch": 3}),
        "module": pickled(lambda f: torch.nn.Linear(2, 2)),
        "code": pickled(lambda f: {"a": Opaque(f.parent / "ran")}),
        "bare-code": bare_pickle,
    }
    for kind, damage in contents.items():
        yield Case(f"pickle-{kind}", "pickle", damage, (name,), "CorruptCheckpoint")
    yield Case("pickle-of-something-else", "pickle", pickled(lambda f: {"x": ones(2)}), ("x",), "WeightsError")
    yield Case("pickle-missing", "pickle", remove(name), (name,), "MissingFile")
    yield Case("pickle-refused", "pickle", nothing, ("model.safetensors",), "MissingFile", keywords={"use_safetensors": True})  # fmt: skip
    index = put("pytorch_model.bin.index.json", json.dumps({"weight_map": {"a": "../x.bin"}}))
    yield Case("pickle-index-outside", "pickle", both(remove(name), index), ("../x.bin", "index"))


# -- tokenizers


def _nested(kind: str, key: str, depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"type": kind, key: []}
    for _ in range(depth):
        value = {"type": kind, key: [value]}
    return value


def tables() -> dict[str, str]:
    """Normalizers whose table of characters claims four gigabytes, in all ways that JSON can spell that."""
    lie, none = "8P///w==", "AAAAAA=="
    spelled = {
        "key-escaped": (f'"precompiled_chars\\u006dap": "{lie}"'),
        "key-escaped-whole": "".join(f"\\u{ord(c):04X}" for c in "precompiled_charsmap").join('""') + f': "{lie}"',
        "value-escaped": '"precompiled_charsmap": "\\u0038P\\/\\/\\/w=="',
        "first-of-two": f'"precompiled_charsmap": "{lie}", "precompiled_charsmap": "{none}"',
        "second-of-two": f'"precompiled_charsmap": "{none}", "precompiled_charsmap": "{lie}"',
        "one-of-two-escaped": f'"precompiled_charsmap": "{none}", "precompiled_\\u0063harsmap": "{lie}"',
        "spaces": f'"precompiled_charsmap"\n\t : \r "{lie}"',
        "numbers": '"precompiled_charsmap": [240, 255, 255, 255]',
        "number": '"precompiled_charsmap": 7',
    }
    return {kind: '{"type": "Precompiled", ' + text + "}" for kind, text in spelled.items()}


def tokenizer_cases() -> Iterable[Case]:
    config, whole = "tokenizer_config.json", "tokenizer.json"

    def case(kind: str, base: str, damage: Damage, *says: str, error: str = "") -> Case:
        return Case(f"tokenizer-{kind}", base, damage, says, error, load="tokenizer")

    settings: list[tuple[str, Any]] = [
        *(("model_max_length", v) for v in ("many", -5, 0, [1])),
        *(("padding_side", v) for v in ("up", 3)),
        *(("truncation_side", v) for v in ("", None and "x", {"a": 1}) if v is not None),
        *(("pad_token", v) for v in (5, ["[PAD]"], {"text": "[PAD]"})),
        *(("unk_token", v) for v in (5, {"content": 3})),
        ("extra_special_tokens", [5]),
        ("additional_special_tokens", "abc"),
        ("do_lower_case", "yes"),
        ("tokenizer_class", 5),
        ("tokenizer_class", ["BertTokenizer"]),
        ("added_tokens_decoder", [1]),
        ("added_tokens_decoder", {"x": {"content": "a"}}),
        ("added_tokens_decoder", {"5": {"contents": "a"}}),
        ("added_tokens_decoder", {"5": 7}),
        ("added_tokens_decoder", {"99999": {"content": "zz"}}),
        ("added_tokens_decoder", {"9" * 30: {"content": "zz"}}),
        ("added_tokens_decoder", {"²": {"content": "zz"}}),
        ("model_input_names", 3),
        ("model_input_names", [3]),
        ("clean_up_tokenization_spaces", "no"),
    ]
    for number, (name, value) in enumerate(settings):
        yield case(f"setting-{number}-{name}", "bert", fields(config, **{name: value}), name)
    pipelines: dict[str, Callable[[dict[str, Any]], object]] = {
        "no-model": lambda t: t.pop("model"),
        "model-null": lambda t: t.update(model=None),
        "model-type": lambda t: t["model"].update(type="Magic"),
        "no-vocab": lambda t: t["model"].pop("vocab"),
        "vocab-empty": lambda t: t["model"].update(vocab={}),
        "vocab-list": lambda t: t["model"].update(vocab=["a"]),
        "vocab-negative": lambda t: t["model"]["vocab"].update(the=-1),
        "vocab-huge": lambda t: t["model"]["vocab"].update(the=1 << 40),
        "vocab-text": lambda t: t["model"]["vocab"].update(the="5"),
        "unknown-token": lambda t: t["model"].update(unk_token="[NO]"),
        "template-id": lambda t: t["post_processor"]["special_tokens"]["[CLS]"].update(ids=[99999]),
        "template-name": lambda t: t["post_processor"].update(special_tokens={}),
        "normalizer-type": lambda t: t.update(normalizer={"type": "Magic"}),
        "normalizer-regex": lambda t: t.update(
            normalizer={"type": "Replace", "pattern": {"Regex": "((("}, "content": ""}
        ),
        "pre-tokenizer-regex": lambda t: t.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": "["}, "behavior": "Isolated", "invert": False}
        ),
        "template-many": lambda t: t["post_processor"].update(single=[{"Sequence": {"id": "C", "type_id": 0}}]),
        "replacements-that-explode": lambda t: t.update(
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 200}] * 4,
            }
        ),
        "replacements-that-double": lambda t: t.update(
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "e"}, "content": "ee"}] * 60,
            }
        ),
        "patterns-that-explode": lambda t: t.update(
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"Regex": "[a-z]"}, "content": "e" * 40}] * 8,
            }
        ),
        "decoder-that-explodes": lambda t: t.update(
            decoder={
                "type": "Sequence",
                "decoders": [{"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 200}] * 4,
            }
        ),
        "nested-normalizers": lambda t: t.update(normalizer=_nested("Sequence", "normalizers", 200)),
        "endless-pattern": lambda t: t.update(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "(?<n>\\g<n>)"},
                "behavior": "Isolated",
                "invert": False,
            }
        ),
        "normalizer-table": lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AADYwQ=="}),
        "decoder-type": lambda t: t.update(decoder=7),
        "added-id": lambda t: t["added_tokens"][0].update(id="one"),
        "added-content": lambda t: t["added_tokens"][0].pop("content"),
        "added-number": lambda t: t.update(added_tokens=3),
        "version": lambda t: t.update(version="99"),
        "truncation": lambda t: t.update(truncation={"max_length": -1}),
        "padding": lambda t: t.update(padding="left"),
    }
    for kind, how in pipelines.items():
        yield case(f"json-{kind}", "bert", edit(whole, how), whole)
    for kind, text in tables().items():
        damage = change(
            whole, lambda data, text=text: data.replace(b'"normalizer":', f'"normalizer": {text}, "x":'.encode(), 1)
        )
        yield case(f"json-table-{kind}", "bert", damage, whole)
    merges = {
        "merge-of-three": lambda t: t["model"].update(merges=[["a", "b", "c"]]),
        "merge-unknown": lambda t: t["model"].update(merges=[["qq", "zz"]]),
        "merges-number": lambda t: t["model"].update(merges=7),
    }
    for kind, how in merges.items():
        yield case(f"json-{kind}", "llama", edit(whole, how), whole)
    yield case("nothing", "bert", remove(whole), "tokenizer.json", "config.json", error="MissingFile")
    yield case("no-vocab.txt", "vocab", remove("vocab.txt"), "vocab.txt", "tokenizer.json", error="MissingFile")
    yield case("no-merges", "gpt2", remove("merges.txt"), "merges.txt", "vocab.json", error="MissingFile")
    yield case("no-vocab.json", "gpt2", remove("vocab.json"), "vocab.json", error="MissingFile")
    yield case("no-spm", "spm", remove("spiece.model"), "spiece.model", error="MissingFile")
    yield case("no-tekken", "tekken", remove("tekken.json"), "tekken.json", error="MissingFile")
    for kind, data in {"empty": b"", "latin-1": b"[UNK]\n\xe9\n", "lacking": b"a\nb\n", "lfs": LFS}.items():
        yield case(f"vocab.txt-{kind}", "vocab", put("vocab.txt", data), "vocab.txt", error="CorruptFile")
    for kind, data in {"three": b"#version: 0.2\na b c\n", "one": b"#version: 0.2\nabc\n", "unknown": b"#version\nqq zz\n",
                       "latin-1": b"a \xe9\n", "lfs": LFS}.items():  # fmt: skip
        yield case(f"merges-{kind}", "gpt2", put("merges.txt", data), "merges.txt", error="CorruptFile")
    vocabularies = {
        "text": lambda v: v.update(a="5"),
        "huge": lambda v: v.update(a=1 << 40),
        "negative": lambda v: v.update(a=-3),
        "float": lambda v: v.update(a=1.5),
        "null": lambda v: v.update(a=None),
    }
    for kind, how in vocabularies.items():
        yield case(f"vocab.json-{kind}", "gpt2", edit("vocab.json", how), "vocab.json", "'a'", error="CorruptFile")
    for kind, how in {"empty": lambda d: b"", "cut": lambda d: d[:-3], "zeros": lambda d: b"\0" * 500, "lfs": lambda d: LFS,
                      "no-unknown": lambda d: d.replace(b"\x18\x02", b"\x18\x01"), "half": lambda d: d[: len(d) // 2 + 1],
                      "text": lambda d: HTML}.items():  # fmt: skip
        yield case(f"spm-{kind}", "spm", change("spiece.model", how), "spiece.model", error="CorruptFile")
    tekken: dict[str, Callable[[dict[str, Any]], object]] = {
        "no-pattern": lambda t: t["config"].pop("pattern"),
        "bad-pattern": lambda t: t["config"].update(pattern="((("),
        "pattern-number": lambda t: t["config"].update(pattern=3),
        "no-vocab": lambda t: t.pop("vocab"),
        "vocab-text": lambda t: t.update(vocab="all"),
        "vocab-base64": lambda t: t["vocab"][5].update(token_bytes="=*="),
        "vocab-missing-bytes": lambda t: t["vocab"][5].pop("token_bytes"),
        "no-config": lambda t: t.pop("config"),
        "size-negative": lambda t: t["config"].update(default_vocab_size=-3),
        "size-huge": lambda t: t["config"].update(default_num_special_tokens=10**12),
        "size-text": lambda t: t["config"].update(default_vocab_size="all"),
    }
    for kind, how in tekken.items():
        yield case(f"tekken-{kind}", "tekken", edit("tekken.json", how), "tekken.json")
    yield case("special-map-number", "vocab", put("special_tokens_map.json", '{"pad_token": 5}'), "pad_token")
    yield case("added-text", "vocab", put("added_tokens.json", '{"a": "b"}'), "added_tokens.json", error="ConfigError")
    yield case("added-negative", "vocab", put("added_tokens.json", '{"a": -1}'), "added_tokens.json")
    yield case("added-far", "vocab", put("added_tokens.json", '{"zz": 5000}'), "zz")
    yield case("unknown-settings", "bert", fields(config, colour="blue", nested={"a": [1]}))
    yield case("vocab.txt-token-twice", "vocab", change("vocab.txt", lambda d: d + b"[UNK]\n"))  # that of its last line
    yield case("spaces-in-vocab", "vocab", change("vocab.txt", lambda d: d.replace(b"\n", b"\r\n")))


# -- chat templates


def chat_cases() -> Iterable[Case]:
    hostile = {
        "syntax": "{% for m in messages %}",
        "unknown-tag": "{% include 'x' %}",
        "unknown-filter": "{{ messages | explode }}",
        "undefined": "{{ nothing.there.at_all }}",
        "raises": "{{ raise_exception('no') }}",
        "loop": "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "power": "{{ 10**(10**9) }}",
        "repeat": "{{ 'ab' * 4000000000 }}",
        "shift": "{{ (1).__lshift__(10**9) }}",
        "range": "{{ range(10**12) | list | length }}",
        "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "join": "{{ (['x' * 100000] * 100000) | join('y') }}",
        "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "globals": "{{ raise_exception.__globals__['os'].mkdir('ran') }}",
        "width": "{{ '%1000000000d' % 3 }}",
        "division": "{{ 1 / 0 }}",
        "changes-messages": "{{ messages.append(1) }}",
        "number-call": "{{ 3() }}",
    }
    for kind, text in hostile.items():
        yield Case(f"chat-{kind}", "llama", put("chat_template.jinja", text), ("chat_template",), load="chat")
    for kind, text in {
        "attribute": "{{ messages | attr('__class__') }}",
        "format": "{{ '{0.__class__}'.format(3) }}",
    }.items():
        yield Case(f"chat-{kind}", "llama", put("chat_template.jinja", text), load="chat", value="")  # undefined
    for kind, data in {"latin-1": b"{{ '\xe9' }}", "zeros": b"\xff\xfe\0\0"}.items():
        yield Case(
            f"chat-file-{kind}", "llama", put("chat_template.jinja", data), ("chat_template.jinja",), load="chat"
        )
    config = "tokenizer_config.json"
    values = {"number": 5, "list": [1], "unnamed": [{"template": "x"}], "no-template": [{"name": "default"}],
              "nested": [{"name": "default", "template": 5}], "object": {"default": 7}}  # fmt: skip
    for kind, value in values.items():
        yield Case(f"chat-inline-{kind}", "bert", fields(config, chat_template=value), ("chat_template",), load="chat")
    yield Case("chat-none", "gpt2", nothing, ("chat_template",), load="chat")


# -- generation_config.json


def generation_cases() -> Iterable[Case]:
    values: list[tuple[str, Any]] = [
        *(("max_new_tokens", v) for v in ("many", -1, 2.5, [3])),
        *(("max_length", v) for v in ("20", -5)),
        *(("temperature", v) for v in (-1.0, "hot", [1])),
        *(("top_k", v) for v in (-3, "ten", 2.5)),
        *(("top_p", v) for v in (1.5, -0.1, "most")),
        *(("num_beams", v) for v in (0, -2, "four")),
        *(("repetition_penalty", v) for v in (0, -1.0, "strong")),
        *(("do_sample", v) for v in ("yes", 3)),
        *(("eos_token_id", v) for v in ("</s>", {"a": 1}, [1, "x"])),
        *(("pad_token_id", v) for v in ("<pad>", 1.5)),
        *(("no_repeat_ngram_size", v) for v in (-1, "two")),
        *(("num_return_sequences", v) for v in (0, "two")),
    ]
    for number, (name, value) in enumerate(values):
        damage = fields("generation_config.json", **{name: value})
        yield Case(f"generation-{number}-{name}", "llama", damage, (name, "generation_config.json"), "GenerationError")
    yield Case("generation-missing", "llama", remove("generation_config.json"))


# -- sound


def audio_cases() -> Iterable[Case]:
    name = "preprocessor_config.json"

    def case(kind: str, damage: Damage, *says: str) -> Case:
        return Case(f"audio-{kind}", "whisper", damage, says, load="audio")

    whole = ("feature_size", "sampling_rate", "hop_length", "n_fft", "chunk_length")
    for key in whole:
        for number, value in enumerate((0, -1, 10**12, 1.5, "8", None, [8])):
            yield case(f"{key}-{number}", fields(name, **{key: value}), key, name)
    for key, values in {
        "padding_value": ("x", None, float("inf")),
        "dither": ("x", [1]),
        "return_attention_mask": ("no", 3),
        "padding_side": ("up", 3),
        "feature_extractor_type": ("NoSuchExtractor", 5),
    }.items():
        for number, value in enumerate(values):
            if key != "feature_extractor_type" or isinstance(value, str):
                yield case(f"{key}-{number}", fields(name, **{key: value}), key)
    yield case("many-filters-of-many-bins", fields(name, n_fft=2**20, feature_size=2**20), "n_fft", name)
    yield case("a-day", fields(name, sampling_rate=48_000, chunk_length=86_400), "sampling_rate", name)
    yield case("none", remove(name), name)
    for kind, data in JSON_DAMAGE.items():
        yield case(f"json-{kind}", put(name, data), name)
    processor = "processor_config.json"
    yield case("processor-cut", put(processor, b"{"), processor)
    nested = {"feature_extractor": {"feature_extractor_type": "WhisperFeatureExtractor", "hop_length": -3}}
    yield case("processor-nested", put(processor, json.dumps(nested)), "hop_length")
    yield case("tables-of-older-files", fields(name, mel_filters=[[0.0]]))


def speech_cases() -> Iterable[Case]:
    name = "generation_config.json"
    values: list[tuple[str, Any]] = [
        *(("alignment_heads", v) for v in ([[9, 0]], [[0, 9]], [[-1, 0]], [[0]], [0], "all", [["0", "1"]], {"0": 1})),
        *(("lang_to_id", v) for v in ({"<|en|>": "42"}, {"<|en|>": -1}, {"<|en|>": 6000}, ["en"], "en", 3)),
        *(("task_to_id", v) for v in ({"transcribe": 10**12}, {"transcribe": None}, [43])),
        *(("no_timestamps_token_id", v) for v in (-1, "46", 10**9, [46], 1.5)),
        *(("prev_sot_token_id", v) for v in (-1, 10**9, "x")),
        *(("forced_decoder_ids", v) for v in ([[1]], [1], "x", [[1, "a"]], [["1", 4]])),
        *(("return_timestamps", v) for v in ("yes", 3)),
        *(("max_initial_timestamp_index", v) for v in (-1, "x")),
        ("is_multilingual", "yes"),
    ]
    for number, (key, value) in enumerate(values):
        damage = fields(name, **{key: value})
        yield Case(f"speech-{number}-{key}", "whisper", damage, (key, name), "GenerationError", load="speech")


# -- sentence embeddings


def sentence_cases() -> Iterable[Case]:
    modules, pooling, dense = "modules.json", "1_Pooling/config.json", "2_Dense/config.json"

    def case(kind: str, damage: Damage, *says: str) -> Case:
        return Case(f"sentence-{kind}", "sentence", damage, says, load="sentence")

    def module(at: int, **values: Any) -> Damage:
        return edit(modules, lambda content: content[at].update(values))

    for number, path in enumerate(("../1_Pooling", "/etc", "a/../../b", 5, None, ["1_Pooling"], "a\0b")):
        yield case(f"path-{number}", module(1, path=path), modules)
    for number, index in enumerate(("0", None, 1.5, [1])):
        yield case(f"index-{number}", module(1, idx=index), "idx", modules)
    for number, kind in enumerate(("os.System", 5, None, "sentence_transformers.models.LSTM")):
        yield case(f"type-{number}", module(1, type=kind), "type", modules)
    yield case("modules-object", put(modules, "{}"), modules)
    yield case("modules-numbers", put(modules, "[1, 2]"), modules)
    for number, value in enumerate(("median", ["mean", 3], 5, [], {"a": 1}, True)):
        yield case(f"pooling-{number}", fields(pooling, pooling_mode=value), "pooling_mode", pooling)
    yield case("prompt-included", fields(pooling, include_prompt="no"), "include_prompt", pooling)
    for key in ("in_features", "out_features"):
        for number, value in enumerate((0, -1, "16", 1.5, None, True)):
            yield case(f"{key}-{number}", fields(dense, **{key: value}), key, dense)
        for value in (10**12, 2**31, 17):
            yield case(f"{key}-{value}", fields(dense, **{key: value}), "2_Dense/model.safetensors")
    yield case("bias-text", fields(dense, bias="yes"), "bias", dense)
    yield case("bias-none", fields(dense, bias=False), "2_Dense/model.safetensors")
    for number, value in enumerate(("os.system", 5, None, ["Tanh"])):
        yield case(f"activation-{number}", fields(dense, activation_function=value), "activation_function", dense)
    yield case("dense-cut", change("2_Dense/model.safetensors", lambda d: d[:-1]), "2_Dense/model.safetensors")
    yield case("dense-gone", remove("2_Dense/model.safetensors"), "2_Dense/pytorch_model.bin")
    for number, value in enumerate((0, -1, "16", 1.5, [16], 10**12)):
        yield case(f"length-{number}", fields("sentence_bert_config.json", max_seq_length=value), "max_seq_length")
    general = "config_sentence_transformers.json"
    for number, value in enumerate(("the", ["a"], {"query": 5})):
        yield case(f"prompts-{number}", fields(general, prompts=value), "prompts", general)
    yield case("prompt-name", fields(general, default_prompt_name=5), "default_prompt_name", general)
    for name in (pooling, dense, "sentence_bert_config.json", general):
        for kind in ("cut", "list", "number", "html"):
            yield case(f"{name.replace('/', '-')}-{kind}", put(name, JSON_DAMAGE[kind]), name)


# -- paths and permissions

IN_PLACE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a pipe"),
    "folder": (os.mkdir, "a directory"),
    "dangling": (lambda p: p.symlink_to("nowhere"), "a dangling link"),
    "loop": (lambda p: p.symlink_to(p.name), "links"),
    "zero": (lambda p: p.symlink_to("/dev/zero"), "a device"),
    "random": (lambda p: p.symlink_to("/dev/urandom"), "a device"),
}
PLACES = {
    "config.json": ("bert", "model"),
    "model.safetensors": ("bert", "model"),
    "tokenizer.json": ("bert", "tokenizer"),
    "tokenizer_config.json": ("bert", "tokenizer"),
    "generation_config.json": ("llama", "model"),
    "chat_template.jinja": ("llama", "chat"),
    "model.safetensors.index.json": ("sharded", "model"),
    "vocab.txt": ("vocab", "tokenizer"),
    "spiece.model": ("spm", "tokenizer"),
}


def replace(name: str, make: Callable[[Path], object]) -> Damage:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply


def outside_link(folder: Path) -> None:
    """As the Hub's cache: the file is a link to a blob elsewhere."""
    blob = folder.parent / "blob"
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to("../blob")


def path_cases() -> Iterable[Case]:
    for name, (base, load) in PLACES.items():
        for kind, (make, says) in IN_PLACE.items():
            yield Case(f"path-{name}-{kind}", base, replace(name, make), (name, says), "FileError", load)
        locked = lambda folder, name=name: (folder / name).chmod(0)  # noqa: E731
        yield Case(f"unreadable-{name}", base, locked, (name, "permission denied"), "FileError", load, as_nobody=True)
    closed = lambda folder: folder.chmod(0o600)  # noqa: E731
    yield Case("unreadable-directory", "bert", closed, ("ermission denied",), "FileError", as_nobody=True)
    for kind, (make, _) in IN_PLACE.items():
        journal = lambda folder, make=make: make(folder / ".autoload-save.json")  # noqa: E731
        yield Case(f"path-journal-{kind}", "bert", journal, (".autoload-save.json",), "FileError")
    for number, content in enumerate(
        ('{"moves": {"a": ".."}, "removed": []}', '{"moves": {}, "removed": ["/etc/passwd"]}', "[]")
    ):
        journal = put(".autoload-save.json", content)
        yield Case(f"path-journal-{number}", "bert", journal, (".autoload-save.json",), "CorruptFile")
    yield Case("path-link-outside", "bert", outside_link)
    yield Case("path-odd-name", "bert", lambda f: (f / "\udce9 \n.json").write_bytes(b"x"))
    missing = lambda folder: [path.unlink() for path in folder.iterdir()]  # noqa: E731
    yield Case("path-empty-directory", "bert", missing, ("config.json", "It holds: nothing"), "MissingFile")


# -- code of the repository


def with_code(**config: Any) -> Damage:
    """The repository has a module that leaves a marker when it is imported."""

    def apply(folder: Path) -> None:
        marker = folder.parent / "ran"
        for name in ("modeling.py", "configuration.py", "tokenization.py", "__init__.py"):
            (folder / name).write_text(f"import os\nos.mkdir({str(marker)!r})\n")
        fields("config.json", **config)(folder)

    return apply


def code_cases() -> Iterable[Case]:
    auto_map = {"AutoModel": "modeling.Model", "AutoConfig": "configuration.Config"}
    yield Case("code-of-a-known-type", "bert", with_code(auto_map=auto_map))
    yield Case("code-of-an-unknown-type", "bert", with_code(auto_map=auto_map, model_type="own"), ("own", "auto_map"), "UnknownModelType")  # fmt: skip
    asked = with_code(auto_map=auto_map)
    yield Case("code-asked-for", "bert", asked, ("trust_remote_code",), "RemoteCodeRefused", keywords={"trust_remote_code": True})  # fmt: skip
    yield Case("code-asked-for-by-config", "bert", asked, ("trust_remote_code",), "RemoteCodeRefused", load="config", keywords={"trust_remote_code": True})  # fmt: skip
    for number, value in enumerate((3, "modeling.Model", ["a"], {"AutoModel": "../../x.Y"}, {"AutoModel": 7},
                                    {"AutoModel": ["a", None]}, {"AutoModel": "/tmp/x.Y"})):  # fmt: skip
        yield Case(
            f"code-map-{number}", "bert", with_code(auto_map=value, model_type="own"), ("own",), "UnknownModelType"
        )
        yield Case(f"code-map-{number}-known", "bert", with_code(auto_map=value))
    kernel = with_code(_attn_implementation="org/kernel:run", attn_implementation="org/kernel")
    yield Case("code-kernel-in-config", "bert", kernel)
    for name in ("_attn_implementation", "attn_implementation", "_experts_implementation", "use_kernels"):
        yield Case(f"code-{name}", "llama", with_code(**{name: "org/kernel@main:run"}))
    for name in ("quantization_config", "compression_config"):
        quantized = with_code(**{name: {"quant_method": "own.module"}})
        yield Case(f"code-{name}", "llama", quantized, (name, "config.json"), "ConfigError")
    adapter = put("adapter_config.json", '{"base_model_name_or_path": "org/other", "peft_type": "LORA"}')
    yield Case("code-adapter-beside", "bert", both(with_code(), adapter, put("adapter_model.safetensors", b"x")))
    own = both(with_code(), fields("tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["tokenization.Own", None]}))  # fmt: skip
    yield Case("code-tokenizer", "bert", own, load="tokenizer")
    yield Case("code-tokenizer-alone", "bert", both(own, remove("tokenizer.json")), ("Own",), "RemoteCodeRefused", load="tokenizer")  # fmt: skip
    for name in ("os.path", "../x", "subprocess.Popen", "builtins.exec", "autoload.cli"):
        yield Case(f"code-tokenizer-class-{name.replace('/', '')}", "bert", fields("tokenizer_config.json", tokenizer_class=name), load="tokenizer")  # fmt: skip


# -- arguments


def argument_cases() -> Iterable[Case]:
    values: list[dict[str, Any]] = [
        {"dtyp": "float16"},
        {"hidden_dropout_prb": 0.1},
        {"dtype": "float99"},
        {"dtype": 7},
        {"dtype": "int8"},
        {"attn_implementation": "flash"},
        {"attn_implementation": "org/kernel"},
        {"io": "fast"},
        {"strict": 3},
        {"device": "nowhere"},
        {"device_map": [1]},
        {"device_map": {"encoder": "cpu"}},
        {"quantization_config": {}},
        {"gguf_file": "x.gguf"},
        {"num_labels": 0},
        {"num_labels": "two"},
        {"subfolder": "../other"},
        {"subfolder": 3},
        {"state_dict": {}},
        {"config": 3},
        {"variant": 3},
        {"key_mapping": 3},
        {"key_mapping": {"((": "x"}},
    ]
    for number, keywords in enumerate(values):
        name = next(iter(keywords))
        yield Case(f"argument-{number}-{name}", "bert", nothing, (name,), keywords=keywords)
    yield Case("argument-labels", "bert", nothing, keywords={"num_labels": 5})


def healthy_cases() -> Iterable[Case]:
    for base in ("bert", "vocab", "pickle", "llama", "sharded", "gpt2", "spm", "tekken", "sentence"):
        yield Case(f"healthy-{base}", base, nothing)
        yield Case(f"healthy-{base}-tokenizer", base, nothing, load="tokenizer")
    yield Case("healthy-bert-chat", "bert", nothing, load="chat")
    yield Case("healthy-llama-chat", "llama", nothing, load="chat")
    yield Case("healthy-config", "bert", nothing, load="config")
    yield Case("healthy-sentence-vector", "sentence", nothing, load="sentence")
    yield Case("healthy-whisper-audio", "whisper", nothing, load="audio")
    yield Case("healthy-whisper-speech", "whisper", nothing, load="speech")


CATEGORIES: dict[str, Callable[[], Iterable[Case]]] = {
    "healthy": healthy_cases,
    "json": json_cases,
    "config": config_cases,
    "safetensors": safetensors_cases,
    "index": index_cases,
    "pickle": pickle_cases,
    "tokenizer": tokenizer_cases,
    "chat": chat_cases,
    "generation": generation_cases,
    "audio": audio_cases,
    "speech": speech_cases,
    "sentence": sentence_cases,
    "path": path_cases,
    "code": code_cases,
    "argument": argument_cases,
}
CASES: dict[str, Case] = {case.name: case for cases in CATEGORIES.values() for case in cases()}
