"""Damaged and missing files: an error that names the file or the field, never an empty tokenizer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoload.errors import (
    ArgumentError,
    AutoloadError,
    ConfigError,
    CorruptFile,
    FileError,
    MissingFile,
    RemoteCodeRefused,
    TokenizerError,
)
from autoload.text.auto import AutoTokenizer
from tests.tokenizers.rows import SHARED, needs_shared

pytestmark = needs_shared
BERT, GPT2, LLAMA = "wordpiece/bert_uncased_json", "bytebpe/gpt2_vocab", "spm_bpe/llama2_spm"
Change = Callable[[Path], Any]


def remove(*names: str) -> Change:
    """Delete files."""
    return lambda folder: [(folder / name).unlink() for name in names]


def put(name: str, content: str | bytes) -> Change:
    """Replace a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str, size: int) -> Change:
    """Keep the first bytes of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def append(name: str, text: str) -> Change:
    """Add to the end of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + text.encode())


def edit(name: str, change: Callable[[Any], Any]) -> Change:
    """Change a JSON file."""

    def apply(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        change(value)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")

    return apply


def setting(**values: Any) -> Change:
    """Change tokenizer_config.json."""
    return edit("tokenizer_config.json", lambda config: config.update(values))


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str, Change], Path]:
    """A copy of a repository with a change."""

    def make(directory: str, change: Change) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(SHARED / directory, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        change(folder)
        return folder

    return make


CASES: list[tuple[str, Change, type[AutoloadError], str]] = [
    (BERT, remove("tokenizer.json", "vocab.txt"), MissingFile, r"no vocab.txt or tokenizer.json.*It holds: config.json"),
    (LLAMA, remove("tokenizer.model"), MissingFile, "no tokenizer.model or tokenizer.json"),
    (GPT2, remove("merges.txt"), MissingFile, "no merges.txt .*beside vocab.json"),
    ("marian/opus_mt_en_mg", remove("target.spm"), MissingFile, "no target.spm"),
    ("wav2vec2_ctc/base_960h", remove("vocab.json"), MissingFile, "no vocab.json"),
    (BERT, cut("tokenizer.json", 5000), CorruptFile, "tokenizer.json.*line 1 column 5000"),
    (BERT, put("tokenizer.json", b""), CorruptFile, "tokenizer.json"),
    (BERT, put("tokenizer.json", b"[" * 200_000), CorruptFile, "tokenizer.json"),
    (BERT, put("tokenizer.json", b"\xff\xfe"), CorruptFile, "tokenizer.json"),
    (BERT, put("tokenizer_config.json", b"["), CorruptFile, "tokenizer_config.json"),
    (BERT, put("tokenizer_config.json", b"[" * 200_000), CorruptFile, "tokenizer_config.json.*deep"),
    (BERT, put("tokenizer_config.json", b"[]"), CorruptFile, "tokenizer_config.json: expected a JSON object"),
    (BERT, put("special_tokens_map.json", b"[]"), CorruptFile, "special_tokens_map.json: expected a JSON object"),
    (BERT, put("added_tokens.json", b'{"a": "b"}'), ConfigError, "added_tokens.json: a is 'b'"),
    (BERT, setting(model_max_length="many"), ConfigError, "tokenizer_config.json: model_max_length is 'many'"),
    (BERT, setting(model_max_length=-5), ConfigError, "model_max_length is -5"),
    (BERT, setting(padding_side="up"), ConfigError, "padding_side is 'up'"),
    (BERT, setting(pad_token=5), ConfigError, "pad_token is 5"),
    (BERT, setting(extra_special_tokens=[5]), ConfigError, r"extra_special_tokens is \[5\]"),
    (BERT, setting(additional_special_tokens="abc"), ConfigError, "additional_special_tokens is 'abc'"),
    (BERT, setting(do_lower_case="yes"), ConfigError, "do_lower_case is 'yes'"),
    (BERT, setting(chat_template=5), ConfigError, "chat_template is 5"),
    (BERT, setting(tokenizer_class=5), ConfigError, "tokenizer_class is 5"),
    (BERT, setting(added_tokens_decoder=[1]), ConfigError, "added_tokens_decoder"),
    (BERT, setting(added_tokens_decoder={"x": {"content": "a"}}), ConfigError, "ids as keys"),
    (BERT, setting(added_tokens_decoder={"5": {"contents": "a"}}), ConfigError, r"added_tokens_decoder\['5'\]"),
    (BERT, setting(added_tokens_decoder={"99999": {"content": "zz"}}), ConfigError, "99999.*an id below 30523"),
    (BERT, edit("tokenizer.json", lambda x: x["post_processor"]["special_tokens"]["[CLS]"].update(ids=[99999])), CorruptFile, "post_processor uses the token id 99999"),
    (BERT, edit("tokenizer.json", lambda x: x["post_processor"].update(special_tokens={})), CorruptFile, "tokenizer.json.*CLS"),
    (BERT, edit("tokenizer.json", lambda x: x["model"].update(unk_token="[NO]")), CorruptFile, r"model.unk_token is '\[NO\]'"),
    (BERT, edit("tokenizer.json", lambda x: x["model"].update(vocab={})), CorruptFile, "tokenizer.json"),
    (BERT, edit("tokenizer.json", lambda x: x["model"]["vocab"].update(hello=-1)), CorruptFile, r"tokenizer.json: model.vocab\['hello'\] is -1"),
    (BERT, edit("tokenizer.json", lambda x: x["model"]["vocab"].update(hello=1 << 40)), CorruptFile, r"tokenizer.json: model.vocab\['hello'\] is 1099511627776"),
    (GPT2, append("merges.txt", "qqzz xxyy\n"), CorruptFile, "merges.txt: the merge 'qqzz' 'xxyy' names 'qqzz'"),
    (GPT2, append("merges.txt", "a b c\n"), CorruptFile, "merges.txt: line 50002 is 'a b c'"),
    (GPT2, cut("vocab.json", 1000), CorruptFile, "vocab.json"),
    (GPT2, put("vocab.json", "[1]"), CorruptFile, "vocab.json: expected a JSON object of token -> id"),
    (GPT2, edit("vocab.json", lambda x: x.update(hello="5")), CorruptFile, "vocab.json: the id of 'hello' is '5'"),
    (GPT2, edit("vocab.json", lambda x: x.update(hello=1 << 40)), CorruptFile, "vocab.json: the id of 'hello'"),
    ("wordpiece/bert_uncased_vocab", put("vocab.txt", b""), CorruptFile, "vocab.txt: this vocabulary is empty"),
    ("wordpiece/bert_uncased_vocab", put("vocab.txt", b"\xff"), CorruptFile, "vocab.txt.*utf-8"),
    ("wordpiece/bert_uncased_vocab", put("vocab.txt", "a\nb\n"), CorruptFile, r"lacks the unknown token '\[UNK\]'"),
    (LLAMA, cut("tokenizer.model", 100_001), CorruptFile, "tokenizer.model.*ends within"),
    (LLAMA, put("tokenizer.model", b""), CorruptFile, "tokenizer.model: no pieces"),
    (LLAMA, put("tokenizer.model", b"\0" * 1000), CorruptFile, "tokenizer.model"),
    ("spm_unigram/t5_spm", put("tokenizer_config.json", '{"extra_ids": "x"}'), ConfigError, "extra_ids is 'x'"),
    ("tiktoken/cl100k", cut("tiktoken.model", 100_003), CorruptFile, "tiktoken.model: line"),
    ("tekken/mistral_nemo", edit("tekken.json", lambda x: x["config"].update(pattern="(((")), CorruptFile, "tekken.json"),
    ("tekken/mistral_nemo", edit("tekken.json", lambda x: x["config"].pop("pattern")), ConfigError, "config.pattern is None"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("directory", "change", "error", "says"), CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)]
)
def test_damage_is_named(damaged: Any, directory: str, change: Change, error: type[AutoloadError], says: str) -> None:
    with pytest.raises(error, match=says):
        AutoTokenizer.from_pretrained(damaged(directory, change))


def test_an_empty_directory_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="It holds: nothing"):
        AutoTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_things_that_are_no_files_are_not_absent(damaged: Any, make: Callable[[Path], None]) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        make(folder / "tokenizer.json")

    with pytest.raises(FileError, match="expected a file"):
        AutoTokenizer.from_pretrained(damaged(BERT, change))


def test_code_of_repositories_never_runs(damaged: Any) -> None:
    def change(folder: Path) -> None:
        setting(tokenizer_class="OwnTokenizer", auto_map={"AutoTokenizer": ["own.OwnTokenizer", None]})(folder)
        put("own.py", "raise SystemExit(3)")(folder)

    folder = damaged(BERT, change)
    assert AutoTokenizer.from_pretrained(folder)("hello")["input_ids"] == [101, 7592, 102]
    with pytest.raises(RemoteCodeRefused):
        AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    remove("tokenizer.json")(folder)
    with pytest.raises(RemoteCodeRefused, match="OwnTokenizer"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"padding_sid": "left"}, ArgumentError, "unknown argument 'padding_sid'; did you mean 'padding_side'"),
        ({"use_fst": True}, ArgumentError, "unknown argument 'use_fst'; did you mean 'use_fast'"),
        ({"revison": "main"}, ArgumentError, "unknown argument 'revison'; did you mean 'revision'"),
        ({"padding_side": "up"}, ConfigError, "padding_side is 'up'"),
        ({"tokenizer_type": "brt"}, TokenizerError, "did you mean 'bert'"),
    ],
)
def test_settings_of_callers(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        AutoTokenizer.from_pretrained(SHARED / BERT, **settings)


def test_classes_that_need_packages_say_which(damaged: Any) -> None:
    with pytest.raises(TokenizerError, match="XLMTokenizer is not supported: it needs the package `sacremoses`"):
        AutoTokenizer.from_pretrained(damaged(BERT, setting(tokenizer_class="XLMTokenizer")))


def test_merges_with_carriage_returns_are_read(damaged: Any) -> None:
    folder = damaged(
        GPT2, lambda f: (f / "merges.txt").write_bytes((f / "merges.txt").read_bytes().replace(b"\n", b"\r\n"))
    )
    assert AutoTokenizer.from_pretrained(folder)("Hello world")["input_ids"] == [15496, 995]


def test_saving_replaces_whole_files(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(SHARED / BERT)
    target = tmp_path / "file"
    target.write_text("")
    with pytest.raises(FileError, match="expected a directory"):
        tokenizer.save_pretrained(target)
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert (tmp_path / "new" / "folder" / "tokenizer.json").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


@pytest.mark.parametrize("index", [1 << 24, 1 << 31, (1 << 32) - 1])
def test_an_id_out_of_proportion_loads_and_is_not_written(tmp_path: Path, index: int) -> None:
    """Writing takes memory for every number up to it, and ended the process."""
    import copy
    import pickle

    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "dog": index}, "unk_token": "<unk>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("dog")["input_ids"] == [index]
    for write in (
        lambda: tokenizer.save_pretrained(tmp_path / "new"),
        lambda: pickle.dumps(tokenizer),
        lambda: copy.deepcopy(tokenizer),
    ):
        with pytest.raises(TokenizerError, match=rf"model.vocab\['dog'\] is {index}, expected an id below"):
            write()
    assert not (tmp_path / "new" / "tokenizer.json").exists()


def test_of_a_line_that_stands_twice_the_last_counts_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndog\nthe\ndog\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("the dog")["input_ids"] == [2, 6, 7, 3]
    assert "vocab.txt: 1 tokens stand twice; 'dog' of line 6 has the id 7" in caplog.text
