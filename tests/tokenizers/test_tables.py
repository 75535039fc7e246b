"""TAPAS's tokenizer: questions about tables, against what the reference gives."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from autoload.errors import TokenizerError
from autoload.text.auto import AutoTokenizer
from autoload.text.quantities import quantities
from tests.tokenizers.tables import ANSWERED, CALLS, CITIES, ONE, TWO, answer, build

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))["tables"]


@pytest.fixture(scope="module")
def tapas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tapas"))


class Frame:
    """What is read of a DataFrame."""

    def __init__(self, table: dict[str, list[str]]):
        self.columns = list(table)
        self._rows = list(zip(*table.values(), strict=True))

    def itertuples(self, index: bool, name: None) -> Any:
        assert index is False and name is None
        return iter(self._rows)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_tables_equal_the_reference(number: int, tapas: Path) -> None:
    settings, table, call = CALLS[number]
    tokenizer = AutoTokenizer.from_pretrained(tapas, **settings)
    found, recorded = answer(tokenizer, table, call), RECORDED[number]
    assert ("error" in found) == ("error" in recorded)
    if "error" not in recorded:
        assert json.dumps(found) == json.dumps(recorded)  # as texts: NaN is not equal to itself
        assert json.dumps(answer(tokenizer, Frame(table), call)) == json.dumps(recorded)


@pytest.mark.parametrize(
    ("table", "call", "says"),
    [
        (CITIES, {"queries": ONE, "truncation": True, "max_length": 20}, "more than max_length=20"),
        (CITIES, {"queries": ONE, "answer_coordinates": [(0, 0)]}, "need both"),
        (CITIES, {"queries": ONE, "answer_coordinates": [(0, 9)], "answer_text": ["x"]}, r"\(0, 9\) is no cell"),
        (CITIES, {"queries": ONE, "answer_coordinates": [0], "answer_text": ["x"]}, r"expected \(row, column\)"),
        (CITIES, {"queries": ONE, "truncation": "only_first"}, "expected True, False, 'drop_rows_to_fit'"),
        (CITIES, {"queries": ONE, "return_offsets_mapping": True}, "does not go with tables"),
        (CITIES, {"queries": [ONE, 3]}, "queries holds int"),
        ({"a": ["x"], "b": []}, {"queries": ONE}, "expected one number"),
        ({"a": [1]}, {"queries": ONE}, "table holds 1, expected texts"),
        (ONE, {"queries": ONE}, "table is str: expected a DataFrame"),
        (None, {"queries": ONE}, "Nothing to encode"),
    ],
)
def test_what_is_no_table(table: Any, call: dict[str, Any], says: str, tapas: Path) -> None:
    with pytest.raises(TokenizerError, match=says):
        AutoTokenizer.from_pretrained(tapas)(table, **call)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"max_column_id": 3}, "4 columns, expected fewer than 3"), ({"max_row_id": 4}, "4 rows, expected fewer than 4")],
)
def test_tables_have_limits(settings: dict[str, int], says: str, tapas: Path) -> None:
    with pytest.raises(TokenizerError, match=says):
        AutoTokenizer.from_pretrained(tapas, **settings)(CITIES, ONE)


def test_tables_are_saved_and_become_tensors(tapas: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tapas, cell_trim_length=1)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        type(again) is type(tokenizer) and (tmp_path / "vocab.txt").read_bytes() == (tapas / "vocab.txt").read_bytes()
    )
    cut = {"truncation": True, "max_length": 40}
    assert dict(again(CITIES, TWO, **cut)) == dict(tokenizer(CITIES, TWO, **cut))
    arrays = again(CITIES, **ANSWERED, padding=True, return_tensors="np")
    assert arrays["token_type_ids"].shape == (*arrays["input_ids"].shape, 7)
    assert again.encode(CITIES, ONE) == again(CITIES, ONE)["input_ids"]
    assert "[EMPTY]" in again.decode(again.encode(CITIES, ONE))


def test_texts_alone_are_questions(tapas: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tapas)
    alone, batch = tokenizer("hello fox"), tokenizer(["hello fox", "the"], padding=True)
    assert alone["input_ids"] == tokenizer({}, "hello fox")["input_ids"] == batch["input_ids"][0]
    assert alone["token_type_ids"] == [[0] * 7] * 4 and batch["attention_mask"][1] == [1, 1, 1, 0]


def test_cells_are_chosen_by_their_mean(tapas: Path) -> None:
    """Against numpy's own sum over tokens."""
    np = pytest.importorskip("numpy")
    tokenizer = AutoTokenizer.from_pretrained(tapas)
    data = tokenizer(CITIES, TWO, padding=True, return_tensors="np")
    logits = np.random.default_rng(1).normal(size=data["input_ids"].shape) * 3
    logits[0, 20] = -1e9
    cells, kinds = tokenizer.convert_logits_to_predictions(data, logits, np.array([[0.0, 2, 1], [3, 1, 0]]))
    assert kinds == [1, 0]
    types = data["token_type_ids"]
    for index, chosen in enumerate(cells):
        expected = []
        for row, column in np.ndindex(4, 4):
            at = (types[index, :, 2] == row + 1) & (types[index, :, 1] == column + 1)
            scores = np.clip(logits[index, at], -80, None)
            if at.any() and (1 / (1 + np.exp(-scores))).mean() > 0.5:
                expected.append((row, column))
        assert chosen == expected and 0 < len(chosen) < 16
    with_none = tokenizer.convert_logits_to_predictions(data, logits, cell_classification_threshold=1.0)
    assert with_none == ([[], []],)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,200 people", [1200.0]),
        ("the 3rd of two", [3.0, 2.0]),
        ("may 5, 1905 or 12", [(1905.0, 5.0, 5.0), 12.0]),
        ("1981", [1981.0, (1981.0, None, None)]),
        ("1500", [1500.0]),
        ("february 29", [(None, 2.0, None), 29.0]),
        ("nothing", []),
    ],
)
def test_quantities_of_a_text(text: str, found: list[Any]) -> None:
    assert quantities(text) == found


WORDS = "may 5 1905 jan 3rd , - . 29 february 2016 2017 1699 monday, 12 first +3 1,000 .5 1990s 2010-05-05 sept 4.7.2012".split(
    " "
)


def test_quantities_equal_the_reference() -> None:
    reference = pytest.importorskip("transformers.models.tapas.tokenization_tapas")
    draw = random.Random(0)
    for _ in range(1500):
        text = "".join(draw.choice(WORDS) + draw.choice([" ", " ", ""]) for _ in range(draw.randint(1, 6)))
        values = [value for span in reference.parse_text(" ".join(text.lower().split())) for value in span.values]
        assert quantities(text) == [reference._get_value_as_primitive_value(value) for value in values], text
