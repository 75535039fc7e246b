"""GPT-NeoX-Japanese's tokenizer: pieces of at most three characters, several spellings of one piece, bytes for the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from autoload.errors import CorruptFile, reading
from autoload.hub import read_json
from autoload.text.lookup import LookupTokenizer

SPELLED = ((" ", "<SP>"), ("\u3000", "<SP>"), ("\r\n", "<BR>"), ("\n", "<BR>"), ("\r", "<BR>"), ("\t", "<TAB>"),
           ("—", "ー"), ("−", "ー"))  # fmt: skip
READ = {"<SP>": " ", "<BR>": "\n", "<TAB>": "\t", "<BLOCK>": "▀", "<KIGOU>": "ǀ", "<U2000U2BFF>": "‖"}
BYTE = re.compile(r"<\|byte(\d+)\|>")
SYMBOLS = ((0xA1, 0xBF), (0x1C0, 0x1C3), (0x2B9, 0x2FF), (0x300, 0x362))
CLOCK = r"(?:\d{1,2}|:|\d{1,2}時|\d{1,2}分|\([日月火水木金土]\)|[㈰㈪㈫㈬㈭㈮㈯])*"
DAY = r"(?:0?[1-9]|[12][0-9]|3[01])日"
AMOUNT = "".join(
    rf"(?=(?P<{name}>(?:\d,\d{{3}}|[\d{unit}])*))(?P={name})" for name, unit in zip("abc", "億万千", strict=True)
)
# What `do_clean_text` puts in the place of addresses, numbers, dates and prices, in this order.
CLEANED = (
    ("<URL>", re.compile(r"(?:https?|ftp)://[-_.!~*'()a-zA-Z0-9;/?:@&=+$,%#]+")),
    ("<EMAIL>", re.compile(r"[A-Za-z0-9._+]*@[\-_0-9A-Za-z]+(?:\.[A-Za-z]+)*")),
    ("<TEL>", re.compile(r"\(?[0-9]{2,4}[)\-(]?[0-9]{2,4}[)\-]?[0-9]{3,4}")),
    ("<DATE>", re.compile(rf"(?:[12]\d{{3}}[/\-年])*(?:0?[1-9]|1[0-2])[/\-月](?:{DAY}?)*{CLOCK}")),
    (
        "<DATE>",
        re.compile(rf"(?:明治|大正|昭和|平成|令和|[㍾㍽㍼㍻\u32ff])\d{{1,2}}年(?:0?[1-9]|1[0-2])月{DAY}{CLOCK}"),
    ),
    ("<PRICE>", re.compile(rf"{AMOUNT}(?:(?:千|万|千万)?(?:円|ドル|ユーロ))+(?:\(税込\)|\(税抜\)|\+tax)*")),
    ("<BLOCK>", re.compile("[\u2500-\u257f\u2580-\u2593\u2594-\u259f]+")),
)


class GPTNeoXJapaneseTokenizer(LookupTokenizer):
    """Of the pieces that begin at a place the one with the least id is taken, which is the most frequent one."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        path = paths["vocab_file"]
        with reading(path, "vocabulary"):
            lines = path.read_text(encoding="utf-8").splitlines()
        self._take({line: index for index, line in enumerate(lines)})
        spellings = [[line] if line == "," else line.split(",") for line in lines]
        self._spellings = {text: index for index, texts in enumerate(spellings) for text in texts}
        self._first = {index: texts[0] for index, texts in enumerate(spellings)}
        self._longest = max(map(len, self._spellings), default=1)
        emoji = read_json(paths["emoji_file"])
        if not isinstance(emoji, dict) or not isinstance(emoji.get("emoji"), dict):
            raise CorruptFile(f"{paths['emoji_file']}: expected an object with `emoji`.", path=str(paths["emoji_file"]))
        self._emoji: dict[str, Any] = emoji

    def _piece_id(self, piece: str) -> int | None:
        return self._spellings.get(piece)

    def _id_piece(self, index: int) -> str | None:
        return self._first.get(index)

    def _pieces(self, text: str) -> list[str]:
        for char, name in (*SPELLED, *self._emoji["emoji"].items()):
            text = text.replace(char, name)
        if self.init_kwargs.get("do_clean_text"):
            for name, pattern in CLEANED:
                text = pattern.sub(name, text)
        pieces: list[str] = []
        place = 0
        while place < len(text):
            found = self._at(text, place)
            pieces += [found] if found else _spelled(text[place])
            place += len(found) or 1
        return pieces

    def _at(self, text: str, place: int) -> str:
        """The piece at a place, empty where there is none. Names in angle brackets are taken whole."""
        named = text[place] == "<"
        found: list[str] = []
        for end in range(min(len(text), place + (self._longest + 1 if named else 3)), place, -1):
            piece = text[place:end]
            if piece in self._spellings:
                if named and len(piece) > 2:
                    return piece
                found.append(piece)
        return min(found, key=self._spellings.__getitem__, default="")

    def _join(self, tokens: list[str]) -> str:
        parts: list[bytes] = []
        for token in tokens:
            if byte := BYTE.fullmatch(token):
                parts.append(bytes([int(byte[1])]))
            else:
                text = self._emoji.get("emoji_inv", {}).get(token, READ.get(token, token))
                parts.append(text.encode("utf-8", errors="replace"))
        return b"".join(parts).decode("utf-8", errors="replace").strip()

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        lines = "".join(f"{line}\n" for line in self._vocab)
        return {"vocab.txt": lines, "emoji.json": json.dumps(self._emoji, ensure_ascii=False) + "\n"}


def _spelled(char: str) -> list[str]:
    """Tokens of a character without a piece: a kind of symbols, or its bytes."""
    code = ord(char)
    if any(first <= code <= last for first, last in SYMBOLS):
        return ["<KIGOU>"]
    if 0x2000 <= code <= 0x2C3F:
        return ["<U2000U2BFF>"]
    return [f"<|byte{byte}|>" for byte in char.encode("utf-8", errors="replace")]
