"""Every way in which a model or a configuration can be wrong: which error, and what its text tells.

Rows follow the life of a load: the name, the configuration, the task, the weights, the arguments.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from autoload import errors as e
from tests.checkpoints import edit_config, saved

BERT = "bert"


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", BERT)


def fails(where: Any, error: type[Exception], *texts: str, loader: Any = AutoModel, **keywords: Any) -> Exception:
    """Loading raises exactly this, and its text holds all of these."""
    with pytest.raises(error) as caught:
        loader.from_pretrained(where, **keywords)
    assert isinstance(caught.value, e.AutoloadError), type(caught.value)
    for text in texts:
        assert text in str(caught.value), f"{text!r} is not in: {caught.value}"
    assert "weights_only" not in str(caught.value)
    return caught.value


# -- names and files


@pytest.mark.parametrize("name", ["./nope", "/a/b/c", "~/no such", "a/b/c", "", ".", "a b"])
def test_no_such_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = fails(name, OSError)
    if name not in ("", "."):
        assert "no such directory" in str(error) and os.path.expanduser("~") in str(error) or name[0] != "~"


def test_near_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    fails(tmp_path / "my-modle", FileNotFoundError, str(tmp_path / "my-modle"), "Did you mean", "my-model")


def test_file_in_place_of_a_directory(bert: Path) -> None:
    fails(bert / "model.safetensors", OSError, "model.safetensors", "expected a directory", str(bert))


def test_no_config(bert: Path) -> None:
    (bert / "config.json").unlink()
    fails(bert, FileNotFoundError, str(bert), "no config.json", "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a": 1,}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"version https://git-lfs.github.com/spec/v1\n",
    ],
    ids=["empty", "open", "comma", "not utf-8", "deep", "null", "list", "lfs"],
)
def test_damaged_config(bert: Path, content: bytes) -> None:
    (bert / "config.json").write_bytes(content)
    fails(bert, OSError, str(bert / "config.json"))
    fails(bert, OSError, str(bert / "config.json"), loader=AutoConfig)


def test_place_in_damaged_config(bert: Path) -> None:
    (bert / "config.json").write_text('{\n  "a": 1\n  "b": 2\n}')
    fails(bert, OSError, "line 3 column 3")


def test_unknown_type(bert: Path) -> None:
    error = fails(
        edit_config(bert, model_type="berd", architectures=["BerdModel"], auto_map={"AutoModel": "modeling.Berd"}),
        ValueError,
        "berd",
        "bert",
        "BerdModel",
        "auto_map",
        "autoload.register('berd'",
    )
    assert error.model_type == "berd" and "bert" in error.nearest and error.architectures == ["BerdModel"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, 3, [], "", "../etc", "os.path"])
def test_nonsense_type(bert: Path, value: object) -> None:
    fails(edit_config(bert, model_type=value, architectures=None), ValueError, "model_type", str(bert / "config.json"))


def test_type_is_inferred_from_architectures(bert: Path) -> None:
    edit_config(bert, drop=("model_type",), architectures=["BertModel"])
    assert type(AutoModel.from_pretrained(bert)).__name__ == "BertModel"


# -- configuration


@pytest.mark.parametrize(
    "field,value",
    [
        ("hidden_size", -32),
        ("hidden_size", 0),
        ("hidden_size", "64"),
        ("hidden_size", 15.5),
        ("hidden_size", [16]),
        ("hidden_size", 10**12),
        ("hidden_size", True),
        ("num_attention_heads", 0),
        ("num_attention_heads", -4),
        ("num_attention_heads", 3),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 10**7),
        ("intermediate_size", "big"),
        ("vocab_size", -1),
        ("max_position_embeddings", 0),
        ("hidden_act", "gelou"),
        ("hidden_act", 3),
        ("hidden_dropout_prob", 1.5),
        ("hidden_dropout_prob", "half"),
        ("layer_norm_eps", "tiny"),
        ("layer_norm_eps", -1.0),
        ("pad_token_id", 9999),
        ("pad_token_id", "[PAD]"),
        ("eos_token_id", "x"),
        ("is_decoder", "maybe"),
        ("id2label", 3),
        ("id2label", {"one": "a"}),
        ("label2id", 7),
        ("dtype", "float99"),
        ("dtype", "int32"),
        ("problem_type", "guess"),
    ],
)
def test_nonsense_field(bert: Path, field: str, value: object) -> None:
    error = fails(edit_config(bert, **{field: value}), ValueError, field)
    assert isinstance(error, e.ConfigError) and error.field.startswith(field)


def test_config_error_names_the_file(bert: Path) -> None:
    fails(edit_config(bert, hidden_size=-1), ValueError, str(bert / "config.json"), "-1", "whole number")


def test_number_of_labels_has_a_limit(bert: Path) -> None:
    fails(edit_config(bert, num_labels=10**12, id2label=None), ValueError, "num_labels")
    fails(bert, ValueError, "num_labels", num_labels=0)


@pytest.mark.parametrize(
    "rope,text",
    [
        ({"rope_type": "spiral"}, "rope_type"),
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "linear", "factor": -1}, "factor"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor"),
        ({"rope_type": "longrope", "short_factor": 3}, "short_factor"),
        ({"rope_theta": "big"}, "rope_theta"),
        (["linear"], "rope_parameters"),
        ("linear", "rope_parameters"),
    ],
)
def test_nonsense_rope(tmp_path: Path, rope: object, text: str) -> None:
    fails(edit_config(saved(tmp_path, "llama"), rope_parameters=rope), ValueError, text)


def test_nonsense_layers(tmp_path: Path) -> None:
    saved(tmp_path, "llama", num_key_value_heads=1)
    fails(edit_config(tmp_path, num_key_value_heads=5), ValueError, "num_key_value_heads", "divisor")
    fails(edit_config(tmp_path, num_key_value_heads=1, layer_types=["full_attention"]), ValueError, "layer_types")


# -- task


def test_wrong_head(tmp_path: Path) -> None:
    saved(tmp_path, "llama", "CausalLM")
    error = fails(
        tmp_path,
        ValueError,
        "llama has no head for MaskedLM",
        "AutoModelForCausalLM",
        "This checkpoint is a LlamaForCausalLM",
        loader=AutoModelForMaskedLM,
    )
    assert error.task == "MaskedLM" and "CausalLM" in error.available  # type: ignore[attr-defined]


def test_every_auto_class_exists_and_says_what_it_lacks(bert: Path) -> None:
    import transformers

    names = [n for n in dir(transformers) if n.startswith("AutoModel") or n == "AutoBackbone"]
    names = [
        n
        for n in names
        if isinstance(getattr(transformers, n), type) and hasattr(getattr(transformers, n), "_model_mapping")
    ]
    assert len(names) > 45
    for name in names:
        auto = getattr(autoload, name)
        assert auto.__name__ == name and callable(auto.from_config) and callable(auto.register)
    fails(bert, ValueError, "no head for ImageMatting", "It has: AutoModel", loader=autoload.AutoModelForImageMatting)


def test_unknown_names_of_the_package() -> None:
    with pytest.raises(AttributeError, match="BertForNothing"):
        autoload.BertForNothing  # noqa: B018
    with pytest.raises(ImportError):
        from autoload import LlamaForMaskedLM  # noqa: F401


# -- code of repositories


def test_remote_code_is_refused(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = bert / "ran"
    (bert / "modeling.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("asked on standard input"))
    edit_config(bert, auto_map={"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"})
    fails(bert, ValueError, "trust_remote_code", trust_remote_code=True)
    fails(bert, ValueError, "trust_remote_code", trust_remote_code=True, loader=AutoConfig)
    AutoModel.from_pretrained(bert)  # the type is built in: its own code is not needed
    fails(edit_config(bert, model_type="custom"), ValueError, "never run")
    assert not marker.exists()


# -- weights


def test_no_weights(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    fails(bert, FileNotFoundError, "model.safetensors", "pytorch_model.bin", "config.json")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _header(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return damage


NAME = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"abc"),
        _truncate,
        lambda p: p.write_bytes(p.read_bytes() + b"more"),
        lambda p: p.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
        lambda p: p.write_bytes(struct.pack("<Q", 2) + b"{]"),
        lambda p: p.write_bytes(struct.pack("<Q", 2) + b"[]"),
        lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        lambda p: p.write_bytes(b"<!DOCTYPE html><html><body>Not found</body></html>" * 9),
        _header(lambda h: h[NAME].update(dtype="F33")),
        _header(lambda h: h[NAME].update(shape=[60, -16])),
        _header(lambda h: h[NAME].update(shape=[60, 17])),
        _header(lambda h: h[NAME].update(shape="big")),
        _header(lambda h: h[NAME].update(data_offsets=[0, 8])),
        _header(lambda h: h.update({NAME: 3})),
    ],
    ids=[
        "empty",
        "three bytes",
        "truncated",
        "longer",
        "huge header",
        "no json",
        "list",
        "lfs",
        "html",
        "dtype",
        "negative",
        "shape",
        "shape text",
        "offsets",
        "no object",
    ],
)
def test_damaged_safetensors(bert: Path, damage: Callable[[Path], None]) -> None:
    damage(bert / "model.safetensors")
    error = fails(bert, OSError, str(bert / "model.safetensors"))
    assert isinstance(error, RuntimeError) and isinstance(error, e.CorruptCheckpoint)


def test_lfs_pointer_says_so(bert: Path) -> None:
    (bert / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    fails(bert, OSError, "git lfs pull")


def test_damaged_file_is_not_skipped_for_a_pickle(bert: Path) -> None:
    torch.save({}, bert / "pytorch_model.bin")
    _truncate(bert / "model.safetensors")
    fails(bert, OSError, "model.safetensors")


class Opaque:
    """Not a tensor."""

    def __reduce__(self) -> Any:
        return os.mkdir, (str(Path(__file__).parent / "ran-by-pickle"),)


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        lambda p: (torch.save({"a": torch.ones(99)}, p), p.write_bytes(p.read_bytes()[:300])),
        lambda p: torch.save([torch.ones(2)], p),
        lambda p: torch.save({"a": 3}, p),
        lambda p: torch.save({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, p),
        lambda p: torch.save({"a": Opaque()}, p),
        lambda p: p.write_bytes(pickle.dumps({"a": Opaque()})),
    ],
    ids=["empty", "lfs", "truncated", "list", "number", "trainer", "code", "bare pickle"],
)
def test_damaged_pickle(bert: Path, write: Callable[[Path], object]) -> None:
    (bert / "model.safetensors").unlink()
    write(bert / "pytorch_model.bin")
    fails(bert, OSError, str(bert / "pytorch_model.bin"))
    assert not (Path(__file__).parent / "ran-by-pickle").exists()


@pytest.fixture
def sharded(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    saved(tmp_path / "model", BERT, max_shard_size="3KB")
    return tmp_path / "model", json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())


def test_missing_shards_are_all_named(sharded: Any) -> None:
    directory, index = sharded
    gone = sorted(set(index["weight_map"].values()))[:2]
    for name in gone:
        (directory / name).unlink()
    fails(directory, FileNotFoundError, *gone, "config.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.update(weight_map=None),
        lambda i: i.update(weight_map={}),
        lambda i: i.update(weight_map=[1]),
        lambda i: i["weight_map"].update({NAME: 3}),
        lambda i: i["weight_map"].update({NAME: "../outside.safetensors"}),
        lambda i: i["weight_map"].update({NAME: "/etc/passwd"}),
        lambda i: i["weight_map"].update({NAME: "config.json"}),
        lambda i: i["weight_map"].update({"not.there": i["weight_map"][NAME]}),
        lambda i: i.pop("weight_map"),
    ],
)
def test_damaged_index(sharded: Any, change: Callable[[dict], object]) -> None:
    directory, index = sharded
    (directory.parent / "outside.safetensors").write_bytes(b"")
    change(index)
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    fails(directory, OSError, "index")


def test_the_index_decides_where_a_tensor_comes_from(sharded: Any) -> None:
    from safetensors.torch import load_file, save_file

    directory, index = sharded
    last = sorted(set(index["weight_map"].values()))[-1]
    state = load_file(directory / last)
    save_file(state | {NAME: torch.zeros(60, 16)}, directory / last)
    assert AutoModel.from_pretrained(directory).embeddings.word_embeddings.weight.abs().sum() > 0


def test_odd_files_in_place(bert: Path) -> None:
    (bert / "config.json").unlink()
    os.mkfifo(bert / "config.json")
    fails(bert, OSError, "config.json", "a pipe", "expected a file")
    (bert / "config.json").unlink()
    (bert / "config.json").symlink_to(bert / "gone")
    fails(bert, OSError, "config.json", "link")
    (bert / "config.json").unlink()
    (bert / "config.json").mkdir()
    fails(bert, OSError, "config.json")


# -- arguments


def test_unknown_argument(bert: Path) -> None:
    error = fails(bert, TypeError, "unknown argument 'dtyp'", "did you mean 'dtype'?", dtyp="float16")
    assert error.name == "dtyp"  # type: ignore[attr-defined]
    fails(bert, TypeError, "hidden_dropout_prob", hidden_dropout_prb=0.1)
    fails(bert, TypeError, "add_pooling_layer", add_poling_layer=False)


@pytest.mark.parametrize(
    "keywords",
    [
        dict(attn_implementation="flash"),
        dict(io="fast"),
        dict(strict=3),
        dict(device="nowhere"),
        dict(device_map=[1]),
        dict(quantization_config={}),
        dict(gguf_file="x.gguf"),
        dict(device_map={"encoder": "cpu"}),
    ],
)
def test_nonsense_argument(bert: Path, keywords: dict[str, Any]) -> None:
    fails(bert, TypeError, next(iter(keywords)), **keywords)


def test_auto_classes_are_not_instantiated() -> None:
    for name in ("AutoModel", "AutoModelForCausalLM", "AutoConfig"):
        with pytest.raises(TypeError, match=f"{name}.from_pretrained"):
            getattr(autoload, name)()


def test_forward_needs_one_input() -> None:
    for model_type in ("bert", "llama", "gpt2"):
        from tests.checkpoints import tiny

        model = tiny(model_type)
        for inputs in ({}, {"input_ids": torch.ones(1, 2).long(), "inputs_embeds": torch.ones(1, 2, 16)}):
            with pytest.raises(TypeError, match="input_ids or inputs_embeds"):
                model(**inputs)


def test_batch_without_padding_token() -> None:
    from tests.checkpoints import tiny

    model = tiny("llama", "SequenceClassification")
    with pytest.raises(TypeError, match="pad_token_id"):
        model(torch.ones(2, 3).long())


def test_errors_carry_facts_through_pickle() -> None:
    for error in (e.ConfigError("a", 1, "2"), e.NotCached("x", repo_id="r"), e.WeightsError("w", missing=["m"])):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and again.__dict__ == error.__dict__


def test_nothing_is_written_where_a_load_fails(bert: Path) -> None:
    before = sorted(p.name for p in bert.iterdir())
    edit_config(bert, hidden_size=-1)
    fails(bert, ValueError, "hidden_size", loader=AutoModelForCausalLM)
    assert sorted(p.name for p in bert.iterdir()) == before


def test_generate_without_a_head(bert: Path) -> None:
    with pytest.raises(TypeError, match="AutoModelForCausalLM"):
        AutoModel.from_pretrained(bert).generate(torch.ones(1, 2).long())


def test_kernel_that_is_not_installed(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(bert, TypeError, "flash-attn", attn_implementation="flash_attention_2")


def test_encoder_that_is_asked_for_the_next_token(bert: Path, caplog: pytest.LogCaptureFixture) -> None:
    AutoModelForCausalLM.from_pretrained(bert)
    assert "is_decoder=True" in caplog.text
    caplog.clear()
    AutoModelForCausalLM.from_pretrained(bert, is_decoder=True)
    assert "is_decoder" not in caplog.text


def test_weights_file_in_place_of_a_configuration(bert: Path) -> None:
    fails(bert / "model.safetensors", OSError, "expected a directory", loader=AutoConfig)
