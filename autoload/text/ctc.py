"""Wav2Vec2's tokenizer: characters, and the decoding of what a CTC model says frame by frame."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from autoload.errors import TokenizerError, did_you_mean
from autoload.hub import read_json
from autoload.text.lookup import LookupTokenizer
from autoload.text.pipelines import read_vocab
from autoload.text.specials import as_list

Span = tuple[str, int, int]  # a character, its first frame, and the frame after its last


class Wav2Vec2CTCTokenizer(LookupTokenizer):
    """A token for each character; decoding merges repeats and drops blanks, which are padding tokens."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        path, language = paths["vocab_file"], settings.get("target_lang")
        self._vocabularies: dict[str, dict[str, int]] = {}
        if language is None and not _nested(path):
            self._take(read_vocab(path))
            return
        self._vocabularies = read_json(path)
        self._take(self._of_language(language or next(iter(self._vocabularies))))

    def _of_language(self, language: str) -> dict[str, int]:
        if language not in self._vocabularies:
            known = did_you_mean(language, self._vocabularies)
            raise TokenizerError(
                f"target_lang={language!r}: this vocabulary has no such language{known}.", field="target_lang"
            )
        return self._vocabularies[language]

    def _finish(self, settings: dict[str, Any]) -> None:
        self._match_whole()

    def _match_whole(self) -> None:
        """Tokens of several characters are matched before the text is split into characters."""
        special = set(self.all_special_tokens)
        self.add_tokens(
            [
                AddedToken(token, rstrip=True, lstrip=True, normalized=False, special=token in special)
                for token in self._vocab
                if len(token) > 1
            ]
        )

    @property
    def target_lang(self) -> str | None:
        """The language whose characters are used, where one was chosen."""
        return self.init_kwargs.get("target_lang")

    def set_target_lang(self, target_lang: str) -> None:
        """Use the characters of another language, of a vocabulary that has several.

        Raises:
            TokenizerError: the vocabulary has one language, or not this one.
        """
        if not self._vocabularies:
            raise TokenizerError("This vocabulary is of one language, so there is none to set.", field="target_lang")
        self._take(self._of_language(target_lang))
        self.init_kwargs["target_lang"] = target_lang
        for index in [index for index in self._added_tokens if index in self._tokens_of]:
            self._added.pop(self._added_tokens.pop(index).content, None)
        self._match_whole()

    def _pieces(self, text: str) -> list[str]:
        if self.init_kwargs.get("do_lower_case"):  # such vocabularies are in upper case
            text = text.upper()
        delimiter = self._named.get("word_delimiter_token")
        return list(text.replace(" ", delimiter) if delimiter else text)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Token of an id, tokens of a list of them; the vocabulary wins over added tokens."""
        if isinstance(ids, int) and ids in self._tokens_of:
            return self._tokens_of[ids]
        return super().convert_ids_to_tokens(ids, skip_special_tokens)

    def convert_tokens_to_string(self, tokens: list[str], **options: Any) -> Any:
        """Text of tokens, and where they stand: `{"text", "char_offsets", "word_offsets"}`."""
        return self._spell(tokens, **options)

    def _spell(
        self,
        tokens: list[str],
        group_tokens: bool = True,
        spaces_between_special_tokens: bool = False,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        probabilities: list[float] | None = None,
    ) -> dict[str, Any]:
        spans: list[Span] = []
        start = 0
        runs = [(token, len(list(run))) for token, run in groupby(tokens)] if group_tokens else [(t, 1) for t in tokens]
        space = self.replace_word_delimiter_char
        delimiter = self._named.get("word_delimiter_token")
        for token, length in runs:
            if token != self.pad_token:
                spans.append((space if token == delimiter else token, start, start + length))
            start += length
        text = (" " if spaces_between_special_tokens else "").join(char for char, _, _ in spans).strip()
        if self.init_kwargs.get("do_lower_case"):
            text = text.lower()
        chars = [_entry("char", [span], probabilities) for span in spans]
        spelled = {
            "text": text,
            "char_offsets": chars if output_char_offsets else None,
            "word_offsets": _words(spans, space, probabilities) if output_word_offsets else None,
        }
        return spelled if probabilities is None else {**spelled, "confidence": _confidence(spans, probabilities)}

    @property
    def replace_word_delimiter_char(self) -> str:
        """What stands between words in a text."""
        return self.init_kwargs.get("replace_word_delimiter_char", " ")

    @staticmethod
    def _get_word_offsets(offsets: list[dict[str, Any]], word_delimiter_char: str = " ") -> list[dict[str, Any]]:
        """Words of `char_offsets`, for pipelines, which know this name."""
        spans = [(at["char"], at["start_offset"], at["end_offset"]) for at in offsets]
        return _words(spans, word_delimiter_char, None)

    def _decode(
        self,
        ids: list[int],
        skip_special_tokens: bool,
        clean_up: bool | None,
        output_char_offsets: bool = False,
        output_word_offsets: bool = False,
        probabilities: list[float] | None = None,
        **options: Any,
    ) -> Any:
        """The text; with offsets or probabilities a dictionary, whose offsets count the model's frames."""
        tokens = self.convert_ids_to_tokens(ids)
        if probabilities is not None and len(probabilities) != len(tokens):
            text = f"decode: {len(probabilities)} probabilities of {len(tokens)} ids, expected one of each."
            raise TokenizerError(text, field="probabilities")
        if skip_special_tokens:
            delimiter = self._named.get("word_delimiter_token")
            special = set(self.all_special_tokens) - {delimiter}
            kept = [place for place, token in enumerate(tokens) if token not in special]
            tokens = [tokens[place] for place in kept]
            probabilities = None if probabilities is None else [probabilities[place] for place in kept]
        wanted = dict(output_char_offsets=output_char_offsets, output_word_offsets=output_word_offsets)
        spelled = self._spell(tokens, probabilities=probabilities, **wanted, **options)
        if self.clean_up_tokenization_spaces if clean_up is None else clean_up:
            spelled["text"] = self.clean_up_tokenization(spelled["text"])
        plain = probabilities is None and not (output_char_offsets or output_word_offsets)
        return spelled["text"] if plain else CTCText(spelled)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> Any:
        """Text of ids, one of each of the model's frames; a list of texts for nested ids.

        Args:
            token_ids: a list, a tensor or an array of ids.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: drop the space before punctuation; the tokenizer's setting where None.
            **options: `output_char_offsets` and `output_word_offsets` ask for the frames of characters and words;
                `probabilities` are those of the ids, shaped alike: `probabilities, ids = logits.softmax(-1).max(-1)`.
                Then the text, its characters and its words have a `confidence`, the mean of their frames, blanks apart.

        Raises:
            TokenizerError: as many probabilities as ids were expected.
        """
        ids = as_list(token_ids)
        given = as_list(options.get("probabilities"))
        if given is None or not (isinstance(ids, list) and ids and isinstance(ids[0], list)):
            return super().decode(
                ids, skip_special_tokens, clean_up_tokenization_spaces, **{**options, "probabilities": given}
            )
        if not isinstance(given, list) or len(given) != len(ids):
            raise TokenizerError("decode: expected probabilities of the shape of the ids.", field="probabilities")
        rest = {key: value for key, value in options.items() if key != "probabilities"}
        each = zip(ids, given, strict=True)
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, probabilities=p, **rest)
            for row, p in each
        ]

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> Any:
        """Texts of a batch; with offsets or probabilities a dictionary of lists. See `decode`."""
        texts = super().batch_decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **options)
        parts: list[Any] = texts
        if parts and isinstance(parts[0], dict):
            return CTCText({key: [part[key] for part in parts] for key in parts[0]})
        return parts

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        vocab = self._vocabularies or self._vocab
        return {"vocab.json": json.dumps(vocab, indent=2, ensure_ascii=False) + "\n"}


class CTCText(dict):
    """Decoded text with `char_offsets` and `word_offsets`, as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


def _nested(path: Path) -> bool:
    """Whether a vocabulary holds one for each of several languages."""
    vocab = read_json(path)
    return isinstance(vocab, dict) and bool(vocab) and all(isinstance(value, dict) for value in vocab.values())


def _words(spans: list[Span], space: str, probabilities: list[float] | None) -> list[dict[str, Any]]:
    """Words between spaces, with the frames from the first character's to the last one's."""
    runs = groupby(spans, key=lambda span: span[0] == space)
    return [_entry("word", [*run], probabilities) for is_space, run in runs if not is_space]


def _entry(kind: str, spans: list[Span], probabilities: list[float] | None) -> dict[str, Any]:
    """A character or a word, and where it stands."""
    entry = {
        kind: "".join(char for char, _, _ in spans),
        "start_offset": spans[0][1],
        "end_offset": spans[-1][2],
    }
    return entry if probabilities is None else {**entry, "confidence": _confidence(spans, probabilities)}


def _confidence(spans: list[Span], probabilities: list[float]) -> float | None:
    """The mean probability of the characters' frames; None where there are none."""
    frames = [probabilities[frame] for _, begin, end in spans for frame in range(begin, end)]
    return sum(frames) / len(frames) if frames else None
