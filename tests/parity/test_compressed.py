"""Decoders with entries for windows, where the parity cases do not reach: older files, the Hub's names, caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.generation.models import by_name, pair, prompts

OLDER: list[dict[str, Any]] = [
    dict(num_hidden_layers=4, compress_ratios=[0, 4, 128, 4], qk_rope_head_dim=32, num_hash_layers=1),
    dict(compress_rate_csa=3, compress_rate_hca=9, rope_theta=5e4),
    dict(rope_scaling=dict(type="yarn", factor=16, original_max_position_embeddings=65536), rope_theta=7e4),
    dict(
        rope_parameters={
            name: dict(rope_theta=t, rope_type="default") for name, t in (("main", 3.0), ("compress", 9.0))
        }
    ),
]


@pytest.mark.parametrize("fields", OLDER)
def test_older_fields(fields: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    theirs = CONFIG_MAPPING["deepseek_v4"](**fields).to_dict()
    ours = autoload.AutoConfig.for_model("deepseek_v4", **fields).to_dict()
    assert {k: v for k, v in ours.items() if k != "id2label"} == {k: v for k, v in theirs.items() if k != "id2label"}


@pytest.mark.parametrize(
    "fields,named",
    [
        (dict(layer_types=["full_attention"] * 43), "layer_types"),
        (dict(mlp_layer_types=["moe"]), "mlp_layer_types"),
        (dict(compress_rates=4), "compress_rates"),
        (dict(compress_rate_csa=0), "compress_rates.compressed_sparse_attention"),
    ],
)
def test_impossible_fields(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        autoload.AutoConfig.for_model("deepseek_v4", **fields)


def test_names_of_the_hub(tmp_path: Path) -> None:
    """The published files have no `model.`, other names around it, and layers for further tokens."""
    ours, _ = pair(by_name("deepseek_v4"))
    ours.save_pretrained(tmp_path)
    tensors = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        name = name.removeprefix("model.").replace("attn.norm", "attn.kv_norm")
        tensors[name.replace("embed_tokens", "embed").replace("hc_head.hc_", "hc_head_")] = tensor.clone()
    tensors["mtp.0.attn.wkv.weight"] = torch.zeros(3)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again, info = autoload.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    ids = prompts(by_name("deepseek_v4"))["input_ids"]
    assert torch.equal(again(ids).logits, ours(ids).logits)


@pytest.mark.parametrize("settings", [dict(cache_implementation="static"), dict(prefill_chunk_size=5)])
def test_caches(settings: dict[str, Any]) -> None:
    ours, _ = pair(by_name("deepseek_v4"))
    inputs = prompts(by_name("deepseek_v4"), padded=True) | dict(max_new_tokens=12)
    assert ours.generate(**inputs, **settings).tolist() == ours.generate(**inputs).tolist()


def test_tables_need_tokens() -> None:
    ours, _ = pair(by_name("deepseek_v4"))
    with pytest.raises(ArgumentError, match="input_ids"):
        ours(inputs_embeds=torch.zeros(1, 4, 32))
