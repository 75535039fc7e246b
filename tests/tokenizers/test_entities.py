"""LUKE's tokenizers: entities beside texts, against the reference's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoload.errors import TokenizerError
from autoload.text.auto import AutoTokenizer
from tests.tokenizers.fixtures import ROBERTA, bytelevel, sentencepiece

TEXT, OTHER = "hello the quick world of the fox", "a quick fox"
SPANS, OTHER_SPANS = [(0, 5), (10, 21)], [(2, 11)]
ENTITIES = {name: index for index, name in enumerate(["[UNK]", "[PAD]", "[MASK]", "[MASK2]", "World", "Fox"])}
CALLS: list[tuple[str | None, dict[str, Any]]] = [
    (None, {"text": TEXT}),
    (None, {"text": TEXT, "entity_spans": SPANS}),
    (None, {"text": TEXT, "entity_spans": SPANS, "add_special_tokens": False}),
    (None, {"text": TEXT, "entity_spans": SPANS, "entities": ["World", "Nowhere"]}),
    (None, {"text": TEXT, "entity_spans": SPANS, "truncation": True, "max_entity_length": 1}),
    (None, {"text": TEXT, "entity_spans": SPANS, "padding": "max_length", "max_length": 40}),
    (None, {"text": TEXT, "text_pair": OTHER, "entity_spans": SPANS, "entity_spans_pair": OTHER_SPANS}),
    (None, {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS], "padding": True}),
    (None, {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS], "padding": True, "padding_side": "left"}),
    (None, {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS], "padding": True, "pad_to_multiple_of": 8}),
    (None, {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS], "return_token_type_ids": True}),
    ("entity_classification", {"text": TEXT, "entity_spans": SPANS[1:]}),
    ("entity_classification", {"text": [TEXT, OTHER], "entity_spans": [SPANS[:1], OTHER_SPANS], "padding": True}),
    ("entity_pair_classification", {"text": TEXT, "entity_spans": SPANS}),
    ("entity_pair_classification", {"text": TEXT, "entity_spans": SPANS[::-1]}),
    ("entity_span_classification", {"text": TEXT, "entity_spans": SPANS}),
    ("entity_span_classification", {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS], "padding": True}),
]  # fmt: skip


def write(folder: Path, files: dict[str, Any], **config: Any) -> Path:
    """A repository with entities."""
    for name, content in {**files, "entity_vocab.json": ENTITIES, "tokenizer_config.json": config}.items():
        data = (
            content
            if isinstance(content, bytes)
            else (content if isinstance(content, str) else json.dumps(content)).encode()
        )
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def luke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("luke"), bytelevel(ROBERTA), tokenizer_class="LukeTokenizer")


@pytest.fixture(scope="module")
def loaded(luke: Path) -> dict[str | None, tuple[Any, Any]]:
    """Ours and the reference's, by task."""
    reference = pytest.importorskip("transformers").LukeTokenizer
    entities = str(luke / "entity_vocab.json")
    return {
        task: (
            AutoTokenizer.from_pretrained(luke, task=task),
            reference.from_pretrained(luke, task=task, entity_vocab_file=entities),
        )
        for task in {task for task, _ in CALLS}
    }


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_entities_equal_the_reference(number: int, loaded: dict[str | None, tuple[Any, Any]]) -> None:
    task, call = CALLS[number]
    ours, reference = loaded[task]
    expected = {
        key: [list(row) if isinstance(row, tuple) else row for row in value] for key, value in reference(**call).items()
    }
    found = ours(**call)
    assert ours.convert_ids_to_tokens([3, 5]) == reference.convert_ids_to_tokens([3, 5])
    assert dict(found) == expected


def test_entities_are_saved_and_padded(luke: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(luke, task="entity_span_classification")
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    batch = {"text": [TEXT, OTHER], "entity_spans": [SPANS, OTHER_SPANS]}
    assert again.task == tokenizer.task and dict(again(**batch)) == dict(tokenizer(**batch))
    assert len(again) == len(tokenizer) and again.special_tokens_map == tokenizer.special_tokens_map
    rows = [tokenizer(text, entity_spans=spans) for text, spans in ((TEXT, SPANS), (OTHER, OTHER_SPANS))]
    assert dict(tokenizer.pad([dict(row) for row in rows])) == dict(tokenizer(**batch, padding=True))
    arrays = tokenizer(**batch, padding=True, return_tensors="np")
    assert arrays["entity_position_ids"].shape == (2, 2, 30) and arrays["entity_start_positions"].shape == (2, 2)


def test_truncation_takes_entities_away(luke: Path) -> None:
    """The reference fails on these calls."""
    tokenizer = AutoTokenizer.from_pretrained(luke)
    whole = tokenizer(TEXT, entity_spans=SPANS)
    cut = tokenizer(TEXT, entity_spans=SPANS, truncation=True, max_length=8)
    assert cut["input_ids"] == [*whole["input_ids"][:7], tokenizer.sep_token_id]
    assert cut["entity_position_ids"] == whole["entity_position_ids"][:1] and cut["entity_ids"] == [ENTITIES["[MASK]"]]
    few = tokenizer(TEXT, entity_spans=SPANS, truncation=True, max_length=99, max_entity_length=1)
    assert few["input_ids"] == whole["input_ids"] and few["entity_position_ids"] == whole["entity_position_ids"][:1]


def test_mluke_has_entities_over_pieces(tmp_path: Path) -> None:
    files = {"sentencepiece.bpe.model": sentencepiece()}
    tokenizer = AutoTokenizer.from_pretrained(write(tmp_path, files, tokenizer_class="MLukeTokenizer"))
    out = tokenizer(TEXT, entity_spans=[(10, 21)], entities=["World"])
    place = [index for index in out["entity_position_ids"][0] if index >= 0]
    assert tokenizer.convert_ids_to_tokens([out["input_ids"][index] for index in place]) == ["▁quick", "▁world"]
    assert out["entity_ids"] == [ENTITIES["World"]] and tokenizer.additional_special_tokens == ["<ent>", "<ent2>"]


@pytest.mark.parametrize(
    ("task", "call", "says"),
    [
        (None, {"entity_spans": (0, 5)}, "expected a list of"),
        (None, {"entity_spans": [(0, 99)]}, "expected a list of"),
        (None, {"entity_spans": [(0, 5)], "entities": ["a", "b"]}, "a name for each of 1 spans"),
        (None, {"entity_spans": [(0, 5)], "return_offsets_mapping": True}, "does not go with entities"),
        ("entity_classification", {}, "expected 1 of"),
        ("entity_pair_classification", {"entity_spans": [(0, 5)]}, "expected 2 of"),
    ],
)
def test_what_are_no_entities(task: str | None, call: dict[str, Any], says: str, luke: Path) -> None:
    with pytest.raises(TokenizerError, match=says):
        AutoTokenizer.from_pretrained(luke, task=task)(TEXT, **call)


def test_tasks_are_known(luke: Path) -> None:
    with pytest.raises(TokenizerError, match="did you mean 'entity_classification'"):
        AutoTokenizer.from_pretrained(luke, task="entity_classificaton")
