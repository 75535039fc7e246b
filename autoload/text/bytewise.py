"""Tokenizers of bytes and of code points, which need no vocabulary file."""

from __future__ import annotations

import sys
from typing import Any

from tokenizers import AddedToken

from autoload.text.python import PreTrainedTokenizer


class ByteTokenizer(PreTrainedTokenizer):
    """A token for each byte of UTF-8; ids after those of a few tokens of the class."""

    heads: tuple[str, ...] = ()  # names of the tokens before the bytes
    errors = "ignore"

    @property
    def _offset(self) -> int:
        return len(self.heads)

    @property
    def vocab_size(self) -> int:
        """Number of bytes."""
        return 256

    @property
    def _id_count(self) -> int:
        return 256 + self._offset

    def _own_vocab(self) -> dict[str, int]:
        return {chr(byte): byte + self._offset for byte in range(256)}

    def _seed_added(self) -> None:
        for index, name in enumerate(self.heads):
            text = self._named.get(name, name)
            strip = self.strip_named
            token = AddedToken(text, special=True, normalized=False, lstrip=strip, rstrip=strip)
            self._added[text], self._added_tokens[index] = index, token

    def _pieces(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode("utf-8", errors="surrogatepass")]

    def _piece_id(self, piece: str) -> int | None:
        return ord(piece) + self._offset if len(piece) == 1 and ord(piece) < 256 else None

    def _id_piece(self, index: int) -> str | None:
        byte = index - self._offset
        return chr(byte) if 0 <= byte < 256 else None

    def _join(self, tokens: list[str]) -> str:
        parts = [
            token.encode() if token in self._added else token.encode("latin-1", errors="ignore") for token in tokens
        ]
        return b"".join(parts).decode("utf-8", errors=self.errors)


class ByT5Tokenizer(ByteTokenizer):
    """Bytes after `<pad> </s> <unk>`, sentinels after them."""

    heads = ("pad_token", "eos_token", "unk_token")
    strip_named = True

    def _open(self, paths: dict[str, Any], settings: dict[str, Any]) -> None:
        own = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
        if not own:
            count = settings.get("extra_ids", 125)
            settings["extra_special_tokens"] = [f"<extra_id_{index}>" for index in range(count)]

    def _parts(self, first: list[int], second: list[int] | None) -> list[tuple[list[int], bool]]:
        """An end that the text already has is not put twice."""
        parts = super()._parts(first, second)
        end = self.eos_token_id
        return [
            part
            for place, part in enumerate(parts)
            if not (part[1] and place and parts[place - 1][0][-1:] == [end] and part[0] == [end])
        ]


class PerceiverTokenizer(ByteTokenizer):
    """Bytes after six tokens, in a frame of `[CLS]` and `[SEP]`."""

    heads = ("pad_token", "bos_token", "eos_token", "mask_token", "cls_token", "sep_token")
    errors = "replace"


class DiaTokenizer(ByteTokenizer):
    """Bytes as they are; the first three are padding and two speakers."""

    heads = ("pad_token", "[S1]", "[S2]")

    @property
    def _offset(self) -> int:
        return self.init_kwargs.get("offset", 0) if "init_kwargs" in self.__dict__ else 0


class CanineTokenizer(PreTrainedTokenizer):
    """A token for each character; its code point is its id."""

    @property
    def vocab_size(self) -> int:
        """Number of code points."""
        return sys.maxunicode + 1

    def _own_vocab(self) -> dict[str, int]:
        return {chr(point): point for point in range(sys.maxunicode + 1)}

    def _pieces(self, text: str) -> list[str]:
        return list(text)

    def _piece_id(self, piece: str) -> int | None:
        return ord(piece) if len(piece) == 1 else None

    def _id_piece(self, index: int) -> str | None:
        return chr(index) if index <= sys.maxunicode else None

    def _join(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def _template_types(self, first: list[int], second: list[int] | None) -> list[int]:
        return [0] * len(self._template_ids(first, second))
