"""Rust pipelines from tiktoken files and from Mistral's tekken.json: byte pairs ranked by their ids."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from autoload.errors import ConfigError, CorruptFile, reading
from autoload.hub import read_json

GPT4_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
# The first special tokens of tekken files that do not list their own.
TEKKEN_SPECIAL = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG] "
    "<pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()


def _spelling() -> dict[int, str]:
    """The printable character that byte-level models write for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in table]
    table.update({byte: chr(256 + place) for place, byte in enumerate(others)})
    return table


SPELLING = _spelling()


def is_tiktoken(path: Path) -> bool:
    """Whether a file is lines of base64 and a rank, and not a SentencePiece model of the same name."""
    with reading(path, "vocabulary"), path.open("rb") as file:
        parts = file.readline(4096).split()
    try:
        return len(parts) == 2 and parts[1].isdigit() and bool(base64.b64decode(parts[0], validate=True))
    except ValueError:
        return False


def read_ranks(path: Path) -> list[bytes]:
    """Tokens of a tiktoken file, in the order of their ranks.

    Raises:
        CorruptFile: a line that is no base64 and rank; it is named.
    """
    ranks: dict[int, bytes] = {}
    with reading(path, "tiktoken file"):
        lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token, validate=True)
        except ValueError as e:
            raise CorruptFile(
                f"{path}: line {number} is {line[:60]!r}, expected a token in base64 and its rank.", path=str(path)
            ) from e
    if sorted(ranks) != list(range(len(ranks))):
        raise CorruptFile(f"{path}: ranks have gaps, expected 0 to {len(ranks) - 1}.", path=str(path))
    return [ranks[rank] for rank in range(len(ranks))]


def tiktoken(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """A tiktoken file with GPT-4's way of splitting, which Llama 3 and others share."""
    return byte_pairs(read_ranks(files["vocab_file"]), first=0, specials=[], split=GPT4_SPLIT)


def tekken(path: Path) -> Tokenizer:
    """Mistral's tekken.json: special tokens first, then as much of the vocabulary as the file says is in use."""
    data = read_json(path)
    config = data.get("config") if isinstance(data, dict) else None
    if not isinstance(config, dict) or not isinstance(data.get("vocab"), list):
        raise CorruptFile(f"{path}: expected an object with `config` and `vocab`.", path=str(path))
    size, count = _count(config, "default_vocab_size", path), _count(config, "default_num_special_tokens", path)
    split = config.get("pattern")
    if not isinstance(split, str):
        raise ConfigError("config.pattern", split, "a regular expression", where=str(path))
    listed = data.get("special_tokens") or [{"rank": rank, "token_str": text} for rank, text in enumerate(TEKKEN_SPECIAL)]
    specials = [f"<SPECIAL_{index}>" for index in range(count)]
    with reading(path, "tekken file"):
        for token in listed:
            if token["rank"] < count:
                specials[token["rank"]] = token["token_str"]
        tokens = [base64.b64decode(entry["token_bytes"]) for entry in data["vocab"][: size - count]]
    return byte_pairs(tokens, count, specials, split)


def _count(config: dict[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if type(value) is not int or value < 0:
        raise ConfigError(f"config.{key}", value, "a whole number", where=str(path))
    return value


def byte_pairs(tokens: list[bytes], first: int, specials: list[str], split: str) -> Tokenizer:
    """A byte-level BPE of tokens in the order of their ranks.

    Args:
        tokens: the tokens.
        first: id of the first one.
        specials: special tokens, which have the ids before it.
        split: regular expression of what is tokenized by itself.
    """
    vocab = {text: index for index, text in enumerate(specials)}
    spelled = [token.decode("latin-1").translate(SPELLING) for token in tokens]
    vocab.update({text: first + rank for rank, text in enumerate(spelled)})
    model = models.BPE(vocab=vocab, merges=merges(tokens, spelled), ignore_merges=True)
    rust = Tokenizer(model)
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return rust


def merges(tokens: list[bytes], spelled: list[str]) -> list[tuple[str, str]]:
    """The one merge that makes each token: the last that byte pair encoding of it takes, by the ranks below its own."""
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    pairs: list[tuple[str, str]] = []
    for rank, token in enumerate(tokens):
        size = len(token)
        if size < 2:
            continue
        cut = 1 if size == 2 else _last_cut(token, rank, rank_of)
        if cut:
            pairs.append((spelled[rank][:cut], spelled[rank][cut:]))
    return pairs


def _last_cut(token: bytes, rank: int, rank_of: dict[bytes, int]) -> int:
    """Where the last merge of a token joins its halves; 0 where lower ranks never reach two parts."""
    ends = list(range(len(token) + 1))
    while len(ends) > 3:
        best, place = rank, -1
        for index in range(len(ends) - 2):
            found = rank_of.get(token[ends[index] : ends[index + 2]], rank)
            if found < best:
                best, place = found, index
        if place < 0:
            return 0
        del ends[place + 1]
    return ends[1]
