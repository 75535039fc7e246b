"""Vocabularies of repositories whose class names no file of its own: found by what lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from autoload.errors import reading
from autoload.hub import Files
from autoload.text import pipelines, sentencepiece, tiktoken
from autoload.text.conversions import converted
from autoload.text.loading import missing_vocabulary
from autoload.text.specials import content

MODELS = ("tokenizer.model", "tiktoken.model", "spiece.model", "sentencepiece.bpe.model", "spm.model",
          "sentencepiece.model")  # fmt: skip


def discover(cls: Any, files: Files, settings: dict[str, Any]) -> Tokenizer:
    """A pipeline from whichever vocabulary there is.

    Raises:
        MissingFile: there is none; all names that were looked for are listed.
    """
    if (path := files.find("tekken.json")) is not None:
        with reading(path, "tekken file"):
            rust = converted("tekken", mistral, {"vocab_file": path}, settings)
        settings.pop("mistral_format", None)
        return rust
    for name in dict.fromkeys([*cls.recipe.files.values(), *MODELS]):
        if name.endswith(".model") and (path := files.find(name)) is not None:
            return from_model(path, settings)
    vocab, merges = files.find("vocab.json"), files.find("merges.txt")
    if vocab is not None and merges is not None:
        with reading(vocab, "vocabulary"):
            return pipelines.bytelevel({"vocab_file": vocab, "merges_file": merges}, settings)
    if (path := files.find("vocab.txt")) is not None:
        with reading(path, "vocabulary"):
            return pipelines.wordpiece({"vocab_file": path}, settings)
    named = [*cls.recipe.files.values(), "tokenizer.json", "tekken.json", *MODELS]
    raise missing_vocabulary(files, [*named, "vocab.json with merges.txt", "vocab.txt"])


def mistral(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """A tekken file. It begins texts with `<s>`, as Mistral's own library does, unless `mistral_format` is False."""
    if settings.get("mistral_format") is not False:
        settings.setdefault("add_bos_token", True)
        settings.setdefault("padding_side", "left")
        for name, text in (("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>")):
            settings.setdefault(f"{name}_token", text)
        named = {content(value) for key, value in settings.items() if key.endswith("_token")}
        rust = tiktoken.tekken(files["vocab_file"])
        control = [token.content for _, token in sorted(rust.get_added_tokens_decoder().items())]
        settings.setdefault("extra_special_tokens", [text for text in control if text not in named])
        return rust
    return tiktoken.tekken(files["vocab_file"])


def from_model(path: Path, settings: dict[str, Any]) -> Tokenizer:
    """A pipeline from a `.model` file, which is SentencePiece's or tiktoken's."""
    with reading(path, "vocabulary"):
        if tiktoken.is_tiktoken(path):
            return converted("tiktoken", tiktoken.tiktoken, {"vocab_file": path}, settings)
        return converted("sentencepiece:plain", sentencepiece.plain, {"vocab_file": path}, settings)
