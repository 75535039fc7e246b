"""Tokenizer classes that no real repository covers: what the reference gives for small ones, recorded beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoload.text.auto import AutoTokenizer
from tests.tokenizers.fixtures import FIXTURES, TEXTS, answers, build

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
EVERYTHING = frozenset("texts decoded skipped pair plain target padded size named special settings".split()) | {
    "in text"
}
# class -> what differs and why; nothing else may differ, and what is listed must
KNOWN: dict[str, tuple[set[str], str]] = {
    "BlenderbotTokenizer": (
        {"texts", "decoded", "pair", "target", "padded", "in text"},
        "texts end in </s>, as the models were trained and tokenizer.json of their repositories says",
    ),
    "DebertaTokenizer": ({"pair"}, "a pair has one [SEP] between its texts and types 0 and 1, as release 4 gave"),
    "DiaTokenizer": ({"decoded", "skipped"}, "bytes are decoded as UTF-8, so that texts come back as they were"),
    "FNetTokenizer": (
        EVERYTHING - {"settings"},
        "the template and the prefix are those of the models; the reference runs the bare vocabulary",
    ),
    "FunnelTokenizer": ({"pair", "padded", "settings"}, "token types are given: the model has 2 for its first token"),
    "GPTSw3Tokenizer": ({"decoded", "skipped"}, "decoded texts are stripped, with unknown pieces in them too"),
    "LasrTokenizer": (
        {"texts", "decoded", "skipped", "size"},
        "the unknown token is the model's own, and the sentinels are part of the vocabulary's size",
    ),
    "M2M100Tokenizer": (
        {"decoded", "skipped", "size", "special"},
        "language codes are special tokens of the vocabulary: they are counted, and left out of decoded texts",
    ),
    "NllbTokenizer": (
        EVERYTHING - {"plain", "decoded", "skipped", "named", "settings"} | {"decoded"},
        "the codes of 202 languages are in the vocabulary; the reference gives <unk> for them",
    ),
    "Qwen3_5Tokenizer": (
        EVERYTHING - {"named", "special", "settings"},
        "the reference loads an empty vocabulary from vocab.json and merges.txt",
    ),
    "RemBertTokenizer": (
        {"texts", "decoded", "skipped", "pair", "target", "padded", "in text"},
        "[CLS] and [SEP] stand around texts; the reference adds them only after a save",
    ),
    "SiglipTokenizer": (
        {"texts", "in text"},
        "texts are stripped before the model sees them, as its preprocessing says; the reference doubles the prefix",
    ),
    "SplinterTokenizer": ({"pair", "padded", "settings"}, "token types are given, as release 4 gave them"),
    "VitsTokenizer": ({"in text"}, "special tokens are matched before letters are filtered"),
    "Wav2Vec2PhonemeCTCTokenizer": (
        {"decoded", "skipped"},
        "decoding works where the reference fails on unknown phonemes",
    ),
    "XGLMTokenizer": (EVERYTHING - {"named", "settings"}, "the reference drops the vocabulary of the model"),
    "XLNetTokenizer": ({"settings"}, "XLNet was trained with 3 as the type of padding"),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_class_gives_what_the_reference_gives(name: str, tmp_path: Path) -> None:
    found = json.loads(json.dumps(answers(AutoTokenizer.from_pretrained(build(tmp_path, name)))))
    recorded: dict[str, Any] = RECORDED[name]
    differing = {key for key in recorded if not _same(recorded[key], found[key])}
    assert differing == KNOWN.get(name, (set(), ""))[0]


def _same(recorded: Any, found: Any) -> bool:
    """Equal, or an error in both."""
    if isinstance(recorded, dict) and "error" in recorded:
        return isinstance(found, dict) and "error" in found
    return recorded == found


@pytest.mark.parametrize("name", FIXTURES)
def test_a_saved_class_is_the_same(name: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build(tmp_path / "a", name))
    tokenizer.save_pretrained(tmp_path / "b")
    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert type(again) is type(tokenizer) and answers(again) == answers(tokenizer)
    assert [again(text).data for text in TEXTS] == [tokenizer(text).data for text in TEXTS]


def test_every_class_of_the_reference_is_here_or_says_why_not() -> None:
    auto = pytest.importorskip("transformers.models.auto.tokenization_auto")
    from autoload.text.classes import tokenizer_class
    from autoload.text.unsupported import refusal

    names = {name for name in auto.TOKENIZER_MAPPING_NAMES.values() if name}
    missing = [name for name in sorted(names) if tokenizer_class(name) is None and refusal(name, "here") is None]
    assert len(names) > 80 and missing == []


def test_japanese_words_need_a_package(tmp_path: Path) -> None:
    folder = build(tmp_path, "BertJapaneseTokenizer")
    for kind, package in (("mecab", "fugashi"), ("sudachi", "sudachipy"), ("jumanpp", "rhoknp")):
        with pytest.raises(ValueError, match=f"needs the package `{package}`"):
            AutoTokenizer.from_pretrained(folder, word_tokenizer_type=kind)
