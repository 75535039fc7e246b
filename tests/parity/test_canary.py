"""Canary and Cohere's ASR beyond what every type is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ConfigError
from tests.parity.cases.canary import CASES
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model

CANARY, COHERE = CASES[0], CASES[2]


def test_files_of_the_hub(tmp_path: Path) -> None:
    """Names as NeMo's, without the part that the head puts before them, and with its feature extractor's tables."""
    theirs = reference_model(COHERE, "SpeechSeq2Seq")
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("model."): tensor for name, tensor in load_file(path).items()}
    assert "transf_decoder._decoder.layers.0.first_sub_layer.query_net.weight" in tensors
    save_file({**tensors, "preprocessor.featurizer.fb": torch.zeros(3)}, path, {"format": "pt"})
    ours, info = autoload.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    inputs = inputs_for(COHERE, "SpeechSeq2Seq")
    with torch.no_grad():
        assert_close(ours(**inputs).logits, theirs(**inputs).logits, 1e-5, "logits")


@pytest.mark.parametrize("model_type", ["canary", "cohere_asr"])
@pytest.mark.parametrize("fields", [{}, {"encoder_config": None}, {"encoder_config": {"hidden_size": 64}}])
def test_encoder_in_part(model_type: str, fields: dict) -> None:
    """What a file leaves out of the encoder is the type's, and not always what Parakeet's own file would leave out."""
    from transformers import CONFIG_MAPPING

    ours = autoload.AutoConfig.for_model(model_type, **fields).encoder_config.to_dict()
    theirs = CONFIG_MAPPING[model_type](**fields).encoder_config.to_dict()
    assert {key: ours[key] for key in theirs if key not in ("dtype", "transformers_version")} == {
        key: value for key, value in theirs.items() if key not in ("dtype", "transformers_version")
    }


def test_masks_that_are_given(tmp_path: Path) -> None:
    """The encoder's output may bring its mask; in a tuple it has none, and the mask of the frames says it."""
    ours = load_ours(CANARY, "SpeechSeq2Seq", tmp_path)
    inputs = inputs_for(CANARY, "SpeechSeq2Seq")
    sound, mask = inputs.pop("input_features"), inputs.pop("attention_mask")
    with torch.no_grad():
        expected = ours(sound, mask, **inputs).logits
        heard = ours.get_encoder()(sound, mask)
        assert_close(ours(encoder_outputs=heard, **inputs).logits, expected, 1e-6, "output")
        alone = (heard.last_hidden_state,)
        assert_close(ours(encoder_outputs=alone, attention_mask=mask, **inputs).logits, expected, 1e-6, "tuple")


def test_more_tokens(tmp_path: Path) -> None:
    """A larger vocabulary is saved, and loads again."""
    ours = load_ours(CANARY, "SpeechSeq2Seq", tmp_path)
    ours.resize_token_embeddings(70)
    ours.save_pretrained(tmp_path / "again")
    again = autoload.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "again")
    assert again.proj_out.weight is again.get_input_embeddings().weight and len(again.proj_out.bias) == 70


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="vocab_size"):
        autoload.AutoConfig.for_model("canary", vocab_size=20)
    with pytest.raises(ConfigError, match="num_attention_heads"):
        autoload.AutoConfig.for_model("cohere_asr", num_attention_heads=7)
    with pytest.raises(ConfigError, match="context_size"):
        autoload.AutoConfig.for_model("granite_speech5_encoder", context_size=0)
    with pytest.raises(ConfigError, match="conv_residual_weights"):
        autoload.AutoConfig.for_model("lasr_encoder", conv_residual_weights=[1.0])
