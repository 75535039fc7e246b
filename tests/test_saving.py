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
from autoload.errors import ArgumentError, FileError
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
import os, sys
from tests.checkpoints import tiny
steps = iter(range(int(sys.argv[2])))
for name in ("replace", "fsync"):
    def counted(*args, real=getattr(os, name)):
        if next(steps, None) is None:
            os._exit(9)
        return real(*args)
    setattr(os, name, counted)
tiny("llama", "CausalLM", seed=2).save_pretrained(sys.argv[1], max_shard_size=sys.argv[3])
"""


@pytest.mark.parametrize("size", ["6KB", "50GB"])
def test_killed_at_any_moment(tmp_path: Path, size: str) -> None:
    """After each single step of a save, the directory loads as the old model or as the new one."""
    old, new = tiny("llama", "CausalLM", seed=1), tiny("llama", "CausalLM", seed=2)
    code = KILLED + "print('done')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    steps = range(0, 40, 4) if size == "6KB" else range(0, 9, 2)
    finished = False
    for step in steps:
        old.save_pretrained(tmp_path, max_shard_size="6KB")
        command = [sys.executable, "-c", code, str(tmp_path), str(step), size]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert result.returncode in (0, 9), result.stderr
        finished = result.returncode == 0
        found = AutoModelForCausalLM.from_pretrained(tmp_path)
        assert same_weights(found, new) or (not finished and same_weights(found, old)), step
        if finished:
            break
    for leftover in tmp_path.glob(".*.tmp"):
        leftover.unlink()


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
