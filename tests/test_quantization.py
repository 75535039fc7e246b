"""`quantization_config`: int8 weights through torchao, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, WeightsError
from tests.checkpoints import saved

SIZES = dict(hidden_size=64, intermediate_size=96, num_attention_heads=4)
IDS = torch.arange(5, 37).reshape(4, 8)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bert"), "bert", "SequenceClassification", **SIZES)


def weight_only() -> Any:
    return pytest.importorskip("torchao.quantization").Int8WeightOnlyConfig()


def load(path: Path, config: Any = None, auto: Any = None) -> Any:
    return (auto or autoload.AutoModelForSequenceClassification).from_pretrained(path, quantization_config=config)


def test_weights_take_a_byte_each_and_the_head_stays(bert: Path) -> None:
    model, plain = load(bert, weight_only()), load(bert)
    assert model.is_quantized and model.base_model.is_quantized and not plain.is_quantized
    query, head = model.bert.encoder.layer[0].attention.self.query, model.classifier
    assert type(query.weight.data) is not torch.Tensor and type(head.weight.data) is torch.Tensor
    linear = sum(m.weight.nbytes for m in plain.bert.modules() if isinstance(m, torch.nn.Linear))
    gone = plain.get_memory_footprint() - model.get_memory_footprint()
    assert 0.65 * linear < gone < 0.75 * linear
    with torch.no_grad():
        found, expected = (m.bert(IDS).last_hidden_state for m in (model, plain))
    error = (found - expected).abs().max()
    assert 0 < error < 0.05 * expected.abs().max()


def test_equals_the_reference(bert: Path) -> None:
    """The same weights, so the same hidden states; `TorchAoConfig` is taken as it is."""
    config = weight_only()
    import transformers

    wrapped = transformers.TorchAoConfig(config)
    theirs = transformers.AutoModel.from_pretrained(bert, quantization_config=wrapped)
    ours = load(bert, wrapped, autoload.AutoModel)
    with torch.no_grad():
        assert torch.allclose(ours(IDS).last_hidden_state, theirs(IDS).last_hidden_state, atol=1e-5)


def test_spellings(bert: Path) -> None:
    config = weight_only()
    from torchao.core.config import config_to_dict

    found = []
    for given in (config, {"quant_method": "torchao", "quant_type": {"default": config_to_dict(config)}}):
        with torch.no_grad():
            found.append(load(bert, given)(IDS).logits)
    assert torch.equal(*found)
    kept = load(bert, {"quant_type": config, "modules_to_not_convert": ["intermediate"]}).bert.encoder.layer[1]
    assert type(kept.intermediate.dense.weight.data) is torch.Tensor
    assert type(kept.output.dense.weight.data) is not torch.Tensor


def test_is_not_saved(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="quantized"):
        load(bert, weight_only()).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given,match",
    [
        ({"quant_method": "bitsandbytes"}, "bitsandbytes"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "int8_weight_only"),
        ({"quant_type": {"default": {"_type": "Int9Config", "_data": {}}}}, "Int9Config"),
        (8, "8"),
    ],
)
def test_refused(bert: Path, given: Any, match: str) -> None:
    if match != "bitsandbytes":
        pytest.importorskip("torchao")
    with pytest.raises(ArgumentError, match=match) as caught:
        load(bert, given)
    assert caught.value.name == "quantization_config"


def test_without_the_package(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torchao" else find(name, *rest)
    )
    with pytest.raises(ArgumentError, match=r"autoload\[int8\]"):
        load(bert, {"quant_type": "int8"})
