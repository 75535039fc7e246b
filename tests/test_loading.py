"""What checkpoints look like, and what loading makes of it."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import autoload
from autoload import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)
from autoload.errors import ArgumentError, ConfigError, TaskError, WeightsError
from tests.checkpoints import edit_config, rewrite, same_weights, saved, tiny


def info(model_class: type, directory: Path, **keywords: object) -> tuple[torch.nn.Module, dict]:
    return model_class.from_pretrained(directory, output_loading_info=True, **keywords)


def clean(report: dict) -> bool:
    return not any(report.values())


def test_loaded_model(tmp_path: Path) -> None:
    model, report = info(AutoModel, saved(tmp_path, "bert"))
    assert clean(report) and report.keys() == {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}
    assert not model.training and all(p.requires_grad for p in model.parameters())
    assert model.name_or_path == str(tmp_path) == model.config.name_or_path
    assert "name_or_path" in model.__dict__
    assert set(model.loading_report.sources.values()) == {"model.safetensors"}
    assert same_weights(model, tiny("bert"))


def test_sharded_and_variant(tmp_path: Path) -> None:
    saved(tmp_path, "llama", "CausalLM", max_shard_size="5KB", variant="fp16")
    names = {p.name for p in tmp_path.iterdir()}
    assert "model.safetensors.index.fp16.json" in names and len(names) > 4
    model, report = info(AutoModelForCausalLM, tmp_path, variant="fp16")
    assert clean(report) and same_weights(model, tiny("llama", "CausalLM"))
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_subfolder(tmp_path: Path) -> None:
    saved(tmp_path / "inner", "bert")
    assert same_weights(AutoModel.from_pretrained(tmp_path, subfolder="inner"), tiny("bert"))


@pytest.mark.parametrize("shards", [1, 2])
def test_pickles(tmp_path: Path, shards: int) -> None:
    model = tiny("bert")
    model.config.save_pretrained(tmp_path)
    state = list(model.state_dict().items())
    if shards == 1:
        torch.save(dict(state), tmp_path / "pytorch_model.bin")
    else:
        parts = {"pytorch_model-00001-of-00002.bin": state[:5], "pytorch_model-00002-of-00002.bin": state[5:]}
        for name, part in parts.items():
            torch.save(dict(part), tmp_path / name)
        index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key, _ in part}}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert same_weights(AutoModel.from_pretrained(tmp_path), model)
    with pytest.raises(FileNotFoundError):
        AutoModel.from_pretrained(tmp_path, use_safetensors=True)


def test_safetensors_win_over_pickles(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    torch.save(tiny("bert", seed=9).state_dict(), tmp_path / "pytorch_model.bin")
    assert same_weights(AutoModel.from_pretrained(tmp_path), tiny("bert"))
    assert same_weights(AutoModel.from_pretrained(tmp_path, use_safetensors=False), tiny("bert", seed=9))


def test_base_into_head_and_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path / "base", "bert")
    with caplog.at_level(logging.WARNING, "autoload"):
        model, report = info(AutoModelForSequenceClassification, tmp_path / "base", num_labels=3)
    assert report["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert "classifier.weight" in caplog.text and "random" in caplog.text
    assert model.loading_report.sources["classifier.bias"] == "new"
    assert same_weights(model.bert, tiny("bert"))
    model.save_pretrained(tmp_path / "head")
    base, report = info(AutoModel, tmp_path / "head")
    assert report["unexpected_keys"] == {"classifier.weight", "classifier.bias"} and not report["missing_keys"]
    assert same_weights(base, model.bert)


def test_pooler_may_lack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, "bert", "MaskedLM")
    _, report = info(AutoModel, tmp_path)
    assert report["missing_keys"] == {"pooler.dense.weight", "pooler.dense.bias"} and "pooler" in caplog.text
    model, report = info(AutoModel, tmp_path, add_pooling_layer=False)
    assert not report["missing_keys"] and model.pooler is None


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
        lambda n: "module." + n,
        lambda n: "_orig_mod.module." + n,
        lambda n: "bert." + n,
    ],
    ids=["gamma and beta", "module", "both wrappers", "prefix"],
)
def test_other_spellings(tmp_path: Path, rename: object, caplog: pytest.LogCaptureFixture) -> None:
    rewrite(saved(tmp_path, "bert"), rename)
    model, report = info(AutoModel, tmp_path)
    assert clean(report) and same_weights(model, tiny("bert"))
    assert ("wrapper" in caplog.text) == ("module." in rename("x"))  # type: ignore[operator]


def test_buffers_of_old_checkpoints_are_read_over(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path, "bert")
    state = load_file(tmp_path / "model.safetensors") | {"embeddings.position_ids": torch.arange(24)[None]}
    save_file(state, tmp_path / "model.safetensors")
    assert clean(info(AutoModel, tmp_path)[1])


def test_tied_head_is_absent_or_present(tmp_path: Path) -> None:
    saved(tmp_path, "llama", "CausalLM", tie_word_embeddings=True)
    model, report = info(AutoModelForCausalLM, tmp_path)
    assert clean(report) and model.lm_head.weight is model.model.embed_tokens.weight
    assert model.loading_report.sources["lm_head.weight"] == "tied to model.embed_tokens.weight"
    rewrite(tmp_path, lambda n: n.replace("model.embed_tokens.weight", "lm_head.weight"))  # only the head is there
    model, report = info(AutoModelForCausalLM, tmp_path)
    assert clean(report) and model.lm_head.weight is model.model.embed_tokens.weight


def test_missing_backbone_is_an_error(tmp_path: Path) -> None:
    rewrite(saved(tmp_path, "bert"), lambda n: None if "layer.1.output.dense" in n else n)
    with pytest.raises(WeightsError, match=r"encoder\.layer\.1\.output\.dense\.weight") as e:
        AutoModel.from_pretrained(tmp_path)
    assert e.value.missing == ["encoder.layer.1.output.dense.weight", "encoder.layer.1.output.dense.bias"]
    assert isinstance(e.value, RuntimeError)
    model, report = info(AutoModel, tmp_path, strict=False)
    assert report["missing_keys"] == set(e.value.missing)
    assert model.encoder.layer[1].output.dense.weight.std() > 0


def test_half_a_head_is_an_error(tmp_path: Path) -> None:
    rewrite(saved(tmp_path, "bert", "SequenceClassification"), lambda n: None if n == "classifier.bias" else n)
    with pytest.raises(WeightsError, match="classifier.bias"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_strict(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    with pytest.raises(WeightsError, match="classifier.weight"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, strict=True)
    saved(tmp_path, "bert", "SequenceClassification")
    with pytest.raises(WeightsError, match="no place"):
        AutoModel.from_pretrained(tmp_path, strict=True)
    with pytest.raises(ArgumentError, match="strict"):
        AutoModel.from_pretrained(tmp_path, strict="yes")


def test_checkpoint_of_another_model(tmp_path: Path) -> None:
    saved(tmp_path / "llama", "llama")
    saved(tmp_path / "bert", "bert")
    (tmp_path / "llama" / "model.safetensors").replace(tmp_path / "bert" / "model.safetensors")
    with pytest.raises(WeightsError, match="none of its"):
        AutoModel.from_pretrained(tmp_path / "bert")


def test_shapes_that_differ(tmp_path: Path) -> None:
    saved(tmp_path, "bert", "SequenceClassification", num_labels=4)
    edit_config(tmp_path, hidden_size=32)
    with pytest.raises(WeightsError, match=r"word_embeddings\.weight: \[60, 16\] in the file, \[60, 32\] in the model"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    edit_config(tmp_path, hidden_size=16, id2label={"0": "a"}, label2id={"a": 0})
    with pytest.raises(WeightsError, match="num_labels"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    model, report = info(AutoModelForSequenceClassification, tmp_path, ignore_mismatched_sizes=True)
    assert report["mismatched_keys"] == {("classifier.weight", (4, 16), (1, 16)), ("classifier.bias", (4,), (1,))}
    assert not report["missing_keys"]


def test_another_number_of_labels_is_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, "bert", "SequenceClassification", num_labels=4)
    model, report = info(AutoModelForSequenceClassification, tmp_path, num_labels=7)
    assert model.classifier.out_features == model.config.num_labels == 7 and len(report["mismatched_keys"]) == 2
    assert "classifier.weight (the file's is [4, 16], asked for is [7, 16])" in caplog.text
    with pytest.raises(WeightsError, match="classifier.weight"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=7, strict=True)
    labels = {0: "no", 1: "yes", 2: "perhaps"}
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, id2label=labels, label2id={"no": 0, "yes": 1, "perhaps": 2}
    )
    assert model.config.id2label == labels and model.classifier.out_features == 3


def test_new_head_is_reproducible_and_full_load_draws_no_numbers(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    heads = []
    for _ in range(2):
        torch.manual_seed(5)
        heads.append(AutoModelForSequenceClassification.from_pretrained(tmp_path).classifier.weight.clone())
    assert torch.equal(*heads) and 0.01 < heads[0].std() < 0.03
    state = torch.get_rng_state()
    AutoModel.from_pretrained(tmp_path)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "dtype,expected",
    [
        (None, torch.bfloat16),
        ("auto", torch.bfloat16),
        ("float32", torch.float32),
        (torch.float16, torch.float16),
        ("torch.float64", torch.float64),
    ],
)
def test_dtypes(tmp_path: Path, dtype: object, expected: torch.dtype) -> None:
    tiny("llama", "CausalLM").to(torch.bfloat16).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {expected} and model.dtype == model.config.dtype == expected
    assert AutoModelForCausalLM.from_pretrained(tmp_path, torch_dtype=dtype).dtype == expected


def test_dtype_without_a_word_in_the_configuration(tmp_path: Path) -> None:
    tiny("bert").to(torch.float16).save_pretrained(tmp_path)
    edit_config(tmp_path, drop=("dtype",))
    assert AutoModel.from_pretrained(tmp_path).dtype == torch.float16
    edit_config(tmp_path, torch_dtype="bfloat16")  # the older key
    assert AutoModel.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_nonsense_dtypes(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    with pytest.raises(TypeError, match="bfloat"):
        AutoModel.from_pretrained(tmp_path, dtype="bfloat")
    with pytest.raises(ValueError, match="floating"):
        AutoModel.from_pretrained(tmp_path, dtype=torch.int8)


def test_rotary_tables_survive_casts_and_moves() -> None:
    model = tiny("llama")
    before = model.rotary_emb["all"].inv_freq.clone()
    model.to(torch.bfloat16)
    assert torch.equal(model.rotary_emb["all"].inv_freq, before)
    model.to_empty(device="cpu")
    assert torch.equal(model.rotary_emb["all"].inv_freq, before)


def test_devices(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    for keywords in (
        {"device": "cpu"},
        {"device_map": "cpu"},
        {"device_map": {"": "cpu"}},
        {"device_map": torch.device("cpu")},
    ):
        assert AutoModel.from_pretrained(tmp_path, **keywords).device.type == "cpu"
    assert {p.device.type for p in AutoModel.from_pretrained(tmp_path, device_map="meta").parameters()} == {"meta"}
    if not torch.cuda.is_available():
        with pytest.raises(TypeError, match="cuda"):
            AutoModel.from_pretrained(tmp_path, device="cuda")
    with pytest.raises(TypeError, match="not both"):
        AutoModel.from_pretrained(tmp_path, device="cpu", device_map="cpu")


def test_state_dict_without_files() -> None:
    source = tiny("bert")
    model = AutoModel.from_pretrained(None, config=source.config, state_dict=source.state_dict())
    assert same_weights(model, source)
    with pytest.raises(TypeError, match="not both"):
        AutoModel.from_pretrained("x", state_dict={})


def test_configuration_given(tmp_path: Path) -> None:
    saved(tmp_path / "weights", "bert")
    config = AutoConfig.from_pretrained(tmp_path / "weights", hidden_act="relu")
    model = AutoModel.from_pretrained(tmp_path / "weights", config=config)
    assert model.config.hidden_act == "relu" and model.config is not config
    config.save_pretrained(tmp_path / "config")
    assert AutoModel.from_pretrained(tmp_path / "weights", config=tmp_path / "config").config.hidden_act == "relu"
    overridden = AutoModel.from_pretrained(tmp_path / "weights", hidden_dropout_prob=0.25, attn_implementation="eager")
    assert overridden.config.hidden_dropout_prob == 0.25 and overridden.config._attn_implementation == "eager"


def test_key_mapping(tmp_path: Path) -> None:
    rewrite(saved(tmp_path, "bert"), lambda n: n.replace("encoder", "coder"))
    assert clean(info(AutoModel, tmp_path, key_mapping={"^coder": "encoder"})[1])


def test_io_read_survives_a_file_that_changes(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    model = AutoModel.from_pretrained(tmp_path, io="read")
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert same_weights(model, tiny("bert"))


def test_mapped_weights_can_be_trained_without_touching_the_file(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    content = (tmp_path / "model.safetensors").read_bytes()
    model = AutoModel.from_pretrained(tmp_path)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    assert (tmp_path / "model.safetensors").read_bytes() == content
    model.save_pretrained(tmp_path)  # over the file that is mapped
    assert same_weights(AutoModel.from_pretrained(tmp_path), model)


def test_constructor_initialises() -> None:
    """A class called with a configuration gives what `from_config` gives, and so does a user's subclass."""
    sizes = dict(vocab_size=60, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = AutoConfig.for_model("bert", **sizes)
    torch.manual_seed(0)
    expected = AutoModelForSequenceClassification.from_config(config)
    torch.manual_seed(0)
    built = type(expected)(config)
    assert all(map(torch.equal, built.state_dict().values(), expected.state_dict().values()))

    class Own(type(built.base_model)):
        def __init__(self, config: autoload.BertConfig):
            super().__init__(config)
            self.further = torch.nn.Linear(64, 64)
            self.post_init()

    own = Own(config)
    assert own.further.weight.std() < 0.03 and not own.further.bias.any()
    assert own.embeddings.word_embeddings.weight.std() < 0.03


def test_from_config() -> None:
    config = AutoConfig.for_model(
        "llama", **dict(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    model = AutoModelForCausalLM.from_config(config, dtype="bfloat16")
    assert model.training and model.dtype == torch.bfloat16 and 0.01 < model.lm_head.weight.float().std() < 0.03
    assert (model.model.norm.weight == 1).all()
    with pytest.raises(TaskError):
        AutoModelForMaskedLM.from_config(config)
    with pytest.raises(TypeError, match="dict"):
        AutoModelForCausalLM.from_config({"model_type": "llama"})


def test_constructor_is_usable_alone() -> None:
    model = autoload.BertModel(
        autoload.BertConfig(num_hidden_layers=1, hidden_size=16, num_attention_heads=2, vocab_size=9)
    )
    assert model(torch.tensor([[1, 2]])).last_hidden_state.isfinite().all()


def test_concrete_classes_pickle(tmp_path: Path) -> None:
    for value in (autoload.BertModel, autoload.LlamaForCausalLM, autoload.BertConfig, tiny("bert").config):
        assert pickle.loads(pickle.dumps(value)) == value
    model = autoload.BertModel.from_pretrained(saved(tmp_path, "bert"))
    assert type(model).__name__ == "BertModel" and type(model).__module__ == "autoload"
    assert same_weights(pickle.loads(pickle.dumps(model)), model)
    assert same_weights(copy.deepcopy(model), model)


def test_concrete_class_of_another_type(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, "llama")
    with pytest.raises(WeightsError, match="none of its"):
        autoload.BertModel.from_pretrained(tmp_path, num_attention_heads=2)
    assert "'llama' model is read as 'bert'" in caplog.text


def test_entry_points_of_installed_packages(tmp_path: Path) -> None:
    """A package that names a model type in its metadata need not be imported by hand, in any process."""
    package = tmp_path / "site"
    (package / "plug-1.0.dist-info").mkdir(parents=True)
    (package / "plug-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (package / "plug-1.0.dist-info" / "entry_points.txt").write_text("[autoload.models]\nplugged = plug:MODEL\n")
    (package / "plug.py").write_text(
        "from tests.test_loading import LazyConfig, LazyHead\n"
        "class PluggedConfig(LazyConfig):\n    model_type = 'plugged'\n"
        "MODEL = {'config': PluggedConfig, 'heads': {'Model': 'tests.test_loading:LazyHead'}}\n"
    )
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "plugged", "hidden_size": 3}))
    torch.save({"weight": torch.ones(2, 3)}, model / "pytorch_model.bin")
    code = f"from autoload import AutoModel; print(type(AutoModel.from_pretrained({str(model)!r})).__name__)"
    path = os.pathsep.join([str(package), os.getcwd()])
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.stdout.strip() == "LazyHead", result.stderr


def test_model_arguments(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    assert AutoModel.from_pretrained(tmp_path, False).pooler is None


def test_register_config_and_heads(tmp_path: Path) -> None:
    from autoload.config import PreTrainedConfig

    class MyConfig(PreTrainedConfig):
        model_type = "my-test-type"

    class MyModel(torch.nn.Module):
        def __init__(self, config: MyConfig):
            super().__init__()
            self.config = config
            self.linear = torch.nn.Linear(config.width, 2)

    AutoConfig.register("my-test-type", MyConfig)
    AutoConfig.register("my-test-type", MyConfig)
    AutoModel.register(MyConfig, MyModel)
    with pytest.raises(ValueError, match="model_type"):
        AutoConfig.register("other", MyConfig)
    with pytest.raises(ValueError, match="built-in"):
        AutoConfig.register("bert", type("BertConfig", (PreTrainedConfig,), {"model_type": "bert"}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "my-test-type", "width": 3}))
    from safetensors.torch import save_file

    state = {"linear.weight": torch.randn(2, 3), "linear.bias": torch.randn(2)}
    save_file(state, tmp_path / "model.safetensors")
    model = AutoModel.from_pretrained(tmp_path)
    assert isinstance(model, MyModel) and torch.equal(model.linear.weight, state["linear.weight"])
    assert isinstance(AutoModel.from_config(MyConfig(width=4)), MyModel)
    with pytest.raises(TaskError):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_lazy_registration(tmp_path: Path) -> None:
    autoload.register(
        "lazy-test-type",
        config="tests.test_loading:LazyConfig",
        heads={"ForSequenceClassification": "tests.test_loading:LazyHead"},
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "lazy-test-type", "hidden_size": 3}))
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "pytorch_model.bin")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(model) is LazyHead and model.weight.sum() == 6
    with pytest.raises(TaskError, match="no task 'Nonsense'.*") as e:
        autoload.register("x-type", config=LazyConfig, heads={"ForNonsense": LazyHead})
    assert "SequenceClassification" in e.value.available


class LazyConfig:
    model_type = "lazy-test-type"

    def __init__(self, hidden_size: int, **rest: object):
        self.hidden_size = hidden_size


class LazyHead(torch.nn.Module):
    def __init__(self, config: LazyConfig):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(2, config.hidden_size))


def test_unused_config_keywords(tmp_path: Path) -> None:
    saved(tmp_path, "bert")
    config, unused = AutoConfig.from_pretrained(tmp_path, return_unused_kwargs=True, hidden_act="relu", foo=3)
    assert config.hidden_act == "relu" and unused == {"foo": 3}
    with pytest.raises(TypeError, match="hidden_act"):
        AutoConfig.from_pretrained(tmp_path, hidden_akt="relu")
    assert AutoConfig.from_pretrained(tmp_path / "config.json").hidden_size == 16


def test_configuration_values_are_brought_to_type() -> None:
    config = AutoConfig.for_model("bert", hidden_size=768.0, layer_norm_eps=1, is_decoder=1, intermediate_size=None)
    assert config.hidden_size == 768 and type(config.hidden_size) is int
    assert config.is_decoder is True and config.intermediate_size == 3072
    with pytest.raises(ConfigError):
        AutoConfig.for_model("bert", hidden_size="64")
