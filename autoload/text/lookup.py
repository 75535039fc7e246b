"""Tokenizers with a vocabulary of their own in a JSON or text file, beside whatever splits the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoload.text.pipelines import read_lines, read_vocab
from autoload.text.python import PreTrainedTokenizer


class LookupTokenizer(PreTrainedTokenizer):
    """A tokenizer that looks its pieces up in a vocabulary."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        path = paths["vocab_file"]
        self._take(read_lines(path) if path.suffix == ".txt" else read_vocab(path))

    def _take(self, vocab: dict[str, int]) -> None:
        self._vocab = vocab
        self._tokens_of = {index: token for token, index in vocab.items()}

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens."""
        return len(self._vocab)

    @property
    def encoder(self) -> dict[str, int]:
        """Token -> id, without added tokens."""
        return self._vocab

    def _own_vocab(self) -> dict[str, int]:
        return self._vocab

    def _piece_id(self, piece: str) -> int | None:
        return self._vocab.get(piece)

    def _id_piece(self, index: int) -> str | None:
        return self._tokens_of.get(index)

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        name = self.recipe.files["vocab_file"]
        if name.endswith(".txt"):
            return {name: "".join(f"{token}\n" for token in self._vocab)}
        return {name: json.dumps(self._vocab, indent=2, ensure_ascii=False) + "\n"}


class MgpstrTokenizer(LookupTokenizer):
    """A token for each character."""

    def _pieces(self, text: str) -> list[str]:
        return list(text)


class EsmTokenizer(LookupTokenizer):
    """Residues of a protein: every token of the vocabulary is matched wherever it stands."""

    def _pieces(self, text: str) -> list[str]:
        return text.split()

    def _seed_added(self) -> None:
        self.add_tokens(list(self._vocab))
