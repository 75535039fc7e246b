"""Tweets as BERTweet saw them: users and addresses without their names, contractions apart, emoji in words."""

from __future__ import annotations

import functools
import html.entities
import logging
import re
from collections.abc import Callable

BALANCED = r"\([^\s()]*?\([^\s()]+\)[^\s()]*?\)|\([^\s]+?\)"
EYES, NOSE, MOUTH = r"[:;=8]", r"[\-o*']?", r"[)\](\[dDpP/:}{@|\\]"
# What a tweet is made of; of two that fit at the same place the first is taken.
KINDS = (
    # addresses: with a scheme or a path, then bare domains that are not part of a mail address
    r"(?:https?:(?:/{1,3}|[a-z0-9%])|[a-z0-9.\-]+[.](?:[a-z]{2,13})/)"
    rf"(?:[^\s()<>{{}}\[\]]+|{BALANCED})+(?:{BALANCED}|[^\s`!()\[\]{{}};:'\".,<>?«»“”‘’])",
    r"(?<!@)[a-z0-9]+(?:[.\-][a-z0-9]+)*[.](?:[a-z]{2,13})\b/?(?!@)",
    r"(?:\+?[01][ *\-.)]*)?(?:[(]?\d{3}[ *\-.)]*)?\d{3}[ *\-.)]*\d{4}",  # telephone numbers
    rf"[<>]?{EYES}{NOSE}{MOUTH}|{MOUTH}{NOSE}{EYES}[<>]?|<3",  # emoticons
    r"<[^>\s]+>",  # tags
    r"[\-]+>|<[\-]+",  # arrows
    r"@[\w_]+",  # users
    r"\#+[\w_]+[\w'_\-]*[\w_]+",  # subjects
    r"[\w.+-]+@[\w-]+\.(?:[\w-]\.?)+[\w-]",  # mail addresses
    r"[^\W\d_](?:[^\W\d_]|['\-_])+[^\W\d_]",  # words with apostrophes and hyphens
    r"[+\-]?\d+[,/.:-]\d+[+\-]?",  # numbers with a fraction
    r"[\w_]+",
    r"\.(?:\s*\.){1,}",
    r"\S",
)
TOKEN = re.compile("|".join(f"(?:{kind})" for kind in KINDS), re.IGNORECASE)
REPEATED = re.compile(r"([^a-zA-Z0-9])\1{3,}")
ENTITY = re.compile(r"&(#?(x?))([^&;\s]+);")
PUNCTUATION = {"’": "'", "…": "..."}
# In this order, each on the result of those before.
REWRITTEN = (
    ("cannot ", "can not "),
    *((ending, " n't ") for ending in ("n't ", "n 't ")),
    ("ca n't", "can't"),
    ("ai n't", "ain't"),
    *((f"'{ending} ", f" '{ending} ") for ending in ("m", "re", "s", "ll", "d", "ve")),
    (" p . m .", "  p.m."),
    (" p . m ", " p.m "),
    (" a . m .", " a.m."),
    (" a . m ", " a.m "),
)

log = logging.getLogger("autoload.text")


def normalized(tweet: str) -> str:
    """A tweet, normalized."""
    for mark, plain in PUNCTUATION.items():
        tweet = tweet.replace(mark, plain)
    text = " ".join(map(_word, TOKEN.findall(REPEATED.sub(r"\1\1\1", ENTITY.sub(_character, tweet)))))
    for found, wanted in REWRITTEN:
        text = text.replace(found, wanted)
    return " ".join(text.split())


def _word(token: str) -> str:
    if token.startswith("@"):
        return "@USER"
    if token.lower().startswith(("http", "www")):
        return "HTTPURL"
    return _demojizer()(token) if len(token) == 1 else token


@functools.lru_cache(maxsize=1)
def _demojizer() -> Callable[[str], str]:
    """Emoji in words, where the package for it is installed."""
    try:
        from emoji import demojize  # type: ignore[import-not-found]
    except ImportError:
        log.warning(
            "Emoji in tweets stay as they are, where the model saw words: the package `emoji` is not installed."
        )
        return str
    return demojize


def _character(found: re.Match[str]) -> str:
    """The character of an entity such as `&amp;`; nothing for entities that are none."""
    numeric, hexadecimal, body = found.groups()
    if not numeric:
        code = html.entities.name2codepoint.get(body)
    else:
        try:
            code = int(body, 16 if hexadecimal else 10)
            if 0x80 <= code <= 0x9F:  # meant as Windows writes it
                return bytes([code]).decode("cp1252")
        except ValueError:
            code = None
    try:
        return "" if code is None else chr(code)
    except (ValueError, OverflowError):
        return ""
