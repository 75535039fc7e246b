"""Adapters that a model carries itself: `add_adapter`, `load_adapter` and their kin, `save_pretrained`, `from_pretrained`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import AdapterError, ArgumentError, ConfigError, CorruptFile, FileError, MissingFile, WeightsError
from tests.clients.checkpoints import batch
from tests.clients.conftest import Both
from tests.fakehub import FakeHub

CLIENTS = ("peft", "transformers")
TARGETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # checkpoint: task of peft, head, fields of its configuration
    "llama": ("CAUSAL_LM", "CausalLM", dict(target_modules=["q_proj", "v_proj"])),
    "llama_tied": ("CAUSAL_LM", "CausalLM", dict(target_modules=["q_proj"], trainable_token_indices=[5, 6])),
    "gpt2": ("CAUSAL_LM", "CausalLM", dict(target_modules=["c_attn"], fan_in_fan_out=True)),
    "mixtral": ("CAUSAL_LM", "CausalLM", dict(target_modules="all-linear")),
    "t5": ("SEQ_2_SEQ_LM", "Seq2SeqLM", dict(target_modules=["q", "v"])),
    "bart": ("SEQ_2_SEQ_LM", "Seq2SeqLM", dict(target_modules="all-linear")),
    "bert": ("SEQ_CLS", "SequenceClassification", dict(target_modules=["query"], modules_to_save=["classifier"])),
}
IDS = batch(vocabulary=40)


def lora(name: str, **fields: Any) -> Any:
    import peft

    task, _, further = TARGETS[name]
    return peft.LoraConfig(task, r=4, init_lora_weights=False, **{**further, **fields})


def load(library: Any, name: str, path: Any, **keywords: Any) -> Any:
    labels = dict(num_labels=3) if name == "bert" else {}
    auto = getattr(library, f"AutoModelFor{TARGETS[name][1]}")
    return auto.from_pretrained(path, **labels, **keywords)


def logits(model: Any) -> torch.Tensor:
    extra = dict(decoder_input_ids=IDS) if model.config.is_encoder_decoder else {}
    return model.eval()(input_ids=IDS, **extra).logits.detach()


@pytest.mark.parametrize("name", TARGETS)
def test_two_adapters(both: Both, folder: Any, name: str) -> None:
    """Switched, switched off, on together, and taken away."""

    def figures(library: Any) -> list[float]:
        model = load(library, name, folder(name))
        plain = logits(model)
        torch.manual_seed(0)
        model.add_adapter(lora(name))
        first = logits(model)
        trained = sorted(key for key, p in model.named_parameters() if p.requires_grad)
        assert trained and all("default" in key for key in trained)
        further = {} if name in ("bert", "llama_tied") else dict(lora_alpha=2)
        model.add_adapter(lora(name, **further), "second")
        second = logits(model)
        assert model.active_adapters() == ["second"] and {*model.peft_config} == {"default", "second"}
        model.disable_adapters()
        assert torch.allclose(logits(model), plain, atol=1e-5)
        model.enable_adapters()
        found = [first, second]
        if name not in ("bert", "llama_tied"):  # where peft refuses two copies of a part at once
            model.set_adapter(["default", "second"])
            assert model.active_adapters() == ["default", "second"]
            found.append(logits(model))
        model.set_adapter("default")
        assert torch.allclose(logits(model), first, atol=1e-5)
        model.delete_adapter("second")
        assert torch.allclose(logits(model), first, atol=1e-5)
        model.delete_adapter("default")
        assert torch.allclose(logits(model), plain, atol=1e-5) and not hasattr(model, "peft_config")
        return [float(x.abs().mean()) for x in found]

    both(figures)


@pytest.mark.parametrize("name", TARGETS)
def test_files(folder: Any, tmp_path: Path, name: str) -> None:
    """Both libraries write the same adapter, and load the other's."""
    import transformers
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    whole = folder(name)  # made before numbers are drawn for adapters
    for library in (transformers, autoload):
        torch.manual_seed(0)
        model = load(library, name, whole)
        model.add_adapter(lora(name))
        here = tmp_path / library.__name__
        model.save_pretrained(here)
        model.save_pretrained(here / "bare", save_peft_format=False)
        tensors, content = (
            load_file(here / "adapter_model.safetensors"),
            json.loads((here / "adapter_config.json").read_text()),
        )
        bare = load_file(here / "bare" / "adapter_model.safetensors")
        assert {f"base_model.model.{key}" for key in bare} == {*tensors}
        content = {key: sorted(value) if isinstance(value, list) else value for key, value in content.items()}
        names = sorted(path.name for path in here.iterdir())
        found[library.__name__] = (names, content, tensors, model.get_adapter_state_dict().keys(), logits(model))
    theirs, ours = found["transformers"], found["autoload"]
    assert ours[:2] == theirs[:2] and ours[3] == theirs[3] and ours[2].keys() == theirs[2].keys()
    assert all(torch.equal(ours[2][key], value) for key, value in theirs[2].items())
    for maker, user in ((transformers, autoload), (autoload, transformers), (autoload, autoload)):
        model = load(user, name, tmp_path / maker.__name__)
        assert torch.allclose(logits(model), theirs[4], atol=1e-5)
        assert type(model).__name__ == type(load(user, name, folder(name))).__name__
        other = load(user, name, folder(name))
        other.load_adapter(tmp_path / maker.__name__, "other", is_trainable=True)
        assert other.active_adapters() == ["other"] and torch.allclose(logits(other), theirs[4], atol=1e-5)
        assert any(p.requires_grad for p in other.parameters())


def test_training(both: Both, folder: Any, tmp_path: Path) -> None:
    """The reference's `Trainer` trains the adapter alone and saves it alone."""

    def figures(library: Any) -> list[float]:
        from datasets import Dataset
        from transformers import Trainer

        from tests.clients.test_transformers import arguments

        here = tmp_path / library.__name__
        model = load(library, "llama", folder("llama"))
        torch.manual_seed(0)
        model.add_adapter(lora("llama"))
        ids = batch(8, 10)
        data = Dataset.from_dict({"input_ids": ids.tolist(), "labels": ids.tolist()})
        checkpointing = dict(gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": True})
        trainer = Trainer(model, arguments(here, max_steps=4, **checkpointing), train_dataset=data)
        trainer.train()
        assert not (here / "checkpoint-4" / "model.safetensors").exists()
        again = load(library, "llama", here / "checkpoint-4")
        assert torch.allclose(logits(again), logits(model), atol=1e-5)
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    losses = both(figures)
    assert losses[-1] < losses[0]


def test_precision_and_generation(both: Both, folder: Any, adapter: Path) -> None:
    def figures(library: Any) -> list[float]:
        half = load(library, "llama", adapter, dtype=torch.bfloat16)
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        model = load(library, "llama", adapter, adapter_name="mine")
        assert [*model.peft_config] == ["mine"] and not model.training
        return [*model.generate(IDS[:1, :4], max_new_tokens=6, do_sample=False)[0].tolist()]

    both(figures)


@pytest.fixture
def adapter(folder: Any, tmp_path: Path) -> Path:
    """A directory with an adapter for `llama`."""
    torch.manual_seed(0)
    model = load(autoload, "llama", folder("llama"))
    model.add_adapter(lora("llama"))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_where_it_lies(folder: Any, adapter: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = logits(load(autoload, "llama", adapter))
    assert torch.equal(logits(load(autoload, "llama", adapter.parent, subfolder="adapter")), expected)
    model, info = load(autoload, "llama", adapter, output_loading_info=True)
    assert torch.equal(logits(model), expected) and not any(info.values())
    tensors = autoload.LlamaForCausalLM.from_pretrained(adapter).get_adapter_state_dict()
    fresh = load(autoload, "llama", folder("llama"))
    report = fresh.load_adapter(peft_config=lora("llama"), adapter_state_dict=tensors)
    assert torch.equal(logits(fresh), expected)
    assert {*report.sources} == {key for key, _ in fresh.named_parameters() if "lora_" in key}
    shutil.copytree(folder("llama"), adapter, dirs_exist_ok=True)  # a whole model now
    assert not hasattr(load(autoload, "llama", adapter), "peft_config") and "load_adapter" in caplog.text
    asked = load(autoload, "llama", adapter, adapter_kwargs={"subfolder": ""})
    assert asked.active_adapters() == ["default"] and torch.equal(logits(asked), expected)


def test_on_the_hub(folder: Any, adapter: Path, tmp_path: Path) -> None:
    """An adapter of one repository for a model of another; a revision is the adapter's, and the cache is enough."""
    code = (
        "from autoload import AutoModelForCausalLM\nimport torch\n"
        "model = AutoModelForCausalLM.from_pretrained('org/adapter', revision={revision!r}, local_files_only={local})\n"
        "print(model.active_adapters(), float(model(torch.arange(3, 9)[None]).logits.abs().sum()))\n"
    )
    edit(base_model_name_or_path="org/base")(adapter)
    with FakeHub() as hub:
        hub.repo("org/base", Path(folder("llama")))
        repo = hub.repo("org/adapter", adapter)
        repo.tag("v1")
        home = tmp_path / "home"
        home.mkdir()
        first = hub.run_client(code.format(revision="v1", local=False), home)
        assert first.returncode == 0, first.stderr[-2000:]
        assert first.stdout.startswith("['default'] ")
        asked = hub.count()
        again = hub.run_client(code.format(revision="v1", local=True), home)
        assert again.stdout == first.stdout and hub.count() == asked, again.stderr[-2000:]


def edit(**fields: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = json.loads((path / "adapter_config.json").read_text())
        (path / "adapter_config.json").write_text(json.dumps({**content, **fields}))

    return change


def put(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes(content) and None


DAMAGE: dict[str, tuple[Callable[[Path], None], type[Exception], tuple[str, ...]]] = {
    "no base": (edit(base_model_name_or_path=None), ConfigError, ("adapter_config.json", "base_model_name_or_path")),
    "no such base": (edit(base_model_name_or_path="/nowhere/x"), FileError, ("/nowhere/x",)),
    "no such method": (edit(peft_type="LORAA"), ConfigError, ("adapter_config.json", "'LORA'")),
    "no method": (edit(peft_type=None), ConfigError, ("peft_type",)),
    "no rank": (edit(r="many"), AdapterError, ("LoraConfig", "adapter_config.json")),
    "another rank": (edit(r=8), WeightsError, ("size mismatch", "lora_A")),
    "another place": (edit(target_modules=["nowhere"]), AdapterError, ("nowhere",)),
    "further places": (edit(target_modules=["q_proj", "v_proj", "k_proj"]), WeightsError, ("lacks", "k_proj.lora_A")),
    "fewer places": (edit(target_modules=["q_proj"]), WeightsError, ("has", "v_proj.lora_A")),
    "a part more": (edit(modules_to_save=["norm"]), WeightsError, ("lacks", "norm")),
    "a list": (put("adapter_config.json", b"[1]"), CorruptFile, ("adapter_config.json", "list")),
    "no JSON": (put("adapter_config.json", b"{"), CorruptFile, ("adapter_config.json",)),
    "no safetensors": (put("adapter_model.safetensors", b"x"), CorruptFile, ("adapter_model.safetensors",)),
    "no tensors": (
        lambda path: (path / "adapter_model.safetensors").unlink(),
        MissingFile,
        ("adapter_model.safetensors",),
    ),
    "in a circle": (lambda path: edit(base_model_name_or_path=str(path))(path), MissingFile, ("config.json",)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged(folder: Any, adapter: Path, damage: str) -> None:
    """One error that names what is wrong; a model that was to take the adapter is what it was."""
    change, error, words = DAMAGE[damage]
    change(adapter)
    with pytest.raises(error) as caught:
        load(autoload, "llama", adapter)
    assert type(caught.value).__module__ == "autoload.errors" and all(word in str(caught.value) for word in words)
    if "base" not in damage and "circle" not in damage:
        model = load(autoload, "llama", folder("llama"))
        names, expected = {key for key, _ in model.named_parameters()}, logits(model)
        with pytest.raises(error):
            model.load_adapter(adapter)
        assert {
            key for key, p in model.named_parameters() if p.requires_grad
        } == names and not model._hf_peft_config_loaded
        assert torch.equal(logits(model), expected)


def test_calls_that_cannot_be_meant(folder: Any, adapter: Path, tmp_path: Path) -> None:
    import peft

    model = load(autoload, "llama", folder("llama"))
    for call in (
        model.active_adapters,
        model.enable_adapters,
        model.get_adapter_state_dict,
        lambda: model.set_adapter("x"),
    ):
        with pytest.raises(AdapterError, match="no adapter"):
            call()
    with pytest.raises(ArgumentError, match="configuration of peft, found dict"):
        model.add_adapter({})
    with pytest.raises(AdapterError, match="PromptTuningConfig does not go on a LlamaForCausalLM"):
        model.add_adapter(peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(ArgumentError, match="did you mean 'revision'"):
        model.load_adapter(adapter, revison="main")
    with pytest.raises(ArgumentError, match="pass the name"):
        model.load_adapter()
    with pytest.raises(ArgumentError, match="hotswap"):
        model.load_adapter(adapter, hotswap=True)
    model.load_adapter(adapter)
    with pytest.raises(AdapterError, match="has an adapter 'default'"):
        model.load_adapter(adapter)
    model.load_adapter(adapter, "second")
    with pytest.raises(AdapterError, match="'third'"):
        model.set_adapter(["second", "third"])
    model.set_adapter(["default", "second"])
    with pytest.raises(AdapterError, match="default, second are active, expected one"):
        model.save_pretrained(tmp_path / "two")
