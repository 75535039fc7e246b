"""Tokenizer classes that no real repository covers: what the reference gives for small ones, recorded beforehand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from autoload.text.auto import AutoTokenizer
from tests.tokenizers.fixtures import FIXTURES, KNOWN, NEEDS, TEXTS, answers, build

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIXTURES)
def test_a_class_gives_what_the_reference_gives(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
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
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    tokenizer = AutoTokenizer.from_pretrained(build(tmp_path / "a", name))
    tokenizer.save_pretrained(tmp_path / "b")
    again = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert type(again) is type(tokenizer) and answers(again) == answers(tokenizer)
    assert [again(text).data for text in TEXTS] == [tokenizer(text).data for text in TEXTS]


UNKNOWN_ELSEWHERE = ("LasrTokenizer", "RemBertTokenizer")  # the reference takes another id for unknown


@pytest.mark.parametrize("name", FIXTURES)
def test_the_reference_reads_what_is_saved(name: str, tmp_path: Path) -> None:
    reference = pytest.importorskip("transformers").AutoTokenizer
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    tokenizer = AutoTokenizer.from_pretrained(build(tmp_path / "a", name))
    tokenizer.save_pretrained(tmp_path / "b")
    try:
        theirs = reference.from_pretrained(tmp_path / "b")
    except ImportError as e:
        pytest.skip(f"the reference needs a package: {e}"[:80])
    texts = [
        text for text in TEXTS if name not in UNKNOWN_ELSEWHERE or tokenizer.unk_token_id not in tokenizer.encode(text)
    ]
    otherwise = {"GPTNeoXJapaneseTokenizer": ",", "SiglipTokenizer": " lead"}.get(name)  # as said in KNOWN
    texts = [text for text in texts if otherwise is None or otherwise not in text]
    assert len(texts) > 3 and len(theirs) == len(tokenizer)
    for text in texts:
        assert theirs(text)["input_ids"] == tokenizer(text)["input_ids"], text


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


DATES = "2021/12/31 10:30 3月5日(月) 令和3年1月2日 https://a.b/c?d=1 me@a.co 03-1234-5678 1,234億5千円(税込) ━━▀┃ 12"


def test_japanese_text_is_cleaned_as_by_the_reference(tmp_path: Path) -> None:
    reference = pytest.importorskip("transformers.models.gpt_neox_japanese.tokenization_gpt_neox_japanese")
    folder = build(tmp_path, "GPTNeoXJapaneseTokenizer")
    theirs = reference.GPTNeoXJapaneseTokenizer.from_pretrained(folder)
    ours = AutoTokenizer.from_pretrained(folder)
    for text in (DATES, *DATES.split(" "), "千円万円と5万3千ドル+tax", "¡¿ǀ˹̀あ⌘"):
        assert ours.tokenize(text) == theirs.tokenize(text), text


def test_a_class_that_needs_a_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(ValueError, match="needs the package `sacremoses`"):
        AutoTokenizer.from_pretrained(build(tmp_path, "BioGptTokenizer"))
