"""What is imported when: each step in a process of its own, by what it leaves in sys.modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = "; import sys, json; print(json.dumps(sorted(sys.modules)))"
HEAVY = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", "tokenizers", "jinja2", "accelerate"}
SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=30)


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def families(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith(("autoload.models.", "autoload.configs."))}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    import autoload

    folder = tmp_path_factory.mktemp("bert")
    config = autoload.AutoConfig.for_model("bert", **SIZES)
    autoload.AutoModel.from_config(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "hello": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_import() -> None:
    modules = modules_after("import autoload")
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("autoload")} == {"autoload"}


@pytest.mark.parametrize("name", ["AutoConfig", "AutoModel", "AutoModelForCausalLM", "BertConfig", "register"])
def test_names(name: str) -> None:
    modules = modules_after(f"from autoload import {name}")
    assert not modules & HEAVY
    assert not {family for family in families(modules) if family.startswith("autoload.models.")}


def test_tokenizer_class() -> None:
    modules = modules_after("from autoload import AutoTokenizer")
    assert not modules & (HEAVY - {"tokenizers"})
    assert "autoload.auto" not in modules and "autoload.registry" not in modules


def test_config(checkpoint: Path) -> None:
    modules = modules_after(
        "from autoload import AutoConfig\n"
        f"config = AutoConfig.from_pretrained({str(checkpoint)!r}, num_labels=3)\n"
        "config.to_json_string(), config.num_labels, repr(config)"
    )
    assert not modules & HEAVY
    assert families(modules) == {"autoload.configs.bert"}


def test_tokenizer(checkpoint: Path) -> None:
    modules = modules_after(
        "from autoload import AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(checkpoint)!r})\n"
        "assert tokenizer('hello there')['input_ids'] == [2, 0]\n"
        "assert tokenizer.decode([2]) == 'hello'"
    )
    assert not modules & (HEAVY - {"tokenizers"}) and "autoload.model" not in modules
    assert not {family for family in families(modules) if family.startswith("autoload.models.")}


# What loading a tokenizer.json and encoding a text imports of this package: no more than this, since each costs a
# tenth of a millisecond or more, and the bare Rust object takes 20.
PATH = """
    autoload autoload.bridge autoload.errors autoload.hub autoload.text autoload.text.auto autoload.text.base autoload.text.classes
    autoload.text.conversation autoload.text.encoding autoload.text.fast autoload.text.legacy autoload.text.loading
    autoload.text.model_types autoload.text.overrides autoload.text.saving autoload.text.settings autoload.text.specials
    autoload.text.templates autoload.text.unsupported
"""
STDLIB = {"__future__", "errno", "importlib"}  # beside what the Rust library imports


def test_tokenizer_imports_little(checkpoint: Path) -> None:
    bare = modules_after("from tokenizers import Tokenizer")
    load = f"from autoload import AutoTokenizer; AutoTokenizer.from_pretrained({str(checkpoint)!r})('hello')"
    added = modules_after(load) - bare
    assert {name for name in added if name.startswith("autoload")} <= set(PATH.split())
    assert not {name.partition(".")[0] for name in added} - STDLIB - {"autoload"}


def test_tokenizer_calls_with_settings_import_more(checkpoint: Path) -> None:
    """The other side of the test above."""
    load = f"from autoload import AutoTokenizer; AutoTokenizer.from_pretrained({str(checkpoint)!r})"
    later = {"autoload.text.plan", "autoload.text.rows", "autoload.text.padding"}
    assert later <= modules_after(f"{load}(['hello'], padding=True)")


def test_tokenizer_opens_each_file_once(checkpoint: Path) -> None:
    """Python opens the two small configurations; the pipeline is read by the Rust library alone, and parsed once."""
    code = f"""
import sys
from autoload import AutoTokenizer
import autoload.text.fast, autoload.text.loading
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
AutoTokenizer.from_pretrained({str(checkpoint)!r})('hello')
print([name for name in opened if name.startswith({str(checkpoint)!r})])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = ["tokenizer_config.json", "config.json", "tokenizer.json"]
    assert done.stdout.strip() == str([str(checkpoint / name) for name in names])


def test_tokenizer_compiles_no_annotations(checkpoint: Path) -> None:
    """`typing.NamedTuple` compiles postponed annotations one by one, and the first makes all node types of `ast`."""
    code = f"""
import typing
made = []
class Counted(typing.ForwardRef, _root=True):
    def __init__(self, *args, **settings):
        made.append(args)
        super().__init__(*args, **settings)
typing.ForwardRef = Counted
from autoload import AutoTokenizer
AutoTokenizer.from_pretrained({str(checkpoint)!r})(['hello'], padding=True)
assert not made, made"""
    assert not modules_after(code) & HEAVY - {"tokenizers"}


def test_tokenizer_imports_torch_for_tensors(checkpoint: Path) -> None:
    """The other side of the test above: there, torch could have been imported."""
    modules = modules_after(
        "from autoload import AutoTokenizer\n"
        f"AutoTokenizer.from_pretrained({str(checkpoint)!r})('hello', return_tensors='pt')"
    )
    assert "torch" in modules and "transformers" not in modules


def test_model(checkpoint: Path) -> None:
    modules = modules_after(
        "import torch\n"
        "from autoload import AutoModel\n"
        f"AutoModel.from_pretrained({str(checkpoint)!r})(input_ids=torch.tensor([[1, 2]]))"
    )
    assert not modules & {"transformers", "huggingface_hub", "accelerate", "tokenizers", "jinja2"}
    assert families(modules) == {"autoload.configs.bert", "autoload.models.bert", "autoload.models.bert_heads"}
    assert not {name for name in modules if name.startswith(("autoload.text", "torch._dynamo", "sympy"))}


def test_model_imports_no_more_than_torch_and_its_room(checkpoint: Path) -> None:
    """Beyond torch, a local load imports this package and safetensors, and little of the standard library."""
    with_torch = modules_after("import torch")
    load = f"import torch; from autoload import AutoModel; AutoModel.from_pretrained({str(checkpoint)!r})"
    added = {name.split(".")[0] for name in modules_after(load) - with_torch}
    foreign = {name for name in added if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert foreign <= {"autoload", "safetensors", "torch"}
