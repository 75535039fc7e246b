"""Tokenizers by name: loaded from the Hub, pinned to a revision, offline, and uploaded again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoload.errors import ArgumentError, AutoloadError, MissingFile
from autoload.text.auto import AutoTokenizer
from tests.fakehub import TOKEN, FakeHub
from tests.tokenizers.fixtures import BRACKETS, answers, build, wordpiece

pytest_plugins = ["tests.fakehub"]
NAME = "org/words"


@pytest.fixture
def bert(localhub: FakeHub, tmp_path: Path) -> Path:
    """A repository with a tokenizer, and the same in a directory."""
    folder = build(tmp_path / "files", "BertTokenizer")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    localhub.repo(NAME, folder)
    return folder


def test_a_name_gives_what_the_directory_gives(localhub: FakeHub, bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    assert answers(tokenizer) == answers(AutoTokenizer.from_pretrained(bert)) and tokenizer.name_or_path == NAME
    assert localhub.count("GET", "model.safetensors") == 0
    before = localhub.count()
    again = AutoTokenizer.from_pretrained(NAME, local_files_only=True)
    assert answers(again) == answers(tokenizer) and localhub.count() == before


@pytest.mark.parametrize("name", ["T5Tokenizer", "MarianLike", "LukeTokenizer"])
def test_classes_with_several_files(name: str, localhub: FakeHub, tmp_path: Path) -> None:
    """A SentencePiece model, which the Hub keeps apart; a vocabulary and a model; entities beside a vocabulary."""
    kind = {"MarianLike": "M2M100Tokenizer", "LukeTokenizer": "RobertaTokenizer"}.get(name, name)
    folder = build(tmp_path / "files", kind)
    if name == "LukeTokenizer":
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
        (folder / "entity_vocab.json").write_text(json.dumps({"[UNK]": 0, "[PAD]": 1, "[MASK]": 2, "[MASK2]": 3}))
    localhub.repo(NAME, folder)
    assert answers(AutoTokenizer.from_pretrained(NAME)) == answers(AutoTokenizer.from_pretrained(folder))


def test_revisions_are_pinned(localhub: FakeHub, bert: Path) -> None:
    repo = localhub.repos[NAME]
    first = repo.refs["main"]
    repo.tag("v1")
    repo.push({"vocab.txt": wordpiece([*BRACKETS, "[NEW]"])})
    new, old = AutoTokenizer.from_pretrained(NAME), AutoTokenizer.from_pretrained(NAME, revision="v1")
    assert len(new) == len(old) + 1 and "[NEW]" in new.get_vocab() and "[NEW]" not in old.get_vocab()
    before = localhub.count()
    assert answers(AutoTokenizer.from_pretrained(NAME, revision=first)) == answers(old)
    assert localhub.count() == before, "a commit that is cached needs no request"
    with pytest.raises(AutoloadError, match="v9"):
        AutoTokenizer.from_pretrained(NAME, revision="v9")


def test_a_folder_of_a_repository(localhub: FakeHub, bert: Path) -> None:
    localhub.repo("org/parts", {f"text/{path.name}": path.read_bytes() for path in bert.iterdir()})
    assert (
        answers(AutoTokenizer.from_pretrained("org/parts", subfolder="text"))["size"]
        == answers(AutoTokenizer.from_pretrained(bert))["size"]
    )
    with pytest.raises(MissingFile, match="org/parts"):
        AutoTokenizer.from_pretrained("org/parts")


def test_templates_of_a_repository(localhub: FakeHub, bert: Path) -> None:
    localhub.repos[NAME].push(
        {"chat_template.jinja": "{{ messages[0].content }}", "additional_chat_templates/tool_use.jinja": "tools"}
    )
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    assert tokenizer.chat_template == {"default": "{{ messages[0].content }}", "tool_use": "tools"}
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False) == "hello"


def test_an_upload_comes_back_the_same(localhub: FakeHub, bert: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bert, model_max_length=77)
    tokenizer.add_tokens(["newword"])
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.push_to_hub("me/mine", token=TOKEN, commit_message="first")
    again = AutoTokenizer.from_pretrained("me/mine")
    assert type(again) is type(tokenizer) and answers(again) == answers(tokenizer)
    assert again.model_max_length == 77 and again.chat_template == tokenizer.chat_template
    assert again.tokenize("newword") == ["newword"]
    tokenizer.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="me/other", token=TOKEN)
    assert answers(AutoTokenizer.from_pretrained("me/other")) == answers(tokenizer)
    with pytest.raises(ArgumentError, match="did you mean 'commit_message'"):
        tokenizer.push_to_hub("me/mine", token=TOKEN, comit_message="x")
