"""The lock file: what it says, and that nothing else is loaded."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from autoload import AutoConfig, AutoModel, AutoTokenizer, cli, lock
from autoload.errors import ArgumentError, AutoloadError, CorruptFile, LockError, MissingFile
from autoload.hub import open_files
from tests.checkpoints import same_weights, saved, tiny
from tests.fakehub import FakeHub, Repo

pytest_plugins = ["tests.fakehub"]
NAME = "org/tiny"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    folder = saved(tmp_path / "made", "bert", vocab_size=7)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ndog\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def repo(localhub: FakeHub, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.chdir(tmp_path)
    return localhub.repo(NAME, files)


def write(*arguments: str) -> dict[str, Any]:
    assert cli.main(["lock", *arguments]) == 0
    return json.loads(Path("autoload.lock").read_text())


def test_it_holds_commit_and_content_and_downloads_no_weights(
    localhub: FakeHub, repo: Repo, files: dict[str, bytes], capsys: pytest.CaptureFixture
) -> None:
    content = write(NAME)
    row = content["repositories"][NAME]
    assert content["version"] == 1 and row["revision"] == "main" and row["commit"] == repo.refs["main"]
    assert row["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert localhub.count("GET", "/objects/") == 0
    assert capsys.readouterr().out == f"{NAME}: {row['commit']}, 3 files\n"


def test_it_pins_the_commit_and_a_cached_one_asks_nothing(
    localhub: FakeHub, repo: Repo, files: dict[str, bytes]
) -> None:
    write(NAME)
    locked = repo.refs["main"]
    repo.push({"model.safetensors": b"another", "generation_config.json": "{}"})
    model = AutoModel.from_pretrained(NAME, lock="autoload.lock")
    assert same_weights(model, tiny("bert", vocab_size=7))
    localhub.seen.clear()
    for loader in (AutoConfig, AutoTokenizer, AutoModel):
        loader.from_pretrained(NAME, lock=True)
    AutoTokenizer.from_pretrained(NAME, lock="autoload.lock", revision="main")
    AutoTokenizer.from_pretrained(NAME, lock="autoload.lock", revision=locked)
    assert localhub.count() == 0


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_file_is_refused(localhub: FakeHub, repo: Repo, tmp_path: Path, name: str) -> None:
    write(NAME)
    AutoModel.from_pretrained(NAME, lock=True)
    blob = (tmp_path / "hub/models--org--tiny/snapshots" / repo.refs["main"] / name).resolve()
    data = bytearray(blob.read_bytes())
    data[-2] ^= 1  # of the same length
    blob.write_bytes(data)
    with pytest.raises(
        LockError, match=f"{name}: this file has the sha256 .*, expected .* by .*autoload.lock. Restore it"
    ):
        AutoModel.from_pretrained(NAME, lock=True)


def test_another_revision_and_another_repository_are_refused(localhub: FakeHub, repo: Repo) -> None:
    write(NAME)
    repo.push({"README.md": "new"})
    repo.tag("v2")
    for revision in ("v2", repo.refs["main"]):
        with pytest.raises(LockError, match=f"revision '{revision}' was asked for, expected main"):
            AutoModel.from_pretrained(NAME, lock=True, revision=revision)
    localhub.repo("org/other", {"config.json": "{}"})
    before = localhub.count()
    with pytest.raises(LockError, match="org/other: not in .*Run `autoload lock org/other`"):
        AutoConfig.from_pretrained("org/other", lock=True)
    assert localhub.count() == before


def test_the_environment_names_it_for_every_load(
    localhub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(NAME)
    old = repo.refs["main"]
    repo.push({"config.json": "{}"})
    monkeypatch.setenv("AUTOLOAD_LOCK", "autoload.lock")
    assert open_files(NAME).commit == old != open_files(NAME, lock=False).commit
    localhub.repo("org/other", {"config.json": "{}"})
    with pytest.raises(LockError):
        AutoTokenizer.from_pretrained("org/other")
    mine = saved(tmp_path / "mine", "bert")
    AutoModel.from_pretrained(mine)  # what a program has just saved
    with pytest.raises(LockError, match="mine: not in"):
        AutoModel.from_pretrained(mine, lock=True)


def test_a_directory_is_locked_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = saved(tmp_path / "models" / "mine", "bert")
    content = write("models/mine")
    assert content["repositories"]["models/mine"]["commit"] is None
    os.rename(tmp_path / "models", tmp_path / "elsewhere")
    (tmp_path / "models").symlink_to("elsewhere")
    for name in (folder, "models/mine", "./models/../models/mine/"):
        AutoModel.from_pretrained(name, lock=True)
    (folder / "generation_config.json").write_text("{}")
    AutoModel.from_pretrained(folder, lock=True)  # a BERT does not ask for it
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LockError, match="model.safetensors: this file is gone"):
        AutoModel.from_pretrained(folder, lock=True)


def test_a_file_that_came_later_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "mine", "gpt2", "CausalLM")
    (folder / "generation_config.json").unlink()
    assert cli.main(["lock", str(folder), "--output", str(tmp_path / "autoload.lock")]) == 0
    AutoModel.from_pretrained(folder, lock=tmp_path / "autoload.lock")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(
        LockError, match="tokenizer.json: this file is not in .*autoload.lock, expected no file but those"
    ):
        AutoTokenizer.from_pretrained(folder, lock=tmp_path / "autoload.lock")


def test_rows_of_other_models_are_kept(localhub: FakeHub, repo: Repo, files: dict[str, bytes]) -> None:
    localhub.repo("org/other", files)
    write(NAME)
    assert {*write("org/other")["repositories"]} == {NAME, "org/other"}
    repo.push({"README.md": "new"})
    assert write(NAME)["repositories"][NAME]["commit"] == repo.refs["main"]


@pytest.mark.parametrize(
    "content, says",
    [
        ("", "autoload.lock: this JSON file cannot be read"),
        ("[]", "version is 'None', expected 1"),
        ('{"version": 2}', "version is '2'"),
        ('{"version": 1}', "repositories is 'None'"),
        ('{"version": 1, "repositories": {"a": 3}}', "repositories.a.files"),
        ('{"version": 1, "repositories": {"a": {"files": {"x": "123"}}}}', "repositories.a.files"),
        ('{"version": 1, "repositories": {"a": {"files": {}, "commit": "../x"}}}', "repositories.a.commit"),
    ],
)
def test_what_is_no_lock_file(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "autoload.lock").write_text(content)
    with pytest.raises(CorruptFile, match=says):
        AutoConfig.from_pretrained("org/tiny", lock=tmp_path / "autoload.lock")


def test_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFile, match="autoload.lock"):
        AutoConfig.from_pretrained("org/tiny", lock=True)
    with pytest.raises(ArgumentError, match="lock is 3"):
        AutoConfig.from_pretrained("org/tiny", lock=3)
    assert cli.main(["lock", "./nowhere"]) == 1
    assert not (tmp_path / "autoload.lock").exists()
    assert issubclass(LockError, AutoloadError) and issubclass(LockError, OSError)


@pytest.mark.parametrize("how", ["replaced", "replaced and put back", "overwritten"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_file_that_changes_between_the_check_and_the_reading_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], name: str, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for other, data in files.items():
        (folder / other).write_bytes(data)
    write(str(folder))
    real, other = lock.sha256_of, saved(tmp_path / "other", "bert", seed=3, vocab_size=7)
    (other / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\nthe\n")

    def hash_and_change(path: Any) -> str:
        found = real(path)
        if Path(path).name == name:
            kept, changed = folder / "kept", (other / name).read_bytes()
            if how == "overwritten":
                Path(path).write_bytes(changed)
            else:
                os.rename(path, kept)
                Path(path).write_bytes(changed)
            if how == "replaced and put back":
                os.rename(kept, path)
        return found

    monkeypatch.setattr(lock, "sha256_of", hash_and_change)
    load = AutoTokenizer if name == "vocab.txt" else AutoModel
    with pytest.raises(LockError, match=f"{name}: this file was changed while it was loaded"):
        load.from_pretrained(folder, lock=True)
    monkeypatch.undo()
