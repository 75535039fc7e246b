"""Tokenizers of speech models that read letters or phonemes: MMS text-to-speech, and CTC models of phonemes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoload.errors import TokenizerError
from autoload.text.ctc import Wav2Vec2CTCTokenizer
from autoload.text.lookup import LookupTokenizer


class VitsTokenizer(LookupTokenizer):
    """Letters of the vocabulary, with a blank before, between and after them."""

    def _finish(self, settings: dict[str, Any]) -> None:
        for key, package in (("phonemize", "phonemizer"), ("is_uroman", "uroman")):
            if settings.get(key):
                raise TokenizerError(
                    f"{key} needs the package `{package}`, which is not supported: convert texts with it beforehand and "
                    f"pass {key}=False.",
                    field=key,
                )

    def _pieces(self, text: str) -> list[str]:
        if self.init_kwargs.get("normalize", True):
            text = "".join(self._known(text)).strip()
        if not self.init_kwargs.get("add_blank", True):
            return list(text)
        blank = self._id_piece(0) or ""
        return [blank, *(piece for letter in text for piece in (letter, blank))]

    def _known(self, text: str) -> list[str]:
        """Letters that the vocabulary has, in lower case where it lacks the upper one."""
        if self.init_kwargs.get("language") == "ron":
            text = text.replace("ț", "ţ")
        letters = [letter if letter in self._vocab else letter.lower() for letter in text]
        return [letter for letter in letters if letter in self._vocab]

    def _join(self, tokens: list[str]) -> str:
        blanks = self.init_kwargs.get("add_blank", True) and len(tokens) > 1
        return "".join(tokens[1::2] if blanks else tokens)


class Wav2Vec2PhonemeCTCTokenizer(Wav2Vec2CTCTokenizer):
    """A token for each phoneme; texts come in phonemes, with spaces between them. Delimiters are no tokens."""

    DELIMITERS = ("phone_delimiter_token", "word_delimiter_token")

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        delimiters = {key: settings.pop(key, None) for key in self.DELIMITERS}
        super()._open(paths, settings)
        self.phone_delimiter_token = delimiters["phone_delimiter_token"] or " "
        self.word_delimiter_token = delimiters["word_delimiter_token"]

    def _finish(self, settings: dict[str, Any]) -> None:
        super()._finish(settings)
        settings.update({key: getattr(self, key) for key in self.DELIMITERS})

    def _pieces(self, text: str) -> list[str]:
        if self.init_kwargs.get("do_phonemize", True):
            raise TokenizerError(
                "do_phonemize needs the package `phonemizer`, which is not supported: convert texts with it beforehand "
                "and pass do_phonemize=False. Decoding works as it is.",
                field="do_phonemize",
            )
        return text.strip().split(self.phone_delimiter_token)

    def _spell(self, tokens: list[str], **options: Any) -> dict[str, Any]:
        return super()._spell(tokens, **{**options, "spaces_between_special_tokens": True})
