"""Rust pipelines from tiktoken files and from Mistral's tekken.json: byte pairs ranked by their ids."""

from __future__ import annotations

import base64
import re
from binascii import a2b_base64
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from autoload.errors import ConfigError, CorruptFile, reading
from autoload.hub import read_json

GPT4_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
# What the first tekken.json files say; tokenizer.json files made of these before 2025 carry another one.
TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The first special tokens of tekken files that do not list their own.
TEKKEN_SPECIAL = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG] "
    "<pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()


LINES = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2} \d+\r?(?:\n|\Z)|\r?\n)*")


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
    with reading(path, "tiktoken file"):
        data = path.read_bytes()
        if not LINES.fullmatch(data):
            raise _damaged(path, data)
        words = data.split()
        tokens = list(map(a2b_base64, words[::2]))
        ranks = list(map(int, words[1::2]))
    if ranks != list(range(len(ranks))):
        raise CorruptFile(f"{path}: the ranks are not 0 to {len(ranks) - 1} in order.", path=str(path))
    return tokens


def _damaged(path: Path, data: bytes) -> CorruptFile:
    lines = enumerate(data.split(b"\n"), 1)
    number, line = next((n, line) for n, line in lines if not LINES.fullmatch(line + b"\n"))
    return CorruptFile(
        f"{path}: line {number} is {line[:60]!r}, expected a token in base64 and its rank.", path=str(path)
    )


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
    listed = data.get("special_tokens") or [
        {"rank": rank, "token_str": text} for rank, text in enumerate(TEKKEN_SPECIAL)
    ]
    specials = [f"<SPECIAL_{index}>" for index in range(count)]
    with reading(path, "tekken file"):
        for token in listed:
            if token["rank"] < count:
                specials[token["rank"]] = token["token_str"]
        tokens = [base64.b64decode(entry["token_bytes"], validate=True) for entry in data["vocab"][: size - count]]
    return byte_pairs(tokens, count, specials, split)


def _count(config: dict[str, Any], key: str, path: Path) -> int:
    value = config.get(key)
    if type(value) is not int or not 0 <= value < 1 << 24:
        raise ConfigError(f"config.{key}", value, "a whole number below 2^24", where=str(path))
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
    """The merge that makes each token: the last that byte pair encoding takes to spell it.

    A token's last two parts are the pair of earlier tokens that encoding really leaves side by side; at most one pair
    is. Whether it does follows from the merges already known (`_stays_apart`), which is faster than to encode. The few
    tokens that are only spelled by way of later ones are encoded.
    """
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    earlier = {token: rank for rank, token in enumerate(tokens) if len(token) == 1}
    size = len(tokens)
    first, last = list(range(size)), list(range(size))  # halves of each token; a single byte is its own
    joined: dict[int, int] = {}  # left * size + right -> the token that joins them
    odd: set[int] = set()
    pairs: list[tuple[str, str]] = []
    lookup = earlier.get
    for rank, token in enumerate(tokens):
        if len(token) < 2:
            continue
        for cut in range(len(token) - 1, 0, -1):
            if (left := lookup(token[:cut])) is None or (right := lookup(token[cut:])) is None:
                continue
            if not _stays_apart(left, right, joined, first, last):
                continue
            pairs.append((spelled[left], spelled[right]))
            if left in odd or right in odd:  # may never stand side by side; such a merge does no harm
                continue
            joined[left * size + right] = rank
            first[rank], last[rank] = left, right
            break
        else:
            odd.add(rank)
            if cut := _last_cut(token, rank_of):
                pairs.append((spelled[rank][:cut], spelled[rank][cut:]))
        earlier[token] = rank
    return pairs


def _last_cut(token: bytes, rank_of: dict[bytes, int]) -> int:
    """Where the last merge of a token joins its halves, found by encoding it; 0 where encoding never spells it."""
    ends = list(range(len(token) + 1))
    while len(ends) > 3:
        found = [(rank_of.get(token[ends[at] : ends[at + 2]], len(rank_of)), at) for at in range(len(ends) - 2)]
        best, place = min(found)
        if best == len(rank_of):
            return 0
        del ends[place + 1]
    return ends[1]


def _stays_apart(left: int, right: int, joined: dict[int, int], first: list[int], last: list[int]) -> bool:
    """Whether encoding leaves two tokens, which no merge joins yet, side by side: none joins parts across the border.

    Walks back from both tokens to the parts next to the border, undoing the latest merge first.
    """
    size = len(first)
    while True:
        if left > right:
            limit, left = left, last[left]
            if left == limit:
                limit, right = right + 1, first[right]
                if right + 1 == limit:
                    return True
        else:
            limit, right = right + 1, first[right]
            if right + 1 == limit:
                limit, left = left, last[left]
                if left == limit:
                    return True
        if joined.get(left * size + right, limit) < limit:
            return False
