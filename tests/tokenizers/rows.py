"""The rows of expected.jsonl: the reference's answers on real files, and how ours compare to them.

Which ids are right is said by section 8 of the README beside the files: `raw_json_ids` where a row has them, else
`native_ids` for the directories that hold a SentencePiece model alone, else the reference's. Where ours differ from the
reference, a row yields the names of what differs; `deviations.py` counts these and gives reasons.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("AUTOLOAD_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "tokenizers"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tokenizer files are not there")

# Directories whose own steps before the model make other ids than its library; compared with the reference.
OWN_STEPS = ("albert", "xlnet", "siglip", "grok1", "_json")
CASES = ("text", "call", "truncation_side_left", "pad_method", "decode", "added_tokens", "init_kwargs", "meta")


@functools.lru_cache(maxsize=1)
def all_rows() -> list[dict[str, Any]]:
    """All rows, those of chat templates left out."""
    if not SHARED.is_dir():
        return []
    with (SHARED / "expected.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if not row["dir"].startswith("_")]


def rows_of(directory: str, case: str) -> Iterator[dict[str, Any]]:
    """Rows of a directory and a case."""
    return (row for row in all_rows() if row["dir"] == directory and row["case"] == case)


@functools.lru_cache(maxsize=1)
def directories() -> list[str]:
    """Names of all directories that have rows."""
    return list(dict.fromkeys(row["dir"] for row in all_rows()))


def load(directory: str, **settings: Any) -> Any:
    """A new tokenizer of a directory."""
    from autoload.text.auto import AutoTokenizer

    return AutoTokenizer.from_pretrained(SHARED / directory, **settings)


@functools.lru_cache(maxsize=4)
def _loaded(directory: str, settings: str) -> Any:
    return load(directory, **json.loads(settings))


def tokenizer_of(row: dict[str, Any]) -> Any:
    """The tokenizer of a row; shared between rows, so not to be changed."""
    return _loaded(row["dir"], json.dumps(row.get("load_kwargs") or {}))


def plain(value: Any) -> Any:
    """Tensors and tuples as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def right_ids(row: dict[str, Any]) -> tuple[str, list[int]]:
    """Which ids are right for a text, and what they are; native ones are without special tokens."""
    if "raw_json_ids" in row:
        return "raw", row["raw_json_ids"]
    if "native_ids" in row and not any(part in row["dir"] for part in OWN_STEPS):
        return "native", row["native_ids"]
    return "reference", row["input_ids"]


def compare(row: dict[str, Any]) -> list[str]:
    """Names of what differs from the reference."""
    return globals()[f"_{row['case']}"](row)


def wrong_ids(row: dict[str, Any]) -> bool:
    """Whether the ids of a text are not the right ones."""
    tokenizer = tokenizer_of(row)
    source, ids = right_ids(row)
    return tokenizer(row["text"], add_special_tokens=source != "native")["input_ids"] != ids


def _text(row: dict[str, Any]) -> list[str]:
    tokenizer, ids = tokenizer_of(row), row["input_ids"]
    encoding = tokenizer(row["text"], return_special_tokens_mask=True, return_offsets_mapping=tokenizer.is_fast)
    if wrong_ids(row):
        return ["ids"]
    if encoding["input_ids"] != ids:
        return [f"ids ({right_ids(row)[0]})"]
    found: dict[str, Any] = {
        "special_tokens_mask": encoding["special_tokens_mask"],
        "tokens": encoding.tokens() if tokenizer.is_fast else tokenizer.convert_ids_to_tokens(ids),
        "decoded": tokenizer.decode(ids),
        "decoded_skip": tokenizer.decode(ids, skip_special_tokens=True),
    }
    if tokenizer.is_fast:
        found |= {"offsets": plain(encoding["offset_mapping"]), "word_ids": encoding.word_ids()}
    if "token_type_ids" in encoding:
        found["token_type_ids"] = encoding["token_type_ids"]
    return [name for name, value in found.items() if name in row and row[name] != value]


def _call(row: dict[str, Any]) -> list[str]:
    tokenizer = tokenizer_of(row)
    wanted = {"return_offsets_mapping": True} if "offset_mapping" in row.get("keys", ()) else {}
    try:
        encoding = tokenizer(**{**row["kwargs"], **wanted})
    except Exception:
        return [] if "error" in row else ["error"]
    if "error" in row:
        return ["no error"]
    found = {name: plain(value) for name, value in encoding.items()}
    differing = [name for name, value in row["output"].items() if found.get(name) != value]
    if list(encoding) != row["keys"]:
        differing.append("keys")
    for name in ("tokens", "sequence_ids", "word_ids"):
        if name in row and encoding.is_fast:
            per_row = [getattr(encoding, name)(index) for index in range(len(encoding.encodings))]
            differing += [name] if per_row != row[name] else []
    return differing


def _truncation_side_left(row: dict[str, Any]) -> list[str]:
    tokenizer = load(row["dir"], truncation_side="left", **row.get("load_kwargs") or {})
    encoding = tokenizer(row["text"], **row["kwargs"])
    return [name for name, value in row["output"].items() if plain(encoding.get(name)) != value]


def _pad_method(row: dict[str, Any]) -> list[str]:
    tokenizer = tokenizer_of(row)
    examples = [{"input_ids": tokenizer(text)["input_ids"]} for text in row["texts"]]
    if "error" in row["output"]:
        with pytest.raises(ValueError, match="Asking to pad but the tokenizer does not have a padding token"):
            tokenizer.pad(examples, **row["kwargs"])
        return []
    encoding = tokenizer.pad(examples, **row["kwargs"])
    return [name for name, value in row["output"].items() if plain(encoding.get(name)) != value]


def _decode(row: dict[str, Any]) -> list[str]:
    tokenizer, ids = tokenizer_of(row), row["ids"]
    found = {
        "default": tokenizer.decode(ids),
        "cleanup_true": tokenizer.decode(ids, clean_up_tokenization_spaces=True),
        "cleanup_false": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
        "skip": tokenizer.decode(ids, skip_special_tokens=True),
        "each": [tokenizer.decode([index]) for index in ids],
        "int": tokenizer.decode(ids[0]),
        "batch": tokenizer.batch_decode([ids, ids[:3]]),
        "tokens_to_string": tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids)),
    }
    return [name for name, value in found.items() if name in row and row[name] != value]


def _added_tokens(row: dict[str, Any]) -> list[str]:
    tokenizer, result = load(row["dir"], **row.get("load_kwargs") or {}), row["result"]
    added = [
        tokenizer.add_tokens(["newtok", "<my_tok>"]),
        tokenizer.add_special_tokens({"extra_special_tokens": ["<|extra_x|>"]}),
        tokenizer.add_special_tokens({"pad_token": "<|pad_x|>"}),
    ]
    ids = tokenizer(result["text"])["input_ids"]
    found = {
        "added": added,
        "len": len(tokenizer),
        "input_ids": ids,
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "decoded": tokenizer.decode(ids),
        "decoded_skip": tokenizer.decode(ids, skip_special_tokens=True),
        "pad_id": tokenizer.pad_token_id,
    }
    return [name for name, value in found.items() if result[name] != value]


def _init_kwargs(row: dict[str, Any]) -> list[str]:
    differing = []
    for settings, result in row["result"].items():
        tokenizer = load(row["dir"], **json.loads(settings))
        found = [tokenizer("Hello World")["input_ids"], tokenizer("A", "B")["input_ids"], tokenizer.model_max_length]
        if found != [result["ids"], result["pair"], result["mml"]]:
            differing.append(settings)
    return differing


def _meta(row: dict[str, Any]) -> list[str]:
    tokenizer = tokenizer_of(row)
    found = {
        "class": type(tokenizer).__name__,
        "len": len(tokenizer),
        "added_tokens_n": len(tokenizer.added_tokens_decoder),
        "num_special_single": tokenizer.num_special_tokens_to_add(False),
        "num_special_pair": tokenizer.num_special_tokens_to_add(True),
        "has_chat_template": tokenizer.chat_template is not None,
    }
    for name in (
        "vocab_size model_max_length padding_side truncation_side model_input_names clean_up_tokenization_spaces "
        "special_tokens_map all_special_tokens all_special_ids pad_token_type_id is_fast"
    ).split():
        found[name] = getattr(tokenizer, name)
    for name in ("all_special_tokens", "all_special_ids"):  # the first 60 are recorded
        found[name] = found[name][:60]
    return [name for name, value in found.items() if name in row and row[name] != value]
