"""Fields of dots3 that older files have otherwise, against the reference's reading of them."""

from __future__ import annotations

from typing import Any

import pytest

import autoload
from autoload.errors import ConfigError

TINY: dict[str, Any] = dict(num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4)
OLDER: list[dict[str, Any]] = [
    dict(first_k_dense_replace=2, moe_layer_freq=2, sliding_window_size=9),
    dict(moe_layer_freq=[0, 1, 1, 0, 1, 1], moe_shared_expert_intermediate_size=7),
    dict(layer_types=["full_attention", "sliding_attention"] * 3, rope_theta=1e4, swa_rope_theta=2e4),
    dict(layer_types=["indexed_attention", "sliding_attention"] * 3, use_dsa=False, swa_v_head_dim=16),
    dict(use_sliding_window=False, use_dsa=False),
    dict(swa_num_attention_heads=8, swa_num_key_value_heads=8, swa_head_dim=256, swa_qk_nope_head_dim=128),
    dict(rope_scaling=dict(rope_type="linear", factor=2.0, rope_theta=1e3)),
]


@pytest.mark.parametrize("fields", OLDER)
def test_older_fields(fields: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    theirs = CONFIG_MAPPING["dots3_note_text"](**TINY | fields)
    ours = autoload.AutoConfig.for_model("dots3_note_text", **TINY | fields)
    assert ours.to_dict() | {"id2label": None} == theirs.to_dict() | {"id2label": None}
    again = type(ours)(**ours.to_dict())
    assert again.to_dict() == ours.to_dict()


@pytest.mark.parametrize(
    "fields,named",
    [(dict(rope_parameters=4), "rope_parameters"), (dict(per_layer_config=[1]), "per_layer_config")],
)
def test_impossible_fields(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        autoload.AutoConfig.for_model("dots3_note_text", **TINY | fields)
