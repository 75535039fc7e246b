"""What a directory holds, and how it is said when a file in it is missing, odd, damaged or out of bounds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autoload.errors import ArgumentError, CorruptFile, FileError, MissingFile, NoSuchDirectory
from autoload.hub import confined, open_files, read_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "sub" / "vocab.txt").write_text("a\nb\n")
    (folder / "sub" / "deep" / "part.bin").write_bytes(b"x")
    return folder


def test_a_directory_finds_files_and_names_them_all(model: Path) -> None:
    files = open_files(model)
    assert files.find("config.json") == model / "config.json"
    assert files.find("sub/vocab.txt") == model / "sub" / "vocab.txt"
    assert files.find("absent.json") is None
    assert files.find("config.json/absent") is None
    assert files.names() == ["config.json", "sub/deep/part.bin", "sub/vocab.txt"]
    assert files.json("config.json") == {"model_type": "bert"}
    assert files.json("absent.json") is None
    assert files.commit is None and files.where == str(model)


@pytest.mark.parametrize("subfolder", ["sub", "sub/", "/sub", Path("sub")])
def test_a_subfolder_is_the_whole_world(model: Path, subfolder: str) -> None:
    files = open_files(model, subfolder=subfolder)
    assert files.find("vocab.txt") == model / "sub" / "vocab.txt"
    assert files.find("config.json") is None
    assert files.names() == ["deep/part.bin", "vocab.txt"]
    with pytest.raises(CorruptFile):
        files.find("../config.json")


def test_a_missing_file_is_reported_with_what_is_there(model: Path) -> None:
    with pytest.raises(
        MissingFile, match=r"no model\.safetensors \(weights\)\. It holds: config\.json, sub/vocab\.txt"
    ):
        open_files(model).require("model.safetensors", "weights")
    with pytest.raises(FileNotFoundError) as caught:  # the base that users catch
        open_files(model).require("a.bin")
    assert caught.value.names == ["a.bin"] and "config.json" in caught.value.present


def test_files_at_the_top_are_shown_first(model: Path) -> None:
    for i in range(20):
        (model / "sub" / f"{i:02}.onnx").touch()
    text = str(open_files(model).missing(["x"]))
    assert "It holds: config.json, sub/" in text and " .... Add" in text


def test_what_is_no_regular_file_is_neither_read_nor_taken_for_absent(model: Path) -> None:
    os.mkfifo(model / "pipe.json")
    (model / "gone.json").symlink_to("nowhere.json")
    (model / "zero.json").symlink_to("/dev/zero")
    (model / "loop.json").symlink_to("loop.json")
    files = open_files(model)
    for name, kind in {
        "pipe.json": "a pipe",
        "gone.json": "a dangling link to nowhere.json",
        "zero.json": "a device",
        "sub": "a directory",
        "": "a directory",
    }.items():
        with pytest.raises(FileError, match=f"this is {kind}, expected a file") as caught:
            files.find(name)
        assert str(model) in str(caught.value)
    with pytest.raises(FileError, match="loop.json: cannot be read: Too many levels"):
        files.find("loop.json")


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.json")
        with pytest.raises(FileError, match="this is a socket"):
            open_files(tmp_path).find("s.json")


def test_links_out_of_the_directory_are_allowed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("{}")
    (model / "linked.json").symlink_to("../blob")
    assert open_files(model).json("linked.json") == {}


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..", "a\\..\\x", "a\0b", "\ud800.json", 7, None, ["a"], "a/.."]
)
def test_names_that_lead_out_are_refused(model: Path, name: object) -> None:
    with pytest.raises(CorruptFile, match="leads out of this directory"):
        open_files(model).find(name)  # type: ignore[arg-type]
    assert confined("a..b/c", "here") == "a..b/c"


def test_a_name_too_long_is_reported(model: Path) -> None:
    with pytest.raises(FileError, match="File name too long"):
        open_files(model).find("n" * 300)
    with pytest.raises(FileError, match="File name too long"):
        open_files(model / ("n" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_reported_as_unreadable(model: Path) -> None:
    (model / "config.json").chmod(0)
    with pytest.raises(FileError, match="config.json: cannot be read: permission denied"):
        open_files(model).find("config.json")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_unreadable_file_is_reported_as_unreadable_to_another_user() -> None:
    """As root reads everything, the same check as a user who may not."""
    with tempfile.TemporaryDirectory() as open_to_all:  # pytest's own directories are closed to other users
        os.chmod(open_to_all, 0o755)
        check_as_another_user(Path(open_to_all))


def check_as_another_user(tmp_path: Path) -> None:
    code = f"""
import os
os.setuid(65534)
from autoload.hub import open_files, read_json
from autoload.errors import FileError
from pathlib import Path
for path in ("locked.json", "closed/config.json"):
    path = Path({str(tmp_path)!r}) / path
    for act in (lambda: open_files(path.parent).find(path.name), lambda: read_json(path)):
        try:
            act()
        except FileError as e:
            print(e)
try:
    open_files(Path({str(tmp_path)!r}) / "closed").names()
except FileError as e:
    print(e)
"""
    (tmp_path / "locked.json").write_text("{}")
    (tmp_path / "locked.json").chmod(0)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "config.json").write_text("{}")
    (tmp_path / "closed").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", "import pathlib, autoload.errors, autoload.hub\n" + code],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stdout + done.stderr
    assert all(str(tmp_path) in line and "denied" in line.lower() for line in lines), lines


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "Expecting value: line 1 column 1"),
        (b'{"a": 1,\n "b" 2}', "line 2 column 6"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Run `git lfs pull`"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read"),
    ],
)
def test_damaged_json_names_the_file_and_the_place(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CorruptFile) as caught:
        read_json(path)
    assert str(path) in str(caught.value) and reason in str(caught.value)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, OSError)


def test_json_that_is_gone_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such JSON file"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("make", [str, Path])
def test_a_directory_that_is_not_there_is_named_with_its_neighbour(tmp_path: Path, make: type) -> None:
    (tmp_path / "my-model").mkdir()
    with pytest.raises(NoSuchDirectory, match="no such directory. Did you mean .*my-model") as caught:
        open_files(make(tmp_path / "my-modle"))
    assert caught.value.path == str(tmp_path / "my-modle")
    with pytest.raises(NoSuchDirectory, match="Its parent .* does not exist either"):
        open_files(make(tmp_path / "a" / "b"))


@pytest.mark.parametrize(
    "name", ["./nope", "~/nope-nope", "~stranger/x", "a/b/c", "..", "has space", "a\\b", "", "x" * 90 + "/y/z"]
)
def test_what_looks_like_a_path_is_not_taken_for_a_repository(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "..":
        assert open_files(name).where == ".."
    else:
        with pytest.raises(NoSuchDirectory):
            open_files(name)


def test_an_address_is_answered_with_the_name_in_it() -> None:
    with pytest.raises(NoSuchDirectory, match="Pass the name of the repository alone, like 'org/model'"):
        open_files("https://huggingface.co/org/model")


def test_a_file_is_answered_with_its_directory(model: Path) -> None:
    with pytest.raises(FileError, match="this is a file, expected a directory"):
        open_files(model / "config.json")


def test_home_is_expanded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    assert open_files("~/model").find("config.json") == model / "config.json"


def test_arguments_of_the_wrong_kind(model: Path) -> None:
    for wrong in (None, 3, b"bytes", ["a"]):
        with pytest.raises(ArgumentError, match="expected the name of a Hub repository or a directory"):
            open_files(wrong)  # type: ignore[arg-type]
    for wrong in ("../model", "a/../../b", 3):
        with pytest.raises(ArgumentError, match="subfolder"):
            open_files(model, subfolder=wrong)  # type: ignore[arg-type]
    with pytest.raises(NoSuchDirectory, match="Did you mean .*sub"):
        open_files(model, subfolder="subs")


def test_keywords_for_the_hub_do_no_harm_to_a_directory(model: Path) -> None:
    files = open_files(
        model, revision="x", token="t", proxies={"https": "y"}, force_download=True, cache_dir="/nowhere"
    )
    assert files.find("config.json")


def test_a_directory_imports_nothing_of_the_hub(model: Path) -> None:
    code = f"""
import sys
from autoload.hub import open_files, read_json
files = open_files({str(model)!r})
assert files.json("config.json") and files.find("absent") is None and files.names()
try:
    open_files("./not-here")
except OSError:
    pass
heavy = sorted({{name.split(".")[0] for name in sys.modules}} & {{"huggingface_hub", "torch", "requests", "httpx", "httpx2", "numpy"}})
print(heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_json_of_any_value(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([1, {"b": None}]))
    assert read_json(tmp_path / "a.json") == [1, {"b": None}]


ODD = (
    "with space",
    "new\nline",
    "quote'\"",
    "é漢🙂",
    "percent%20",
    "-dash",
    "trailing.",
    "CON",
    "a,b;c&d",
    "x" * 200,
    "deep/" * 60,
)


@pytest.mark.parametrize("name", ODD)
def test_models_and_tokenizers_live_in_directories_of_any_name(tmp_path: Path, name: str) -> None:
    from tokenizers import Tokenizer, models

    from autoload import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
    from tests.checkpoints import same_weights, tiny

    folder, model = tmp_path / name / "model", tiny("bert")
    model.save_pretrained(folder, max_shard_size="4KB")
    rust = Tokenizer(models.WordLevel({"<unk>": 0, "dog": 1}, "<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="<unk>").save_pretrained(folder)
    assert same_weights(AutoModel.from_pretrained(folder), model)
    assert same_weights(AutoModel.from_pretrained(str(folder)), model)
    assert AutoTokenizer.from_pretrained(folder)("dog")["input_ids"] == [1]


def test_a_path_longer_than_the_system_allows_is_said(tmp_path: Path) -> None:
    from autoload import AutoModel
    from tests.checkpoints import tiny

    with pytest.raises(FileError, match="File name too long"):
        AutoModel.from_pretrained(tmp_path / ("x" * 300))
    with pytest.raises(FileError, match="File name too long"):
        tiny("bert").save_pretrained(tmp_path / ("x" * 300))


def test_a_directory_that_may_not_be_written_is_said_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.checkpoints import tiny

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("pathlib.Path.write_bytes", denied)
    monkeypatch.setattr("safetensors.torch.save_file", denied)
    with pytest.raises(FileError, match="cannot be written: Permission denied"):
        tiny("bert").save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
