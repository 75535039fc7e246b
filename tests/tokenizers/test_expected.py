"""Every row of expected.jsonl, and the table of those that differ from the reference."""

from __future__ import annotations

import pytest

from tests.tokenizers import deviations
from tests.tokenizers.rows import CASES, all_rows, compare, directories, load, needs_shared, rows_of

pytestmark = needs_shared


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """Lines of the table."""
    text = deviations.TABLE.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line.startswith("| ") and "/" in line.partition(" | ")[0]]


@pytest.mark.parametrize("directory", directories())
def test_rows_differ_where_the_table_says(directory: str, listed: list[str]) -> None:
    """Exactly the rows that are listed, each in what is listed, for the reason that is listed."""
    found = deviations.find(row for case in CASES for row in rows_of(directory, case))
    assert deviations.lines(found) == [line for line in listed if line.startswith(f"| {directory} |")]


def test_every_deviation_has_a_reason(listed: list[str]) -> None:
    assert [line for line in listed if line.endswith("| ? |")] == []
    given = {tuple(line.split(" | ")[:2]) for line in listed}
    stale = [key for key in deviations.REASONS if (f"| {key[0]}", key[1]) not in given]
    assert stale == [], "reasons for what does not differ"


def test_small_repositories_and_decisions_are_listed() -> None:
    text = deviations.TABLE.read_text(encoding="utf-8")
    assert deviations.small() in text and text.endswith(deviations.DECISIONS)


def test_reasons_hold() -> None:
    """A reason that says how the ids of texts differ is true of each text that it is given for."""
    proved, wrong = 0, []
    for row in all_rows():
        if row["case"] != "text":
            continue
        for name in compare(row):
            why = deviations.reason(row["dir"], "text", name)
            if name == "ids" and why is not None and why.holds is not None:
                proved += 1
                wrong += [] if why.holds(row) else [(row["dir"], row["name"])]
    assert proved > 40 and wrong == []


def test_barthez_equals_its_converted_file() -> None:
    """The reference cannot load it; an older release of it converted it, and its ids are recorded."""
    rows = list(rows_of("spm_unigram/barthez_spm", "text_reference"))
    tokenizer = load("spm_unigram/barthez_spm")
    wrong = [row["name"] for row in rows if tokenizer(row["text"])["input_ids"] != row["input_ids"]]
    assert len(rows) == 70 and wrong == ["control"]  # U+0085 is a character to the model, a space to that conversion


@pytest.mark.parametrize("directory", directories())
def test_a_saved_tokenizer_is_the_same(directory: str, tmp_path) -> None:
    from autoload.text.auto import AutoTokenizer

    tokenizer = load(directory)
    files = tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"tokenizer_config.json", "special_tokens_map.json"}
    assert all((tmp_path / path.rpartition("/")[2]).is_file() for path in files)
    assert type(again) is type(tokenizer) and len(again) == len(tokenizer)
    assert again.special_tokens_map == tokenizer.special_tokens_map
    assert again.all_special_ids == tokenizer.all_special_ids
    assert again("a", "b").data == tokenizer("a", "b").data
    for row in rows_of(directory, "text"):
        ids = tokenizer(row["text"], verbose=False)["input_ids"]
        assert again(row["text"], verbose=False)["input_ids"] == ids, row["name"]
        assert again.decode(ids) == tokenizer.decode(ids), row["name"]
