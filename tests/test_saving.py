"""What save_pretrained leaves behind, also when it is stopped half way."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autoload import AutoModel, AutoModelForCausalLM
from autoload.errors import ArgumentError, CorruptFile, FileError
from autoload.hub import open_files
from tests.checkpoints import same_weights, tiny


def names(directory: Path) -> set[str]:
    return {p.name for p in directory.iterdir()}


def test_files(tmp_path: Path) -> None:
    tiny("llama", "CausalLM").save_pretrained(tmp_path)
    assert names(tmp_path) == {"config.json", "generation_config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["dtype"] == "float32"
    mode = stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode)
    umask = int(re.search(r"Umask:\s*(\d+)", Path("/proc/self/status").read_text())[1], 8)  # type: ignore[index]
    assert mode == 0o666 & ~umask


def test_shards_and_index(tmp_path: Path) -> None:
    model = tiny("llama", "CausalLM")
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == model.state_dict().keys()
    assert index["metadata"] == {
        "total_parameters": model.num_parameters(),
        "total_size": sum(p.nbytes for p in model.parameters()),
    }
    for name in set(index["weight_map"].values()):
        assert (tmp_path / name).stat().st_size < 9000


def test_reference_reads_shards(tmp_path: Path) -> None:
    import transformers

    model = tiny("llama", "CausalLM")
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()) and all(torch.equal(t, model.state_dict()[n]) for n, t in theirs.state_dict().items())


@pytest.mark.parametrize("first,second", [("50GB", "6KB"), ("6KB", "50GB"), ("6KB", "8KB")])
def test_the_last_save_is_what_loads(tmp_path: Path, first: str, second: str) -> None:
    tiny("llama", seed=1).save_pretrained(tmp_path, max_shard_size=first)
    last = tiny("llama", seed=2)
    last.save_pretrained(tmp_path, max_shard_size=second)
    assert same_weights(AutoModel.from_pretrained(tmp_path), last)
    if second == "50GB":
        assert names(tmp_path) == {"config.json", "model.safetensors"}
    else:
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        shards = set(index["weight_map"].values())
        assert names(tmp_path) == shards | {"config.json", "model.safetensors.index.json"}


def test_variants_live_side_by_side(tmp_path: Path) -> None:
    tiny("bert", seed=1).save_pretrained(tmp_path)
    tiny("bert", seed=2).save_pretrained(tmp_path, variant="ema")
    assert same_weights(AutoModel.from_pretrained(tmp_path), tiny("bert", seed=1))
    assert same_weights(AutoModel.from_pretrained(tmp_path, variant="ema"), tiny("bert", seed=2))


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tiny("gpt2", "CausalLM").save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


def test_state_dict_and_processes(tmp_path: Path) -> None:
    model = tiny("bert")
    other = tiny("bert", seed=7)
    model.save_pretrained(tmp_path, state_dict=other.state_dict())
    assert same_weights(AutoModel.from_pretrained(tmp_path), other)
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert names(tmp_path / "none") == set()


def test_nonsense(tmp_path: Path) -> None:
    model = tiny("bert")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="expected a directory"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(ArgumentError, match="max_shard_size"):
        model.save_pretrained(tmp_path / "d", max_shard_size="big")
    with pytest.raises(ArgumentError, match="commit_message"):
        model.save_pretrained(tmp_path / "d", push_to_hub=True, comit_message="x")


def test_failed_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tiny("llama", seed=1)
    old.save_pretrained(tmp_path, max_shard_size="6KB")
    before = names(tmp_path)
    real, count = os.fsync, iter(range(99))

    def full(descriptor: int) -> None:
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        tiny("llama", seed=2).save_pretrained(tmp_path, max_shard_size="6KB")
    monkeypatch.undo()
    assert names(tmp_path) == before
    assert same_weights(AutoModel.from_pretrained(tmp_path), old)


KILLED = """
import json, os, signal, sys
from pathlib import Path

def save_and_be_killed(save, after):
    '''Save in a process that ends without notice after so many steps on the disk; True if it came to its end.'''
    process = os.fork()
    if process:
        return os.WIFEXITED(os.waitpid(process, 0)[1])
    steps = iter(range(after))
    def counted(real):
        def step(*args, **keywords):
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keywords)
        return step
    for name in ("replace", "fsync", "chmod", "unlink", "open"):
        setattr(os, name, counted(getattr(os, name)))
    save()
    os._exit(0)

def at_every_step(folder, save_old, save_new, is_new):
    '''What is found after each step; `is_new` loads it and says which it is, or fails.'''
    after, seen = 0, []
    while True:
        save_old()
        finished = save_and_be_killed(save_new, after)
        seen.append(is_new())
        if finished:
            break
        after += 1
    print(json.dumps([seen, sorted(p.name for p in folder.iterdir() if p.name.startswith("."))]))

folder = Path(sys.argv[1])
"""
MODEL = """
from tests.checkpoints import same_weights, tiny
from autoload import AutoModelForCausalLM

first, second = sys.argv[2:]
old = tiny("llama", "CausalLM", seed=1, hidden_act="relu", hidden_size=8)
new = tiny("llama", "CausalLM", seed=2, hidden_act="silu", hidden_size=16)

def is_new():
    found = AutoModelForCausalLM.from_pretrained(folder)
    new_one = found.config.hidden_act == "silu"
    assert same_weights(found, new if new_one else old)
    return new_one

at_every_step(folder, lambda: old.save_pretrained(folder, max_shard_size=first),
              lambda: new.save_pretrained(folder, max_shard_size=second), is_new)
"""
TOKENIZER = """
from tokenizers import Tokenizer, models
from autoload import AutoProcessor, AutoTokenizer, PreTrainedTokenizerFast, Wav2Vec2FeatureExtractor
from autoload.processing import Wav2Vec2Processor

def tokenizer(words, templates, length):
    rust = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    made = PreTrainedTokenizerFast(tokenizer_object=rust, unk_token=words[0], pad_token=words[1], model_max_length=length)
    made.chat_template = templates
    return made

class_, kind = {"tokenizer": AutoTokenizer, "processor": AutoProcessor}[sys.argv[2]], sys.argv[3]
some, none = {"default": "a", "rag": "b"}, None
old = tokenizer(["<unk>", "<pad>", "dog"], some if kind == "fewer" else none, 8)
new = tokenizer(["[UNK]", "[PAD]", "the", "dog"], none if kind == "fewer" else some, 16)
if sys.argv[2] == "processor":
    old = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(sampling_rate=8), old)
    new = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(sampling_rate=16), new)

def facts(made):
    own = getattr(made, "tokenizer", made)
    return (own("dog")["input_ids"], own.unk_token, own.chat_template, own.model_max_length,
            made.feature_extractor.sampling_rate if own is not made else None)

def is_new():
    found = facts(class_.from_pretrained(folder))
    assert found in (facts(old), facts(new)), found
    return found == facts(new)

at_every_step(folder, lambda: old.save_pretrained(folder), lambda: new.save_pretrained(folder), is_new)
"""


def seen_when_killed(program: str, *arguments: str) -> list[bool]:
    """After each single step of a save: whether the directory loads as the new one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-c", KILLED + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    seen, left = json.loads(done.stdout)
    assert left == [], "what a killed save has left is cleared away by the next"
    return seen


@pytest.mark.parametrize("first,second", [("50GB", "6KB"), ("6KB", "50GB"), ("6KB", "6KB"), ("50GB", "50GB")])
def test_killed_at_any_moment(tmp_path: Path, first: str, second: str) -> None:
    """After each single step of a save, the directory loads as the old model or as the new one, which differ in width."""
    seen = seen_when_killed(MODEL, str(tmp_path), first, second)
    assert len(seen) > 15 and seen == sorted(seen) and not seen[0] and seen[-1], "the old model, and then the new one"


@pytest.mark.parametrize("kind", ["fewer", "more"])
@pytest.mark.parametrize("what", ["tokenizer", "processor"])
def test_tokenizers_and_processors_killed_at_any_moment(tmp_path: Path, what: str, kind: str) -> None:
    """The same: vocabulary, settings, templates and what goes with them are of one save; `kind` says of how many files."""
    seen = seen_when_killed(TOKENIZER, str(tmp_path), what, kind)
    assert len(seen) > 10 and seen == sorted(seen) and not seen[0] and seen[-1], "the old one, and then the new one"


def test_saves_at_once_into_one_directory_are_all_there(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tokenizers import Tokenizer, models

    from autoload import AutoTokenizer, PreTrainedTokenizerFast

    words = {"<unk>": 0, "dog": 1}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, "<unk>")), unk_token="<unk>")
    model = tiny("llama", "CausalLM")
    with ThreadPoolExecutor(6) as pool:
        for _ in range(4):
            jobs = [
                pool.submit(each.save_pretrained, tmp_path) for each in (model, tokenizer, model.generation_config) * 2
            ]
            for job in jobs:
                job.result()
            assert same_weights(AutoModelForCausalLM.from_pretrained(tmp_path), model)
            assert AutoTokenizer.from_pretrained(tmp_path)("dog")["input_ids"] == [1]
            assert not [name for name in names(tmp_path) if name.startswith(".")]
            for path in tmp_path.iterdir():
                path.unlink()


def test_a_tokenizer_without_templates_leaves_none_of_an_earlier_one(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    from autoload import AutoTokenizer, PreTrainedTokenizerFast

    rust = Tokenizer(models.WordLevel({"<unk>": 0, "dog": 1}, "<unk>"))
    first = PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="<unk>")
    first.chat_template = {"default": "a", "rag": "b"}
    first.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == first.chat_template
    PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="<unk>").save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template is None


def test_a_full_disk_leaves_the_old_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer, models

    from autoload import AutoTokenizer, PreTrainedTokenizerFast

    def made(word: str) -> PreTrainedTokenizerFast:
        rust = Tokenizer(models.WordLevel({"<unk>": 0, word: 1}, "<unk>"))
        return PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="<unk>")

    made("dog").save_pretrained(tmp_path)
    before, real, count = names(tmp_path), os.fsync, iter(range(99))

    def full(descriptor: int) -> None:
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        made("cat").save_pretrained(tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == before
    assert AutoTokenizer.from_pretrained(tmp_path)("dog")["input_ids"] == [1]


def test_a_committed_save_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoload import commit

    tiny("llama", seed=1).save_pretrained(tmp_path)
    monkeypatch.setattr(commit, "_finish", lambda folder: None)
    tiny("llama", seed=2).save_pretrained(tmp_path, max_shard_size="6KB")
    monkeypatch.undo()
    assert same_weights(AutoModel.from_pretrained(tmp_path), tiny("llama", seed=2))
    found = open_files(tmp_path).names()
    assert "model.safetensors" not in found and "model.safetensors.index.json" in found
    assert not any(name.startswith(".") for name in found)
    tiny("bert").config.save_pretrained(tmp_path)
    assert not any(name.startswith(".") or name == "model.safetensors" for name in names(tmp_path))
    assert (
        AutoModel.from_pretrained(tmp_path / "../" / tmp_path.name, config=tiny("llama").config).dtype == torch.float32
    )


@pytest.mark.parametrize("content", ["[]", '{"moves": {}}', '{"moves": {"a": "../b"}, "removed": []}', "{"])
def test_a_journal_that_is_none(tmp_path: Path, content: str) -> None:
    tiny("bert").save_pretrained(tmp_path)
    (tmp_path / ".autoload-save.json").write_text(content)
    with pytest.raises(CorruptFile, match=".autoload-save.json"):
        AutoModel.from_pretrained(tmp_path)


def test_push_to_hub_uploads_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    seen = {}

    class Api:
        def __init__(self, token: object = None):
            seen["token"] = token

        def create_repo(self, name: str, **keywords: object) -> object:
            return type("Repo", (), {"repo_id": f"me/{name}"})

        def upload_folder(self, **keywords: object) -> object:
            seen.update(keywords, files=names(Path(str(keywords["folder_path"]))))
            return type("Commit", (), {"commit_url": "the address"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert tiny("bert").push_to_hub("my-model", token="t", commit_message="first") == "the address"
    assert (
        seen["repo_id"] == "me/my-model"
        and seen["files"] == {"config.json", "model.safetensors"}
        and seen["token"] == "t"
    )
