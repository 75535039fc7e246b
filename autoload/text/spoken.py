"""Transcriptions as word error rates compare them: no case, no punctuation, one spelling, numbers in digits.

The rules are those of the Whisper paper's appendix C and its published normalizers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

# letters that do not come apart into a letter and a mark
PLAIN_LETTERS = str.maketrans({
    "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ẞ": "SS", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "th", "ł": "l", "Ł": "L",
})  # fmt: skip
FILLERS = re.compile(r"\b(hmm|mm|mhm|mmm|uh|um)\b")
CONTRACTIONS = [
    (re.compile(pattern), text)
    for pattern, text in (
        (r"\bwon't\b", "will not"),
        (r"\bcan't\b", "can not"),
        (r"\blet's\b", "let us"),
        (r"\bain't\b", "aint"),
        (r"\by'all\b", "you all"),
        (r"\bwanna\b", "want to"),
        (r"\bgotta\b", "got to"),
        (r"\bgonna\b", "going to"),
        (r"\bi'ma\b", "i am going to"),
        (r"\bimma\b", "i am going to"),
        (r"\bwoulda\b", "would have"),
        (r"\bcoulda\b", "could have"),
        (r"\bshoulda\b", "should have"),
        (r"\bma'am\b", "madam"),
        (r"\bmr\b", "mister "),
        (r"\bmrs\b", "missus "),
        (r"\bst\b", "saint "),
        (r"\bdr\b", "doctor "),
        (r"\bprof\b", "professor "),
        (r"\bcapt\b", "captain "),
        (r"\bgov\b", "governor "),
        (r"\bald\b", "alderman "),
        (r"\bgen\b", "general "),
        (r"\bsen\b", "senator "),
        (r"\brep\b", "representative "),
        (r"\bpres\b", "president "),
        (r"\brev\b", "reverend "),
        (r"\bhon\b", "honorable "),
        (r"\basst\b", "assistant "),
        (r"\bassoc\b", "associate "),
        (r"\blt\b", "lieutenant "),
        (r"\bcol\b", "colonel "),
        (r"\bjr\b", "junior "),
        (r"\bsr\b", "senior "),
        (r"\besq\b", "esquire "),
        (r"'d been\b", " had been"),
        (r"'s been\b", " has been"),
        (r"'d gone\b", " had gone"),
        (r"'s gone\b", " has gone"),
        (r"'d done\b", " had done"),
        (r"'s got\b", " has got"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'s\b", " is"),
        (r"'d\b", " would"),
        (r"'ll\b", " will"),
        (r"'t\b", " not"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
    )
]


def basic(text: str, remove_diacritics: bool = False) -> str:
    """Text of any language: lower case, without brackets, punctuation and, where asked for, marks on letters."""
    text = _without_brackets(text.lower())
    text = (_without_marks(text) if remove_diacritics else _without_symbols(text)).lower()
    return re.sub(r"\s+", " ", text)


def english(text: str, spellings: dict[str, str]) -> str:
    """English text; `spellings` maps British words to American ones."""
    text = _without_brackets(text.lower())
    text = FILLERS.sub("", text)
    text = re.sub(r"\s+'", "'", text)
    for pattern, full in CONTRACTIONS:
        text = pattern.sub(full, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)
    text = _without_marks(text, keep=".%$¢€£")
    text = _numbers(text)
    text = " ".join(spellings.get(word, word) for word in text.split())
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text)
    text = re.sub(r"([^0-9])%", r"\1 ", text)
    return re.sub(r"\s+", " ", text)


def _without_brackets(text: str) -> str:
    return re.sub(r"\(([^)]+?)\)", "", re.sub(r"[<\[][^>\]]*[>\]]", "", text))


def _without_marks(text: str, keep: str = "") -> str:
    """No marks on letters, and a space for each symbol and each punctuation."""
    out = []
    for char in unicodedata.normalize("NFKD", text):
        kind = unicodedata.category(char)
        if char in keep:
            out.append(char)
        elif char.translate(PLAIN_LETTERS) != char:
            out.append(char.translate(PLAIN_LETTERS))
        elif kind != "Mn":
            out.append(" " if kind[0] in "MSP" else char)
    return "".join(out)


def _without_symbols(text: str) -> str:
    return "".join(
        " " if unicodedata.category(char)[0] in "MSP" else char for char in unicodedata.normalize("NFKC", text)
    )


# -- numbers --------------------------------------------------------------------------------------------------------

ONES = {
    name: value
    for value, name in enumerate(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split(),
        1,
    )
}
TENS = {
    name: 10 * (place + 2) for place, name in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())
}
SCALES = {
    name: 1000 ** (place + 1)
    for place, name in enumerate(
        "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion "
        "decillion".split()
    )
} | {"hundred": 100}
ZEROS = {"o", "oh", "zero"}
SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
UNITS = {
    name + plural: sign
    for name, sign in (("pound", "£"), ("euro", "€"), ("dollar", "$"), ("cent", "¢"))
    for plural in ("", "s")
}
REPEATS = {"double": 2, "triple": 3}
WRITTEN = re.compile(r"([€£$¢]?)(\d+(?:\.\d+)?)")
ORDINALS = {
    "zeroth": (0, "th"), "first": (1, "st"), "second": (2, "nd"), "third": (3, "rd"), "fifth": (5, "th"),
    "twelfth": (12, "th"),
}  # fmt: skip


def _word_value(word: str) -> tuple[str, int, str] | None:
    """Kind ("one", "ten", "scale"), value and ending ("", "s", "th") of a number word."""
    for table, kind in ((ONES, "one"), (TENS, "ten"), (SCALES, "scale")):
        for name, value in table.items():
            stem = name[:-1] + "ie" if name.endswith("y") else name
            if word == name:
                return kind, value, ""
            if word in (f"{name}s", f"{stem}s", "sixes" if name == "six" else ""):
                return kind, value, "s"
            ordinal = f"{stem}th" if name.endswith("y") else f"{name}h" if name.endswith("t") else f"{name}th"
            ordinal = "ninth" if name == "nine" else ordinal
            if word == ordinal and name not in ("one", "two", "three", "five", "twelve"):
                return kind, value, "th"
    if word in ORDINALS:
        value, ending = ORDINALS[word]
        return "one", value, ending
    return None


def _numbers(text: str) -> str:
    """Number words as digits, with the signs of currencies before them."""
    text = re.sub(r"(\S+) and a half\b", lambda m: f"{m[1]} point five" if _is_number(m[1]) else m[0], text)
    text = re.sub(r"([a-z])([0-9])", r"\1 \2", text)
    text = re.sub(r"([0-9])([a-z])", r"\1 \2", text)
    text = re.sub(r"([0-9])\s+(st|nd|rd|th|s)\b", r"\1\2", text)
    out = " ".join(_spelled(text.split()))
    out = re.sub(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b", lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", out)
    out = re.sub(r"[€£$]0.([0-9]{1,2})\b", lambda m: f"¢{int(m[1])}", out)
    return re.sub(r"\b1(s?)\b", r"one\1", out)


def _is_number(word: str) -> bool:
    return word[:1].isdigit() or _word_value(word) is not None


def _spelled(words: list[str]) -> Iterator[str]:
    """Words with each run of number words as one number."""
    place = 0
    while place < len(words):
        number, used = _run(words[place:])
        if used:
            yield number
            place += used
        else:
            yield words[place]
            place += 1


def _run(words: list[str]) -> tuple[str, int]:
    """The number that begins here, and how many words it takes; none where no number begins."""
    place = 0
    sign = ""
    if words[0] in SIGNS and len(words) > 1 and _is_number(words[1]):
        sign, place = SIGNS[words[0]], 1
    digits, place, ending = _digits(words, place)
    after = words[place + 1 : place + 2]
    if words[place : place + 1] == ["point"] and after and (after[0] in ZEROS or _word_value(after[0])):
        place += 1
        digits += "."
        while place < len(words) and (digit := _digit(words[place])) is not None:
            digits += digit
            place += 1
    if not digits:
        return "", 0
    number = sign + digits + ending
    rest = words[place : place + 2]
    if rest[:1] == ["percent"]:
        return f"{number}%", place + 1
    if rest == ["per", "cent"]:
        return f"{number}%", place + 2
    if rest and rest[0] in UNITS:
        return f"{UNITS[rest[0]]}{number}", place + 1
    return number, place


def _digit(word: str) -> str | None:
    if word in ZEROS:
        return "0"
    found = _word_value(word)
    return str(found[1]) if found and found[0] == "one" else None


def _digits(words: list[str], place: int) -> tuple[str, int, str]:
    """Digits of the number that begins at a place, the place after it, and the ending of its last word."""
    total: int | None = None  # thousands and more
    current: int | None = None  # what is below the next scale
    digits = ending = ""  # numbers said side by side, as in "nineteen ninety"
    while place < len(words) and not ending:
        word, after = words[place], words[place + 1 : place + 2]
        value = _word_value(word)
        if (times := REPEATS.get(word)) and after and (digit := _digit(after[0])) is not None:
            digits, current = digits + _text(total, current) + digit * times, None
            place += 1
        elif word in ZEROS:
            digits, current = digits + _text(total, current) + "0", None
        elif (written := WRITTEN.fullmatch(word)) and not digits and total is None and current is None:
            number = Fraction(written[2])
            if after and after[0] in SCALES:
                number *= SCALES[after[0]]
                place += 1
            return written[1] + (str(number) if number.denominator == 1 else written[2]), place + 1, ""
        elif word == "and" and after and _joins(total, current, _word_value(after[0])):
            pass
        elif value is None:
            break
        elif value[0] == "scale" and value[1] > 100:
            total, current, ending = (total or 0) + (current or 1) * value[1], None, value[2]
        elif value[0] == "scale":
            current, ending = (current or 1) * 100, value[2]
        elif current is None or _fits(current, value):
            current, ending = (current or 0) + value[1], value[2]
        else:
            digits, current, ending = digits + _text(None, current), value[1], value[2]
        place += 1
    return digits + _text(total, current), place, ending


def _text(total: int | None, current: int | None) -> str:
    return "" if total is None and current is None else str((total or 0) + (current or 0))


def _joins(total: int | None, current: int | None, following: tuple[str, int, str] | None) -> bool:
    """Whether "and" goes on with a number: "two hundred and five", not "two and three"."""
    if following is None or following[0] == "scale" or (total is None and current is None):
        return False
    return (current or 0) % 100 == 0


def _fits(current: int, value: tuple[str, int, str]) -> bool:
    """Whether a word adds to what was said: five to twenty, sixty to five hundred."""
    return current % 100 == 0 or (value[0] == "one" and current % 10 == 0 and value[1] < 10)
