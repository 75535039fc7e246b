"""Tokenizers of words in pieces that end in `@@`: CTRL, PhoBERT, BERTweet, the small Blenderbot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from autoload.errors import CorruptFile, TokenizerError, reading
from autoload.text.lookup import LookupTokenizer
from autoload.text.pipelines import read_vocab

END = "</w>"


class SubwordTokenizer(LookupTokenizer):
    """Byte pair encoding of each word; all pieces but a word's last end in `@@`."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        self._take(read_vocab(paths["vocab_file"]))
        self._rank(paths["merges_file"])

    def _rank(self, path: Path) -> None:
        with reading(path, "list of merges"):
            text = path.read_text(encoding="utf-8")
        lines = [line.split() for line in text.split("\n") if line.strip() and not line.startswith("#version")]
        self._ranks = {(line[0], line[1]): rank for rank, line in enumerate(lines) if len(line) >= 2}
        self._merges = text

    def _pieces(self, text: str) -> list[str]:
        return [piece for word in re.findall(r"\S+\n?", text) for piece in self._split(word)]

    def _split(self, word: str) -> list[str]:
        return self._merged(word)

    def _parts_of(self, word: str) -> list[str]:
        """A word after all merges, best rank first, each wherever it fits; the last part ends in the mark of ends."""
        parts = [*word[:-1], word[-1] + END]
        while len(parts) > 1:
            pairs = list(zip(parts, parts[1:], strict=False))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            parts = _merge(parts, best)
        return parts

    def _merged(self, word: str) -> list[str]:
        """A word's parts, with the mark of what goes on."""
        parts = self._parts_of(word)
        parts[-1] = parts[-1].removesuffix(END)
        return [*(f"{part}@@" for part in parts[:-1]), parts[-1]]

    def _join(self, tokens: list[str]) -> str:
        return " ".join(tokens).replace("@@ ", "").strip()

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        return {**super()._saved_vocabulary(), self.recipe.files["merges_file"]: self._merges}


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """Parts with every occurrence of a pair joined, from the left."""
    merged: list[str] = []
    place = 0
    while place < len(parts):
        if tuple(parts[place : place + 2]) == pair:
            merged.append(pair[0] + pair[1])
            place += 2
        else:
            merged.append(parts[place])
            place += 1
    return merged


class CTRLTokenizer(SubwordTokenizer):
    """CTRL's."""


class FairseqDictTokenizer(SubwordTokenizer):
    """A vocabulary of fairseq: a token and its count on each line, after four special tokens."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        self._take(_fairseq_dict(paths["vocab_file"], settings))
        self._rank(paths["merges_file"])

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        lines = "".join(f"{token} {index}\n" for token, index in self._vocab.items() if index > 3)
        return {self.recipe.files["vocab_file"]: lines, self.recipe.files["merges_file"]: self._merges}


class PhobertTokenizer(FairseqDictTokenizer):
    """PhoBERT's, for Vietnamese already split into words."""


class BertweetTokenizer(FairseqDictTokenizer):
    """BERTweet's; with `normalization`, for tweets as they are written."""

    def _pieces(self, text: str) -> list[str]:
        if self.init_kwargs.get("normalization"):
            from autoload.text.tweets import normalized

            text = normalized(text)
        return super()._pieces(text)


class BlenderbotSmallTokenizer(SubwordTokenizer):
    """The small Blenderbot's: lower case, punctuation apart, line ends as a token."""

    def _split(self, word: str) -> list[str]:
        word = re.sub(r"([.,!?()])", r" \1", word)
        word = re.sub(r"(')", r" \1 ", word).replace("\n", " __newln__")
        return [piece for part in word.lower().split() for piece in self._merged(part)]


class BioGptTokenizer(SubwordTokenizer):
    """BioGPT's: words as Moses finds them; the last piece of each keeps the mark of its end."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        try:
            from sacremoses import MosesDetokenizer, MosesTokenizer  # type: ignore[import-not-found]
        except ImportError as e:
            raise TokenizerError(
                "BioGptTokenizer needs the package `sacremoses`: pip install sacremoses.", field="tokenizer_class"
            ) from e
        super()._open(paths, settings)
        self._moses, self._unmoses = MosesTokenizer(lang="en"), MosesDetokenizer(lang="en")

    def _pieces(self, text: str) -> list[str]:
        words = self._moses.tokenize(text, aggressive_dash_splits=True, return_str=False, escape=True)
        return [piece for word in words if word for piece in self._parts_of(word)]

    def _join(self, tokens: list[str]) -> str:
        return self._unmoses.detokenize("".join(token.replace(END, " ") for token in tokens).split())


def _fairseq_dict(path: Path, settings: dict[str, Any]) -> dict[str, int]:
    names = ("bos_token", "pad_token", "eos_token", "unk_token")
    vocab = {settings[name]: index for index, name in enumerate(names)}
    with reading(path, "vocabulary"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        token, space, _ = line.strip().rpartition(" ")
        if not space:
            raise CorruptFile(
                f"{path}: line {number} is {line[:60]!r}, expected a token and its count.", path=str(path)
            )
        vocab[token] = len(vocab)
    return vocab
