"""SentencePiece model files, read without protobuf: the few fields that tokenizing needs."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoload.errors import CorruptFile, reading

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4


@dataclass
class SentencePieceModel:
    """Pieces, and what the trainer and the normalizer were told. Defaults are the format's."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)  # text, score, type
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    pad_id: int = -1
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    treat_whitespace_as_suffix: bool = False

    def text(self, index: int) -> str | None:
        """Text of a piece; None for an index that names none, as -1 does."""
        return self.pieces[index][0] if 0 <= index < len(self.pieces) else None


def read_model(path: Path) -> SentencePieceModel:
    """The model in a file.

    Raises:
        CorruptFile: the file is damaged, or no SentencePiece model.
    """
    with reading(path, "SentencePiece model", remedy="Fetch it again."):
        model = parse(path.read_bytes())
    if not model.pieces:
        raise CorruptFile(f"{path}: no pieces in this file, so it is no SentencePiece model.", path=str(path))
    if not any(kind == UNKNOWN for _, _, kind in model.pieces):
        raise CorruptFile(f"{path}: this SentencePiece model has no unknown piece.", path=str(path))
    return model


def parse(data: bytes) -> SentencePieceModel:
    """The model in bytes of the protobuf wire format."""
    model = SentencePieceModel()
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            model.pieces.append(_piece(value))
        elif number == 2 and isinstance(value, bytes):
            _trainer(model, value)
        elif number == 3 and isinstance(value, bytes):
            _normalizer(model, value)
    for index, (_, _, kind) in enumerate(model.pieces):
        if kind == UNKNOWN:
            model.unk_id = index
    return model


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, kind


def _trainer(model: SentencePieceModel, data: bytes) -> None:
    names = {3: "model_type", 40: "unk_id", 41: "bos_id", 42: "eos_id", 43: "pad_id"}
    flags = {24: "treat_whitespace_as_suffix", 35: "byte_fallback"}
    for number, value in fields(data):
        if isinstance(value, int):
            if number in names:
                setattr(model, names[number], value - (1 << 64) if value >> 63 else value)
            elif number in flags:
                setattr(model, flags[number], bool(value))


def _normalizer(model: SentencePieceModel, data: bytes) -> None:
    flags = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}
    for number, value in fields(data):
        if number == 2 and isinstance(value, bytes):
            check_charsmap(value)
            model.charsmap = value
        elif number in flags and isinstance(value, int):
            setattr(model, flags[number], bool(value))


def check_charsmap(data: bytes) -> None:
    """Refuse a table of characters that claims to be longer than it is: its reader believes the number before it.

    Raises:
        ValueError: it does.
    """
    if data and (len(data) < 4 or int.from_bytes(data[:4], "little") > len(data) - 4):
        raise ValueError(f"the table of characters has {len(data)} bytes, expected as many as it begins with")


def check_charsmaps(pipeline: bytes) -> None:
    """The same for the tables that a tokenizer.json holds, however their keys are spelled and as often as they come.

    Raises:
        ValueError: one claims to be longer than it is, or is no table; or the file is no JSON.
    """
    tables = re.findall(rb'"precompiled_charsmap"\s*:\s*(?:"([A-Za-z0-9+/=]*)"|null)', pipeline)
    spelled = re.search(rb"\\u00(?:[67]|5[fF])", pipeline) is not None  # a letter or "_" that need not be escaped
    if spelled or len(tables) != pipeline.count(b"precompiled_charsmap"):
        found: list[Any] = []

        def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found.extend(value for key, value in pairs if key == "precompiled_charsmap" and value is not None)
            return dict(pairs)

        json.loads(pipeline, object_pairs_hook=collect)
        if not all(isinstance(value, str) for value in found):
            raise ValueError("precompiled_charsmap is no text")
        tables = found
    for table in tables:
        check_charsmap(base64.b64decode(table))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message: numbers for varints, bytes for everything else.

    Raises:
        ValueError: the bytes are no message.
    """
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        kind, number = key & 7, key >> 3
        if number == 0:
            raise ValueError("field number 0")
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == 2:
            size, position = _varint(data, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position + size > end:
            raise ValueError("the file ends within a field")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("the file ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
