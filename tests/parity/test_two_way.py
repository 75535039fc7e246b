"""What encoders made of newer decoders' parts do beside the parity cases."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases import neomme, two_way


def build(model_type: str, config: Any, **fields: Any) -> Any:
    torch.manual_seed(0)
    whole = autoload.AutoConfig.for_model(model_type, **{**config, **fields})
    return autoload.AutoModel.from_config(whole).eval()


def test_patches_and_places_must_agree() -> None:
    model, inputs = build("neomme", neomme.NEOMME), neomme.page(torch.full((2, 12), 9))
    with pytest.raises(ArgumentError, match="3 patches for 4 places"):
        model(**inputs | {"pixel_values": inputs["pixel_values"][1:]})
    with pytest.raises(ArgumentError, match="11 numbers, expected 12"):
        model(**inputs | {"pixel_values": inputs["pixel_values"][:, 1:]})
    with pytest.raises(ArgumentError, match="inputs_embeds"):
        model(inputs_embeds=torch.zeros(1, 2, 32))
    inputs["input_ids"][:, 4] = model.config.document_token_id  # then the first image token is a mark, no place
    with pytest.raises(ArgumentError, match="4 patches for 2 places"):
        model(**inputs)


def test_more_tokens_have_values_too() -> None:
    model = build("neomme", neomme.NEOMME)
    model.resize_token_embeddings(105)
    assert model.value_embeddings.num_embeddings == 105 and model.embed_tokens.word_embeddings.num_embeddings == 105
    assert model(torch.tensor([[104, 5]])).last_hidden_state.shape == (1, 2, 32)


@pytest.mark.parametrize(
    "fields,field",
    [
        (dict(layer_types=["sliding_attention"] * 4), "layer_types"),
        (dict(layer_types=["full_attention"] * 3), "layer_types"),
        (dict(per_layer_config={"first": {}}), "per_layer_config"),
        (dict(per_layer_config=[3]), "per_layer_config"),
        (dict(head_dim=12), "partial_rotary_factor"),
    ],
)
def test_configurations_that_cannot_be_meant(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        build("neomme", neomme.NEOMME, **fields)


def test_scores_of_the_routers_are_those_of_all_places() -> None:
    case = next(case for case in two_way.CASES if case.model_type == "openai_privacy_filter")
    model = build(case.model_type, case.config)
    ids, mask = torch.full((2, 12), 9), torch.ones(2, 12).long()
    mask[1, 4:] = 0
    out = model(ids, attention_mask=mask, output_router_logits=True)
    assert [scores.shape for scores in out.router_logits] == [(24, 5)] * 4
    assert "router_logits" not in model(ids, attention_mask=mask)


def test_the_privacy_filter_has_its_labels() -> None:
    config = autoload.AutoConfig.for_model("openai_privacy_filter")
    assert config.num_labels == 33 and config.id2label[4] == "S-account_number" and config.label2id["S-secret"] == 32
    assert autoload.AutoConfig.for_model("openai_privacy_filter", num_labels=3).id2label[2] == "LABEL_2"
