"""Learning a new vocabulary for a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from autoload.errors import TokenizerError
from autoload.text.specials import content

TRAINERS = {
    "BPE": trainers.BpeTrainer,
    "Unigram": trainers.UnigramTrainer,
    "WordLevel": trainers.WordLevelTrainer,
    "WordPiece": trainers.WordPieceTrainer,
}


def train(
    tokenizer: Any,
    texts: Iterable[Any],
    vocab_size: int,
    length: int | None,
    new_special_tokens: list[Any] | None,
    renamed: dict[str, str] | None,
    options: dict[str, Any],
) -> Any:
    """See `PreTrainedTokenizerFast.train_new_from_iterator`."""
    renamed = renamed or {}
    state = json.loads(tokenizer._rust.to_str())
    added = [{**token, "content": renamed.get(token["content"], token["content"])} for token in state["added_tokens"]]
    special = [AddedToken(**{key: value for key, value in token.items() if key != "id"}) for token in added]
    special += [AddedToken(content(token) or "", special=True, normalized=False) for token in new_special_tokens or []]
    unknown = renamed.get(state["model"].get("unk_token"), state["model"].get("unk_token"))
    template, decoder = state.pop("post_processor"), state["decoder"]
    state["model"], options = _empty(state["model"], unknown, options)
    state.update(added_tokens=[], post_processor=None)
    rust = Tokenizer.from_str(json.dumps(state))
    kind = type(rust.model).__name__
    if '"ByteLevel"' in json.dumps([state["pre_tokenizer"], decoder]):
        options.setdefault("initial_alphabet", pre_tokenizers.ByteLevel.alphabet())
    if kind == "WordPiece" or kind == "BPE":
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            if (value := state["model"].get(key)) is not None:
                options.setdefault(key, value)
    if kind == "Unigram" and unknown is not None:
        options.setdefault("unk_token", unknown)
    trainer = TRAINERS[kind](vocab_size=vocab_size, special_tokens=special, **options)
    rust.train_from_iterator(texts, trainer=trainer, length=length)
    if template is not None:
        rust.post_processor = _moved(rust, template, renamed)
    return _named_anew(tokenizer, rust, renamed, new_special_tokens or [])


def _empty(
    model: dict[str, Any], unknown: str | None, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model of the same kind and settings without a vocabulary, and the trainer's options."""
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece")
    if kind == "Unigram":
        vocab = model["vocab"]
        unknown = unknown or (vocab[model["unk_id"]][0] if model.get("unk_id") is not None else None)
        return {"type": kind, "unk_id": None, "vocab": [], "byte_fallback": False}, {"unk_token": unknown, **options}
    empty = {**model, "type": kind, "vocab": {}}
    if kind == "BPE":
        empty["merges"] = []
        empty["unk_token"] = unknown
    else:
        empty["unk_token"] = unknown or "[UNK]"
    return empty, dict(options)


def _moved(rust: Tokenizer, template: dict[str, Any], renamed: dict[str, str]) -> Any:
    """The template with the ids that its tokens have now."""
    for part in [template, *template.get("processors", [])]:
        if part["type"] == "TemplateProcessing":
            tokens = {_now(name, renamed): value for name, value in part["special_tokens"].items()}
            for name, value in tokens.items():
                names = [_now(token, renamed) for token in value["tokens"]]
                value.update(id=name, tokens=names, ids=[_id(rust, token) for token in names])
            part["special_tokens"] = tokens
            for piece in (*part["single"], *part["pair"]):
                if "SpecialToken" in piece:
                    piece["SpecialToken"]["id"] = _now(piece["SpecialToken"]["id"], renamed)
        elif part["type"] in ("BertProcessing", "RobertaProcessing"):
            for key in ("sep", "cls"):
                name = _now(part[key][0], renamed)
                part[key] = [name, _id(rust, name)]
    state = json.loads(Tokenizer(models.BPE()).to_str())
    state["post_processor"] = template
    return Tokenizer.from_str(json.dumps(state)).post_processor


def _now(token: str, renamed: dict[str, str]) -> str:
    return renamed[token] if token in renamed else token


def _id(rust: Tokenizer, token: str) -> int:
    index = rust.token_to_id(token)
    if index is None:
        raise TokenizerError(f"The template's token {token!r} is not in the new vocabulary.", field=token)
    return index


def _named_anew(tokenizer: Any, rust: Tokenizer, renamed: dict[str, str], new: list[Any]) -> Any:
    """A tokenizer with the settings of the old one on the new pipeline."""
    other: Any = object.__new__(type(tokenizer))
    state = tokenizer.__getstate__()
    state.update(
        _rust=rust,
        _exposed=False,
        _kept={},  # files of the old vocabulary
        init_kwargs=dict(tokenizer.init_kwargs),
        _named={name: renamed.get(text, text) for name, text in tokenizer._named.items()},
        _extra=[*(renamed.get(text, text) for text in tokenizer._extra), *(content(token) or "" for token in new)],
    )
    other.__setstate__(state)
    return other
