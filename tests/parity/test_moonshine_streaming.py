"""Moonshine for streams beyond the parity suite: states that are given, sounds that do not fit, positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases import moonshine, moonshine_streaming
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model

CASE, TASK = moonshine_streaming.CASES[0], "SpeechSeq2Seq"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return load_ours(CASE, TASK, tmp_path_factory.mktemp("checkpoint")), reference_model(CASE, TASK)


def test_given_states(models: tuple[Any, Any]) -> None:
    """They bring their own mask, and stay as they are: with and without a cache they give the same tokens."""
    ours, theirs = models
    inputs = inputs_for(CASE, TASK)
    sound = {key: inputs.pop(key) for key in ("input_values", "attention_mask")}
    with torch.no_grad():
        given, expected = ours.get_encoder()(**sound), theirs.get_encoder()(**sound)
        before = given.last_hidden_state.clone()
        assert torch.equal(given.attention_mask, expected.attention_mask)
        found = ours(encoder_outputs=given, **inputs).logits
        assert_close(found, theirs(encoder_outputs=expected, **inputs).logits, 1e-5, "scores")
        assert_close(ours(**sound, **inputs).logits, found, 1e-6, "from the sound")
        bare = ours(encoder_outputs=(before,), attention_mask=sound["attention_mask"], **inputs).logits
    assert torch.equal(bare, found) and torch.equal(given.last_hidden_state, before)
    first, second = (ours.generate(**sound, max_new_tokens=8, use_cache=caches) for caches in (True, False))
    assert torch.equal(first, second)


@pytest.mark.parametrize("case", [CASE, moonshine.CASES[0]], ids=str)
def test_positions_of_the_text(case: Any, tmp_path: Path) -> None:
    ours, theirs = load_ours(case, TASK, tmp_path), reference_model(case, TASK)
    inputs = inputs_for(case, TASK)
    positions = torch.arange(inputs["decoder_input_ids"].shape[1])[None] * 2
    with torch.no_grad():
        found, expected = (model(**inputs, decoder_position_ids=positions).logits for model in (ours, theirs))
        plain = ours(**inputs).logits
    assert_close(found, expected, 1e-5, "scores")
    assert not torch.allclose(found, plain, atol=1e-3)


@pytest.mark.parametrize("samples,text", [(1270, "1270 samples, expected a multiple of 20"), (4900, "at most 60")])
def test_sounds_that_do_not_fit(models: tuple[Any, Any], samples: int, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        models[0](torch.zeros(1, samples), decoder_input_ids=torch.tensor([[3]]))


@pytest.mark.parametrize(
    "fields,text",
    [
        ({"encoder_config": moonshine_streaming.ENCODER | {"sliding_windows": [[4, 2]]}}, "each of the 4 layers"),
        ({"num_key_value_heads": 1}, "as many as there are heads"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, Any], text: str) -> None:
    config = autoload.AutoConfig.for_model("moonshine_streaming", **moonshine_streaming.TINY | fields)
    with pytest.raises(ConfigError, match=text):
        autoload.AutoModel.from_config(config)
