"""Vocabularies of repositories whose class names no file of its own: found by what lies there."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from autoload.hub import Files
from autoload.text.loading import missing_vocabulary

NAMES = ["tokenizer.json", "tekken.json", "tokenizer.model", "tiktoken.model", "spiece.model", "sentencepiece.bpe.model",
         "spm.model", "vocab.json", "merges.txt", "vocab.txt"]  # fmt: skip


def discover(cls: Any, files: Files, settings: dict[str, Any]) -> Tokenizer:
    """A pipeline from whichever vocabulary there is.

    Raises:
        MissingFile: there is none; all names that were looked for are listed.
    """
    raise missing_vocabulary(files, [*cls.recipe.files.values(), *NAMES])
