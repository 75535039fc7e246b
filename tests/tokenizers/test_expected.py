"""Every row of expected.jsonl, and the table of those that differ from the reference."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.tokenizers import deviations
from tests.tokenizers.rows import CASES, all_rows, compare, directories, load, needs_shared, rows_of, wrong_ids

pytestmark = needs_shared


@pytest.fixture(scope="module")
def listed() -> Counter[tuple[str, str, str]]:
    """The table, as counts."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for line in deviations.TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| repository"):
            directory, case, name, number, why = (part.strip() for part in line.strip("|").split(" | "))
            assert why != "?", f"{directory} {case} {name}: no reason is given"
            counted[directory, case, name.replace("\\|", "|")] = int(number)
    return counted


@pytest.mark.parametrize("directory", directories())
def test_rows_differ_where_the_table_says(directory: str, listed: Counter[tuple[str, str, str]]) -> None:
    counted = Counter(
        (directory, case, name) for case in CASES for row in rows_of(directory, case) for name in compare(row)
    )
    assert counted == Counter({key: number for key, number in listed.items() if key[0] == directory})


def test_nearly_all_ids_are_the_right_ones() -> None:
    """Of the texts, those whose ids are not what section 8 says are few, and all in the table."""
    texts = [
        row
        for row in all_rows()
        if row["case"] == "text" and row["dir"] not in ("spm_fixture/nllb", "spm_fixture/rembert")
    ]
    wrong = [(row["dir"], row["name"]) for row in texts if wrong_ids(row)]
    assert len(texts) > 1500 and len(wrong) <= 20, wrong


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
