"""A small TAPAS repository, tables, and calls on them. `record.py` asks the reference, `test_tables.py` compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tokenizers.fixtures import BRACKETS, wordpiece

CITIES = {
    "Name of city": ["the Quick", "brown fox", "hello world", "n/a"],
    "Count": ["1,200", "53", "about -5.5", "53"],
    "Founded": ["May 5, 1905", "12 June 1960", "July 1999", "1981"],
    "Rank": ["first", "2nd", "", "unseen ☃"],
}
DATES = {
    "d": ["2010-05-05", "05-06-2011", "4.7.2012", "1 jan 1999"],
    "e": ["february 28", "feb 29", "may", "monday, may 3"],
    "m": ["1990s", "8000", "17", "1e5"],
    "x": [".5", "+3", "twelve 7", "1,000.25"],
}
MANY = {name: [f"{name} row {row} x{row}" for row in range(30)] for name in ("lo", "wor")}
ONE, TWO = "how many over 53 in 1960?", ["hello fox 53?", "and 2nd or 2 in may 1981"]
ANSWER, ANSWERS = [(0, 1), (1, 1)], [[(0, 0)], [(2, 1), (3, 2)]]
TEXT, TEXTS = ["1,200", "53"], [["the Quick"], ["about -5.5", "1981"]]
ANSWERED = {"queries": TWO, "answer_coordinates": ANSWERS, "answer_text": TEXTS}
# settings of the tokenizer, the table, and the rest of a call
CALLS: list[tuple[dict[str, Any], dict[str, list[str]], dict[str, Any]]] = [
    ({}, CITIES, {"queries": ONE}),
    ({}, CITIES, {"queries": TWO}),
    ({}, CITIES, {"queries": TWO, "padding": True}),
    ({}, CITIES, {"queries": TWO, "padding": "longest", "pad_to_multiple_of": 16}),
    ({}, CITIES, {"queries": ONE, "padding": "max_length"}),
    ({}, CITIES, {"queries": ONE, "padding": True, "max_length": 200}),
    ({}, CITIES, {"queries": ONE, "padding": True}),
    ({}, CITIES, {"queries": TWO, "padding": "max_length", "max_length": 200, "padding_side": "left"}),
    ({}, CITIES, {"queries": ONE, "return_special_tokens_mask": True, "return_attention_mask": False}),
    ({}, CITIES, {"queries": ONE, "return_token_type_ids": False, "return_length": True}),
    ({}, CITIES, {"queries": ONE, "answer_coordinates": ANSWER, "answer_text": TEXT}),
    ({}, CITIES, ANSWERED),
    ({}, CITIES, {**ANSWERED, "padding": "max_length", "max_length": 200}),
    ({}, CITIES, {**ANSWERED, "padding": "longest", "padding_side": "left", "return_special_tokens_mask": True}),
    ({}, CITIES, {"queries": ""}),
    ({}, CITIES, {"queries": "?!"}),
    ({}, DATES, {"queries": "after 2011-05 or on may 3, 2012, monday, may 3 or 17 or 12th"}),
    ({}, DATES, {"queries": ["may", "june 1999 and twelve or 90000", "1500 2016 2017 february 29"]}),
    ({}, {"a": [], "b": []}, {"queries": ONE}),
    ({}, MANY, {"queries": ONE}),
    *(
        ({}, MANY, {"queries": TWO, "truncation": truncation, "max_length": length, "padding": True})
        for truncation, length in ((True, 60), ("drop_rows_to_fit", 100), (True, 200), (True, 300), (True, 500))
    ),
    ({"max_row_id": 9}, MANY, {"queries": ONE, "truncation": True}),
    ({"cell_trim_length": 2}, MANY, {"queries": ONE, "truncation": True, "max_length": 90}),
    ({"cell_trim_length": 0}, MANY, {"queries": ONE, "truncation": True, "max_length": 90}),
    ({"strip_column_names": True}, CITIES, {"queries": ONE}),
    ({"max_question_length": 10}, CITIES, {"queries": TWO}),
    ({"min_question_length": 18}, CITIES, {"queries": TWO}),
    ({"model_max_length": 64}, CITIES, {"queries": TWO, "truncation": True}),
    # what fails
    ({}, MANY, {"queries": ONE, "max_length": 40}),
    ({}, CITIES, {"queries": ONE, "truncation": True, "max_length": 20}),
    ({"max_column_id": 3}, CITIES, {"queries": ONE}),
    ({"max_row_id": 4}, CITIES, {"queries": ONE}),
    ({}, CITIES, {"queries": ONE, "answer_coordinates": ANSWER}),
    ({}, CITIES, {"queries": ONE, "answer_coordinates": [(9, 0)], "answer_text": ["x"]}),
    ({}, CITIES, {"queries": ONE, "truncation": "longest_first"}),
    ({}, CITIES, {"queries": ONE, "return_offsets_mapping": True}),
]


def build(folder: Path) -> Path:
    """Write the repository."""
    vocab = wordpiece(BRACKETS, more=["[EMPTY]", "many", "row", "?", "☃"])
    (folder / "vocab.txt").write_text(vocab, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "TapasTokenizer"}), encoding="utf-8")
    return folder


def answer(tokenizer: Any, table: Any, call: dict[str, Any]) -> dict[str, Any]:
    """What a call gives; an error stands for itself."""
    call = {key: list(value) if isinstance(value, list) else value for key, value in call.items()}
    try:
        return {key: value for key, value in sorted(tokenizer(table=table, **call).items())}
    except (ValueError, NotImplementedError) as e:
        return {"error": type(e).__name__}
