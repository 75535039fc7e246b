"""Words with boxes and texts with XPaths, against the reference's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoload.errors import TokenizerError
from autoload.text.auto import AutoTokenizer
from tests.tokenizers.fixtures import ROBERTA, bytelevel, sentencepiece, wordpiece

WORDS, MORE = ["hello", "quickworld", "the", "fox"], ["a", "quick fox"]
QUESTION = "the quick fox"
BOXES = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
XPATHS = ["/html/body/div/li[1]/div/span[2]", "/html/body/h1", "/html/odd[3]", "/html/body/div[1500]/" + "div/" * 60]
TAGS = {tag: index for index, tag in enumerate("html body div li span h1".split())}
CLASSES: dict[str, dict[str, Any]] = {
    "LayoutLMv2Tokenizer": {"vocab.txt": wordpiece()},
    "LayoutLMv3Tokenizer": bytelevel(ROBERTA),
    "MarkupLMTokenizer": bytelevel(ROBERTA),
}
CALLS: list[dict[str, Any]] = [
    {"text": WORDS},
    {"text": WORDS, "labels": [1, 2, 3, 4]},
    {"text": WORDS, "padding": "max_length", "max_length": 40, "labels": [1, 2, 3, 4]},
    {"text": QUESTION, "text_pair": WORDS},
    {"text": QUESTION, "text_pair": WORDS, "truncation": "only_second", "max_length": 14},
    {"text": [WORDS, MORE], "padding": True},
    {"text": [WORDS, MORE], "padding": True, "labels": [[1, 2, 3, 4], [5, 6]]},
    {"text": [QUESTION, "a fox"], "text_pair": [WORDS, MORE], "padding": True},
    {"text": WORDS, "truncation": True, "max_length": 7, "stride": 2, "return_overflowing_tokens": True},
    {"text": WORDS, "return_offsets_mapping": True, "return_special_tokens_mask": True},
]


def write(folder: Path, name: str, files: dict[str, Any]) -> Path:
    """A repository of a class."""
    config = {"tokenizer_class": name, **({"tags_dict": TAGS} if name.startswith("Markup") else {})}
    for file, content in {**files, "tokenizer_config.json": config}.items():
        data = (
            content
            if isinstance(content, bytes)
            else (content if isinstance(content, str) else json.dumps(content)).encode()
        )
        (folder / file).write_bytes(data)
    return folder


def placed(name: str, call: dict[str, Any]) -> dict[str, Any]:
    """A call with the places that the class takes."""
    places, labels = ("xpaths", "node_labels") if name.startswith("Markup") else ("boxes", "word_labels")
    every = XPATHS if name.startswith("Markup") else BOXES
    words = call.get("text_pair", call["text"])
    rows = [every[: len(row)] for row in words] if isinstance(words[0], list) else every[: len(words)]
    named = {labels: call["labels"]} if "labels" in call else {}
    return {**{key: value for key, value in call.items() if key != "labels"}, places: rows, **named}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Ours and the reference's, by class."""
    transformers = pytest.importorskip("transformers")
    found = {}
    for name, files in CLASSES.items():
        folder = write(tmp_path_factory.mktemp("places"), name, files)
        found[name] = AutoTokenizer.from_pretrained(folder), getattr(transformers, name).from_pretrained(folder)
    return found


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("name", CLASSES)
def test_places_equal_the_reference(name: str, number: int, loaded: dict[str, tuple[Any, Any]]) -> None:
    ours, reference = loaded[name]
    call = placed(name, CALLS[number])
    expected, found = reference(**call), ours(**call)
    assert {key: plain(value) for key, value in found.items()} == {key: plain(value) for key, value in expected.items()}


def plain(value: Any) -> Any:
    """Tuples as lists."""
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("text", ["hello the fox", ["hello", "fox"], ["hello the", "a fox"]])
def test_texts_without_paths_are_nodes_nowhere(text: Any, loaded: dict[str, tuple[Any, Any]]) -> None:
    ours, reference = loaded["MarkupLMTokenizer"]
    assert {k: plain(v) for k, v in ours(text).items()} == {k: plain(v) for k, v in reference(text).items()}


def test_examples_are_padded_with_their_places(loaded: dict[str, tuple[Any, Any]]) -> None:
    for name, (ours, _) in loaded.items():
        rows = [
            dict(ours(**placed(name, {"text": words, "labels": list(range(len(words)))}))) for words in (WORDS, MORE)
        ]
        batch = placed(name, {"text": [WORDS, MORE], "labels": [[0, 1, 2, 3], [0, 1]], "padding": True})
        assert {k: plain(v) for k, v in ours.pad(rows).items()} == {k: plain(v) for k, v in ours(**batch).items()}


def test_saved_ones_keep_their_boxes(tmp_path: Path, loaded: dict[str, tuple[Any, Any]]) -> None:
    for name, (ours, _) in loaded.items():
        ours.save_pretrained(tmp_path / name)
        call = placed(name, CALLS[2])
        assert dict(AutoTokenizer.from_pretrained(tmp_path / name)(**call)) == dict(ours(**call))


@pytest.mark.parametrize(
    ("name", "file"), [("LayoutXLMTokenizer", "sentencepiece.bpe.model"), ("UdopTokenizer", "spiece.model")]
)
def test_boxes_over_pieces(name: str, file: str, tmp_path: Path) -> None:
    model = sentencepiece("t5" if file == "spiece.model" else "fairseq")
    tokenizer = AutoTokenizer.from_pretrained(write(tmp_path, name, {file: model}))
    out = tokenizer(WORDS, boxes=BOXES, word_labels=[1, 2, 3, 4])
    tokens = tokenizer.convert_ids_to_tokens(out["input_ids"])
    first = tokens.index("▁hello")
    assert out["bbox"][first] == BOXES[0] and out["bbox"][-1] == [1000] * 4 and out["labels"][first] == 1
    assert tokens[first + 1 : first + 3] == ["▁quick", "world"]
    assert out["bbox"][first + 2] == BOXES[1] and out["labels"][first + 1 : first + 3] == [2, -100]


def test_paths_that_are_none(loaded: dict[str, tuple[Any, Any]]) -> None:
    ours, _ = loaded["MarkupLMTokenizer"]
    with pytest.raises(TokenizerError, match=r"'div\[x\]' of '/div\[x\]' is no tag"):
        ours(["a"], xpaths=["/div[x]"])
    with pytest.raises(TokenizerError, match="xpaths: expected one for each word"):
        ours(["a", "fox"], xpaths=["/div"])
