"""What a transcription begins with: the start token, a language, a task, and whether time stamps follow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError, GenerationError, did_you_mean

TASKS = ("translate", "transcribe")


def needed(settings: Any, field: str, purpose: str) -> Any:
    """A field of the model's generation_config.json that older files lack."""
    found = getattr(settings, field, None)
    if found is None:
        text = f"generate: {purpose} needs {field} in the model's generation_config, which has none. Add the field."
        raise GenerationError(text, field=field, got=None, expected="a value")
    return found


def set_language_and_task(settings: Any, language: Any, task: str | None, is_multilingual: bool | None) -> None:
    """Take the arguments of a call into its settings."""
    if is_multilingual is not None:
        needed(settings, "is_multilingual", "is_multilingual")
        settings.is_multilingual = is_multilingual
    if getattr(settings, "is_multilingual", True) is False and (task is not None or language is not None):
        text = "generate: this model is of one language and has one task; leave language and task out, or pass"
        raise ArgumentError(f"{text} is_multilingual=True.", name="language" if language is not None else "task")
    if language is not None:
        needed(settings, "lang_to_id", "language")
        settings.language = language
    if task is not None:
        needed(settings, "task_to_id", "task")
        if task not in TASKS:
            raise ArgumentError(f"generate: task={task!r}: expected 'transcribe' or 'translate'.", name="task")
        settings.task = task


def language_id(language: str, known: dict[str, int]) -> int:
    """The token of a language, by its name, its code, or the token's text."""
    from autoload.text.languages import WHISPER, WHISPER_ALIASES

    codes = {**{name: code for code, name in WHISPER.items()}, **WHISPER_ALIASES}
    name = language.lower()
    token = name if name in known else f"<|{codes.get(name, name)}|>"
    if token not in known:
        near = did_you_mean(name, [*codes, *codes.values()])
        text = f"generate: language={language!r}: this model has no such language{near}."
        raise ArgumentError(text, name="language")
    return known[token]


def beginning(model: Any, settings: Any, batch: int, detect: Any) -> Tensor:
    """The tokens that a transcription of each row begins with, (batch, tokens).

    Args:
        model: whose configuration may hold forced tokens of old files.
        settings: with language, task and return_timestamps.
        batch: number of rows.
        detect: gives the token of the language that is heard in each row, (batch,).
    """
    task, language = getattr(settings, "task", None), getattr(settings, "language", None)
    start: list[Any] = [settings.decoder_start_token_id]
    if task is None and language is None:
        start += forced(
            getattr(settings, "forced_decoder_ids", None) or getattr(model.config, "forced_decoder_ids", None)
        )
    languages: list[Any] = list(language) if isinstance(language, (list, tuple)) else [language]
    if isinstance(language, (list, tuple)) and (len(languages) != batch or None in languages):
        text = f"generate: language has {len(languages)} entries, expected one for each of {batch} rows, and no None."
        raise ArgumentError(text, name="language")
    ids: list[Any] = [None] * len(languages)
    if language is not None:
        ids = [language_id(one, needed(settings, "lang_to_id", "language")) for one in languages]
    elif getattr(settings, "lang_to_id", None) is not None and (len(start) < 2 or start[1] is None):
        ids = detect().tolist()
    rows = [_row(start, one, settings, task, language) for one in ids]
    return torch.tensor(rows, device=model.device).expand(batch, -1)


def forced(pairs: Any) -> list[int | None]:
    """Tokens of `forced_decoder_ids`: pairs of place and token, from place 1 on."""
    places = [place for place, _ in pairs or ()]
    if places != [*range(1, len(places) + 1)]:
        text = f"generate: forced_decoder_ids has the places {places}, expected 1, 2, and so on."
        raise GenerationError(text, field="forced_decoder_ids", got=pairs, expected="places from 1 on")
    return [token for _, token in pairs or ()]


def _row(start: list[Any], language: int | None, settings: Any, task: str | None, asked: Any) -> list[int]:
    row = list(start)
    if language is not None:
        row[1:2] = [language]
    tasks = getattr(settings, "task_to_id", None)
    if task is not None:
        row.append(needed(settings, "task_to_id", "task")[task])
    elif asked is not None and tasks is not None and not {*row} & {*tasks.values()}:
        row.append(tasks["transcribe"])
    silent = getattr(settings, "no_timestamps_token_id", None)
    if silent is not None and not settings.return_timestamps and row[-1] != silent:
        row.append(silent)
    elif silent is not None and settings.return_timestamps and row[-1] == silent:
        row.pop()
    return [token for token in row if token is not None]
