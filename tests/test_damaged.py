"""Some hundreds of damaged models: each ends in the right values or in one error that names the file or the field.

The cases are in `tests/damaged/cases.py`; they are loaded in a process of their own, which has five seconds and a
gigabyte for each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from autoload import errors
from tests.damaged.cases import CASES, CATEGORIES, Case
from tests.damaged.worker import Watched

REMEDY = re.compile(
    r"(?:^|[.;:] )(?:Add|Allow|Apply|Ask|Check|Convert|Correct|Did you mean|Download|Drop|Fetch|Load|Lower|Name|Pass|Register|Remove|"
    r"Restore|Run|Save|Set|Try|Use)\b|expected one of|did you mean|\.register\("
)
EXPECTED = re.compile(
    r"\bexpected\b|\bthis [\w ]+ cannot be read\b|\bexpects\b|\bneeds?\b|\bno |\bnot |\bnone of\b|\bunknown\b|\bin the model\b|\bmissing\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def worker() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def test_the_corpus_is_what_it_claims() -> None:
    assert sum(bool(case.says) for case in CASES.values()) >= 400
    assert len(CASES) == sum(1 for cases in CATEGORIES.values() for _ in cases()), "a name is used twice"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_right_values_or_one_error(case: Case, worker: Watched) -> None:
    if case.as_nobody and os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    result = worker.ask({"case": case.name})
    assert result["outcome"] in ("loads", "error"), result
    assert result["stray"] == [], "a load leaves no file behind, and runs none"
    if not case.says:
        assert result["outcome"] == "loads", result["text"]
        assert result["right"], result["value"]
        return
    assert result["outcome"] == "error", f"loads, and gives {result}"
    check_error(result, case)


def check_error(result: dict[str, Any], case: Case) -> None:
    text, kind = result["text"], result["kinds"][0].removeprefix("autoload.errors.")
    assert "autoload.errors.AutoloadError" in result["kinds"], f"{result['kinds'][0]}: {text}"
    assert kind != "AutoloadError" and (hasattr(errors, kind) or "ChatTemplateError" in kind), kind
    assert not case.error or kind == case.error, f"{kind}: {text}"
    for words in case.says:
        assert words.lower() in text.lower() or words == result["field"], f"{words!r} is not in: {text}"
    if case.load != "chat":  # a template fails as a program does: the text says where and why
        assert EXPECTED.search(text), f"says not what was expected: {text}"
    if (
        kind != "ArgumentError" and case.name != "chat-raises"
    ):  # what was expected is the remedy; the template's own words
        assert REMEDY.search(text), f"says not what to do: {text}"
    assert len(text) < 1200 and "weights_only" not in text, text
