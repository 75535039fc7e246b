"""Whisper's tokenizer: a prefix of language and task, prompts, and time stamps in what is decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from autoload.errors import TokenizerError, did_you_mean
from autoload.text import templates
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.languages import WHISPER, WHISPER_ALIASES

CODES = {**{name: code for code, name in WHISPER.items()}, **WHISPER_ALIASES}
TASKS = ("translate", "transcribe")
TIMESTAMP = re.compile(r"<\|(\d+\.\d+)\|>")
START, PREVIOUS = "<|startoftranscript|>", "<|startofprev|>"


class WhisperTokenizer(PreTrainedTokenizerFast):
    """A tokenizer that begins texts with the start token, a language, a task, and whether time stamps follow."""

    language: str | None = None
    task: str | None = None
    predict_timestamps: bool = False
    english_spelling_normalizer: dict[str, str] | None = None

    def _finish(self, settings: dict[str, Any]) -> None:
        self.english_spelling_normalizer = settings.pop("normalizer_map", None)
        if self._rust.token_to_id(START) is not None:
            self.set_prefix_tokens(
                settings.get("language"), settings.get("task"), bool(settings.get("predict_timestamps"))
            )

    @classmethod
    def _from_files(cls, files: Any, with_json: Any, settings: dict[str, Any], given: dict[str, Any]) -> Any:
        settings["normalizer_map"] = files.json("normalizer.json")
        return super()._from_files(files, with_json, settings, given)

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        saved = super()._saved_vocabulary()
        if self.english_spelling_normalizer is not None:
            saved["normalizer.json"] = json.dumps(self.english_spelling_normalizer, indent=2, ensure_ascii=False)
        return saved

    def set_prefix_tokens(
        self, language: str | None = None, task: str | None = None, predict_timestamps: bool | None = None
    ) -> None:
        """Change the prefix of texts; what is None stays.

        Args:
            language: name or code, as "spanish" or "es".
            task: "transcribe" or "translate".
            predict_timestamps: whether time stamps follow; otherwise the prefix says that none do.

        Raises:
            TokenizerError: a language or task that Whisper does not know.
        """
        if language is not None:
            self.language = _code(language)
        if task is not None:
            if task not in TASKS:
                raise TokenizerError(f"task={task!r}: expected 'transcribe' or 'translate'.", field="task")
            self.task = task
        if predict_timestamps is not None:
            self.predict_timestamps = predict_timestamps
        prefix = " ".join(self.convert_ids_to_tokens(self.prefix_tokens))
        single, pair = f"{prefix} $A {self.eos_token}", f"{prefix} $A $B:1 {self.eos_token}:1"
        self._rust.post_processor = templates.write(self._rust, single, pair)
        self._changed()

    @property
    def prefix_tokens(self) -> list[int]:
        """Ids that texts begin with. Languages have no names in the vocabulary, their order gives the ids."""
        start = self.convert_tokens_to_ids(START)
        prefix = [start]
        if self.language is not None:
            prefix.append(start + 1 + list(WHISPER).index(self.language))
        if self.task is not None:
            prefix.append(self.convert_tokens_to_ids(f"<|{self.task}|>"))
        if not self.predict_timestamps:
            prefix.append(self.convert_tokens_to_ids("<|notimestamps|>"))
        return prefix

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> list[tuple[int, int]]:
        """Position and id of each token that generation is forced to begin with, after the start token."""
        self.set_prefix_tokens(language, task, not no_timestamps)
        return list(enumerate(self.prefix_tokens[1:], 1))

    def get_prompt_ids(self, text: str, return_tensors: Any = "np") -> Any:
        """Ids of a text to put before a transcription, as its context.

        Raises:
            TokenizerError: the text holds a special token.
        """
        ids = self(PREVIOUS, " " + text.strip(), add_special_tokens=False)
        first_special = self.all_special_ids[0]
        for index in ids["input_ids"][1:]:
            if index >= first_special:
                token = self.convert_ids_to_tokens(index)
                raise TokenizerError(f"The prompt holds the special token {token}, which it may not.", field="text")
        return ids.convert_to_tensors(return_tensors)["input_ids"]

    # -- decoding ---------------------------------------------------------------------------------------------------

    def _decode(
        self,
        ids: list[int],
        skip_special_tokens: bool,
        clean_up: bool | None,
        output_offsets: bool = False,
        time_precision: float = 0.02,
        decode_with_timestamps: bool = False,
        normalize: bool = False,
        basic_normalize: bool = False,
        remove_diacritics: bool = False,
        **options: Any,
    ) -> Any:
        kept = self._without_prompt(ids) if skip_special_tokens else ids
        if decode_with_timestamps:
            text = self._timed(kept, skip_special_tokens, time_precision)
        else:
            text = super()._decode(kept, skip_special_tokens, clean_up, **options)
            if normalize:
                text = self.normalize(text)
            elif basic_normalize:
                text = self.basic_normalize(text, remove_diacritics)
            text = TIMESTAMP.sub("", text)
        return {"text": text, "offsets": self._offsets(ids, time_precision)} if output_offsets else text

    def _without_prompt(self, ids: list[int]) -> list[int]:
        """Ids from the start of the transcription on, where they begin with a prompt."""
        start = self.convert_tokens_to_ids(START)
        if not ids or ids[0] != self.convert_tokens_to_ids(PREVIOUS):
            return ids
        return ids[ids.index(start) :] if start in ids else []

    @property
    def _first_timestamp(self) -> int:
        return self.all_special_ids[-1] + 1

    def _timed(self, ids: list[int], skip_special_tokens: bool, precision: float, segment: int = 1500) -> str:
        """Text with its time stamps. Stamps begin again with each segment; the times here go on."""
        first = self._first_timestamp
        parts: list[Any] = [[]]
        latest = before = ended = 0.0
        for position, index in enumerate(ids):
            if index < first:
                parts[-1].append(index)
                continue
            time = (index - first) * precision
            if time < latest:  # the next segment has begun
                pair = position >= 2 and ids[position - 1] >= first and ids[position - 2] >= first
                if position >= 2 and not pair:
                    ended += precision * segment
                else:
                    latest = before
                    ended += before
                    parts = parts[:-2]
            before, latest = latest, time
            parts += [f"<|{time + ended:.2f}|>", []]
        plain = super()._decode
        return "".join(
            part if isinstance(part, str) else plain(part, skip_special_tokens, None) if part else "" for part in parts
        )

    def _offsets(self, ids: list[int], precision: float, segment: int = 1500) -> list[dict[str, Any]]:
        """Text and time of each stretch between two stamps; times in seconds."""
        first = self._first_timestamp
        stamped = [index >= first for index in ids]
        cuts = [here for here in range(1, len(ids)) if stamped[here - 1] and stamped[here]]
        if not cuts and sum(stamped) <= 1:
            return []
        final = max(here for here, stamp in enumerate(stamped) if stamp) + 1
        if final not in cuts:
            cuts.append(final)
        offsets: list[dict[str, Any]] = []
        last, latest, passed = stamped.index(True), 0, 0
        for cut in cuts:
            stretch = ids[last:cut]
            if len(stretch) > 1:
                begin, end = stretch[0] - first, stretch[-1] - first
                if begin < latest:  # the next segment has begun
                    lone = last >= 2 and not (stamped[last - 2] and stamped[last - 1])
                    passed += segment if lone else latest
                latest = end
                text = TIMESTAMP.sub("", super()._decode(stretch, False, None))
                offsets.append({"text": text, "timestamp": ((begin + passed) * precision, (end + passed) * precision)})
            last = cut
        return offsets

    def _decode_asr(
        self, model_outputs: Iterable[Any], *, return_timestamps: Any, return_language: Any, time_precision: float
    ) -> tuple[str, dict[str, Any]]:
        """The text of a long recording, from the windows that a pipeline cut it into.

        Args:
            model_outputs: for each window its `tokens`, `stride` (length and overlaps, in seconds) and, for times of
                words, `token_timestamps`.
            return_timestamps: True for times of chunks, "word" for times of words.
            return_language: whether chunks and words say their language.
            time_precision: seconds of one time stamp.

        Returns:
            The text; and where something was asked for, `chunks`.
        """
        from autoload.text.transcripts import Transcript

        transcript = Transcript(self, return_timestamps == "word", bool(return_timestamps), time_precision)
        for output in model_outputs:
            transcript.add(output)
        return transcript.finish(bool(return_language))

    def timestamp_ids(self, time_precision: float = 0.02) -> list[int]:
        """Ids of all time stamps, from 0 to 30 seconds."""
        return self.convert_tokens_to_ids([f"<|{step * time_precision:.2f}|>" for step in range(1501)])

    def normalize(self, text: str) -> str:
        """English text as word error rates compare it."""
        from autoload.text.spoken import english

        return english(text, self.english_spelling_normalizer or {})

    @staticmethod
    def basic_normalize(text: str, remove_diacritics: bool = False) -> str:
        """Text of any language as word error rates compare it."""
        from autoload.text.spoken import basic

        return basic(text, remove_diacritics)


def _code(language: str) -> str:
    name = language.lower()
    code = CODES.get(name, name)
    if code not in WHISPER:
        known = [*CODES, *WHISPER]
        raise TokenizerError(f"Whisper knows no language {language!r}{did_you_mean(name, known)}.", field="language")
    return code
