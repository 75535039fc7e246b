"""Conversions that are kept: a pipeline made from a SentencePiece, tiktoken or tekken file is made once.

They lie in the folder that the environment variable AUTOLOAD_CACHE names, `~/.cache/autoload` where it is unset; "off"
keeps nothing. A file's name is the hash of what the conversion depends on, so none is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Tokenizer

VERSION = 3  # of the recipes; a change of what they make needs a new one
WORTHWHILE = 300_000  # bytes; smaller files convert as fast as they load
IRRELEVANT = ("added_tokens", "chat_template", "name_or_path", "model_max_length")

log = logging.getLogger("autoload.text")


def folder() -> Path | None:
    """Where conversions are kept; None where they are not."""
    chosen = os.environ.get("AUTOLOAD_CACHE")
    if chosen is not None:
        return None if chosen.strip().lower() in ("", "0", "off", "no", "false") else Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "autoload"


def converted(
    name: str,
    build: Callable[[dict[str, Path], dict[str, Any]], Tokenizer],
    paths: dict[str, Path],
    settings: dict[str, Any],
) -> Tokenizer:
    """The pipeline that `build` makes from files; from the cache where it was made before.

    Args:
        name: of the recipe.
        build: makes the pipeline; may add to `settings`, and what it adds is kept too.
        paths: the vocabulary files.
        settings: all settings of the tokenizer.
    """
    place = folder()
    if place is None or sum(path.stat().st_size for path in paths.values()) < WORTHWHILE:
        return build(paths, settings)
    key = _key(name, paths, settings)
    file, notes = place / "tokenizers" / f"{key}.json", place / "tokenizers" / f"{key}.settings.json"
    found = _read(file, notes)
    if found is not None:
        rust, added = found
        settings.update(added)
        return rust
    from autoload.commit import output_directory, replace

    before = dict(settings)
    rust = build(paths, settings)
    added = {key: value for key, value in settings.items() if key not in before or before[key] is not value}
    try:
        replace(output_directory(place / "tokenizers"), {notes.name: json.dumps(added), file.name: rust.to_str()})
    except (OSError, TypeError) as e:
        log.debug("conversion not kept in %s: %s", place, e)
    return rust


def _key(name: str, paths: dict[str, Path], settings: dict[str, Any]) -> str:
    relevant = {key: value for key, value in settings.items() if key not in IRRELEVANT}
    stated = json.dumps([VERSION, tokenizers.__version__, name, relevant], sort_keys=True, default=str)
    digest = hashlib.sha256(stated.encode())
    for key in sorted(paths):
        digest.update(hashlib.sha256(paths[key].read_bytes()).digest())
    return digest.hexdigest()[:40]


def _read(file: Path, notes: Path) -> tuple[Tokenizer, dict[str, Any]] | None:
    """A kept conversion; a damaged one counts as none, and is written again."""
    try:
        added = json.loads(notes.read_text(encoding="utf-8"))
        return Tokenizer.from_file(str(file)), added
    except Exception as e:
        if file.exists():
            log.warning("%s: this kept conversion is damaged and will be made again: %s", file, e)
        return None
