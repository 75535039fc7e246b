"""Templates: which special tokens stand around a text and a pair. Written for the pipeline, and read back from it."""

# No postponed annotations here: a NamedTuple would compile each of them when it is made, for 1.5 ms of start-up.

import json
from typing import Any, NamedTuple

from tokenizers import Tokenizer, processors

from autoload.errors import TokenizerError


class Piece(NamedTuple):
    """One place of a template: a special token's ids, or a text (0 or 1)."""

    ids: tuple[int, ...]
    sequence: int | None
    type_id: int


def write(rust: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    """A template such as `"[CLS] $A [SEP]"`; `:1` after a piece gives its token type.

    Raises:
        TokenizerError: a token of the template is not in the vocabulary.
    """
    tokens = {}
    for word in f"{single} {pair}".split(" "):
        name = _name(word)
        if name and not name.startswith("$"):
            index = rust.token_to_id(name)
            if index is None:
                raise TokenizerError(
                    f"The special token {name!r} is not in the vocabulary, so texts cannot be framed by it.", field=name
                )
            tokens[name] = index
    return processors.TemplateProcessing(single=_split(single), pair=_split(pair), special_tokens=list(tokens.items()))


def _name(word: str) -> str:
    head, colon, tail = word.rpartition(":")
    return head if colon and tail.isdigit() else word


def _split(template: str) -> list[str]:
    """The pipeline wants a type for every piece."""
    return [word if word != _name(word) else f"{word}:0" for word in template.split(" ") if word]


def frame(bos: str | None, eos: str | None) -> tuple[str, str]:
    """Single and pair template of a language model: each text between `bos` and `eos`, where these are given."""
    single = " ".join(filter(None, (bos, "$A", eos)))
    second = " ".join(f"{word}:1" for word in filter(None, (bos, "$B", eos)))
    return single, f"{single} {second}"


def read(rust: Tokenizer, pair: bool) -> list[Piece]:
    """The template of a pipeline, whatever kind of post-processor holds it."""
    processor = rust.post_processor
    state = {} if processor is None else json.loads(processor.__getstate__())
    return _pieces(state, pair) or _bare(pair)


def _bare(pair: bool) -> list[Piece]:
    return [Piece((), sequence, 0) for sequence in range(1 + pair)]


def _pieces(state: dict[str, Any], pair: bool) -> list[Piece]:
    kind = state.get("type")
    if kind == "Sequence":
        found = [pieces for part in state["processors"] if (pieces := _pieces(part, pair))]
        return found[-1] if found else []
    if kind == "TemplateProcessing":
        known = {name: tuple(token["ids"]) for name, token in state["special_tokens"].items()}
        return [_piece(part, known) for part in state["pair" if pair else "single"]]
    if kind in ("BertProcessing", "RobertaProcessing"):
        cls, sep = (state["cls"][1],), (state["sep"][1],)
        second = 1 if kind == "BertProcessing" else 0
        first = [Piece(cls, None, 0), Piece((), 0, 0), Piece(sep, None, 0)]
        if not pair:
            return first
        middle = [] if second else [Piece(sep, None, 0)]
        return [*first, *middle, Piece((), 1, second), Piece(sep, None, second)]
    return []


def _piece(part: dict[str, Any], known: dict[str, tuple[int, ...]]) -> Piece:
    if "Sequence" in part:
        return Piece((), 0 if part["Sequence"]["id"] == "A" else 1, part["Sequence"]["type_id"])
    return Piece(known[part["SpecialToken"]["id"]], None, part["SpecialToken"]["type_id"])


def spread(template: list[Piece], first: list[Any], second: list[Any] | None, of_special: Any) -> list[Any]:
    """The two rows in their places of the template; `of_special(piece)` gives what stands for a special token."""
    rows = (first, second or [])
    out: list[Any] = []
    for piece in template:
        out += of_special(piece) if piece.sequence is None else rows[piece.sequence]
    return out
