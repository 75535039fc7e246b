"""What EmbeddingGemma 2 and its towers do beside the parity cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases import embedding_gemma2, gemma4_audio, gemma4_vision
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model

WORDS, WHOLE = embedding_gemma2.CASES
IMAGES = ("pixel_values", "image_position_ids")
FILMS = ("pixel_values_videos", "video_position_ids", "num_frames_per_video")
SOUNDS = ("input_features", "input_features_mask")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return load_ours(WHOLE, "Model", tmp_path_factory.mktemp("checkpoint")), reference_model(WHOLE, "Model")


@pytest.fixture
def inputs() -> dict[str, Any]:
    return inputs_for(WHOLE, "Model")


def build(model_type: str, config: Any, **fields: Any) -> Any:
    torch.manual_seed(0)
    whole = autoload.AutoConfig.for_model(model_type, **{**config, **fields})
    return autoload.AutoModel.from_config(whole).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "method,names", [("get_image_features", IMAGES), ("get_video_features", FILMS), ("get_audio_features", SOUNDS)]
)
def test_features(method: str, names: tuple[str, ...], pair: Any, inputs: dict[str, Any]) -> None:
    """Those of each image and film apart; everything that the towers give, in the reference's order."""
    arguments = [inputs[name] for name in names]
    found, expected = (getattr(model, method)(*arguments, output_hidden_states=True) for model in pair)
    assert [*found] == [*expected] and len(found.hidden_states) == 4
    for key in expected:
        assert_close(found[key], expected[key], 1e-5, key)
    found, expected = (getattr(model, method)(*arguments, return_dict=False) for model in pair)
    assert_close(found, expected, 1e-5, "tuple")


@torch.no_grad()
def test_embeddings_in_place_of_words(pair: Any, inputs: dict[str, Any]) -> None:
    """Those of the tokens that keep places say where images, films and sounds go."""
    embeds = pair[0].get_input_embeddings()(inputs.pop("input_ids"))
    found, expected = (model(inputs_embeds=embeds, **inputs).last_hidden_state for model in pair)
    assert_close(found, expected, 1e-5, "hidden states")


@torch.no_grad()
def test_sounds_without_a_mask(pair: Any, inputs: dict[str, Any]) -> None:
    """All frames are real then."""
    ids, sound = torch.full((1, 6), embedding_gemma2.AUDIO), inputs["input_features"][:1]
    ids[0, 4:] = 7
    alone = pair[0](ids, input_features=sound).last_hidden_state
    masked = pair[1](ids, input_features=sound, input_features_mask=torch.ones(sound.shape[:2], dtype=torch.bool))
    assert_close(alone, masked.last_hidden_state, 1e-5, "hidden states")


@torch.no_grad()
def test_a_sound_from_its_samples() -> None:
    """The extractor's names and shapes are those that the model takes."""
    model = build("gemma4_audio", gemma4_audio.TOWER, subsampling_conv_channels=[128, 4])
    samples = [torch.linspace(0, 900, 9000).sin().numpy(), torch.linspace(0, 500, 4000).sin().numpy()]
    made = autoload.Gemma4AudioFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")
    assert [*made] == [*SOUNDS]
    out = model(made["input_features"], made["input_features_mask"])
    assert out.attention_mask.sum(1).tolist() == [14, 6] and out.last_hidden_state.shape == (2, 14, 20)


@torch.no_grad()
def test_numbers_as_a_mask(pair: Any, inputs: dict[str, Any]) -> None:
    expected = pair[0](**inputs).last_hidden_state
    inputs["input_features_mask"] = inputs["input_features_mask"].long()
    assert torch.equal(pair[0](**inputs).last_hidden_state, expected)


@torch.no_grad()
def test_tokens_beyond_the_vocabulary(inputs: dict[str, Any]) -> None:
    """Where tokens keep places only, the vocabulary need not know them."""
    model = build("embedding_gemma2", WHOLE.config, image_token_id=500, audio_token_id=None)
    ids = inputs["input_ids"][:1]
    embeds = model.get_input_embeddings()(ids.masked_fill(ids == embedding_gemma2.IMAGE, 0))
    ids = ids.masked_fill(ids == embedding_gemma2.IMAGE, 500)
    images = {name: inputs[name] for name in IMAGES}
    assert model(ids, **images).image_hidden_states.shape == (6, 32)
    assert model(inputs_embeds=embeds).last_hidden_state.isfinite().all()


def test_parts_of_a_file_that_the_configuration_leaves_out(tmp_path: Path) -> None:
    """A text encoder from the file of the whole; a tower without the other; the text model and a tower on their own."""
    reference_model(WHOLE, "Model").save_pretrained(tmp_path)
    config = autoload.AutoConfig.from_pretrained(tmp_path)
    config.audio_config = None
    model, info = autoload.AutoModel.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not any(info.values()) and model.audio_tower is None and model.vision_tower is not None
    with pytest.raises(ArgumentError, match="audio_config"):
        model(torch.tensor([[98]]), input_features=torch.zeros(1, 4, 16))
    config.vision_config = None
    model, info = autoload.AutoModel.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not any(info.values()) and model.vision_tower is None
    with pytest.raises(ArgumentError, match="vision_config"):
        model.get_image_features(torch.zeros(1, 4, 12))
    assert {name.partition(".")[0] for name in model.state_dict()} == {"language_model"}


@pytest.mark.parametrize("kind", ["vision", "audio"])
def test_towers_of_a_whole_model(kind: str, tmp_path: Path) -> None:
    """Gemma 4's files have a tower within the model."""
    from safetensors.torch import save_file

    case = {"vision": gemma4_vision, "audio": gemma4_audio}[kind].CASES[0]
    theirs = reference_model(case, "Model")
    theirs.config.save_pretrained(tmp_path)
    weights = {f"model.{kind}_tower.{name}": value.contiguous() for name, value in theirs.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    ours, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    with torch.no_grad():
        found, expected = (model(**inputs_for(case, "Model"))[0] for model in (ours, theirs))
    assert_close(found, expected, 1e-5, "hidden states")


@torch.no_grad()
def test_patches_that_are_tokens() -> None:
    """The reference gives padding, and no patch, where each patch is a token of its own."""
    model = build("gemma4_vision", gemma4_vision.TOWER, pooling_kernel_size=1, standardize=False)
    places = gemma4_vision.grids((2, 2), (2, 1), room=4)
    pixels = torch.rand(2, 4, 12)
    tokens = model(pixels, places).last_hidden_state
    assert tokens.shape == (6, 32)
    assert_close(tokens[4:], model(pixels[1:, :2], places[1:, :2]).last_hidden_state, 1e-5, "without padding")


@torch.no_grad()
def test_room_for_patches_changes_nothing(pair: Any, inputs: dict[str, Any]) -> None:
    """More padding leaves an image's tokens as they are, and so does the company of others."""
    pixels, places = (inputs[name] for name in IMAGES)
    both = pair[0].get_image_features(pixels, places).pooler_output
    more = torch.cat([pixels[1:, :8], torch.rand(1, 12, 12)], 1), gemma4_vision.grids((2, 4), room=20)
    assert_close(pair[0].get_image_features(*more).pooler_output[0], both[1], 1e-5, "tokens")


@pytest.mark.parametrize(
    "name,change,message",
    [
        ("pixel_values", lambda x: x[:, :, :11], r"pixel_values is \(2, 16, 11\)"),
        ("pixel_values", lambda x: x[:1], "pixel_position_ids is"),
        ("image_position_ids", lambda x: None, "pixel_position_ids is None"),
        ("image_position_ids", lambda x: x + 8, "from 7 to 11, expected -1 to 8"),
        ("image_position_ids", lambda x: (x * 2).clamp(min=-1), "Pass whole squares"),
        ("image_position_ids", lambda x: gemma4_vision.grids((2, 2), (2, 2)), "places for 6 tokens of image"),
        ("num_frames_per_video", lambda x: None, "num_frames_per_video"),
        ("num_frames_per_video", lambda x: x + 1, "counts 5 frames, but there are 3"),
        ("input_features", lambda x: x[..., :9], "leave 18 numbers a frame, expected 24"),
        ("input_features", lambda x: x[0], "expected three axes"),
        ("input_features_mask", lambda x: ~x, "places for 5 tokens of audio"),
        ("input_ids", lambda x: None, "pass input_ids or inputs_embeds"),
    ],
)
def test_inputs_that_cannot_be_meant(name: str, change: Any, message: str, pair: Any, inputs: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=message):
        pair[0](**inputs | {name: change(inputs[name])})


@pytest.mark.parametrize(
    "model_type,fields,message",
    [
        ("gemma4_vision", dict(head_dim=10), "head_dim"),
        ("gemma4_vision", dict(rope_parameters=dict(rope_type="yarn", rope_theta=9.0, factor=2.0)), "rope_type"),
        ("gemma4_audio", dict(subsampling_conv_channels=[4]), "subsampling_conv_channels"),
        ("gemma4_audio", dict(attention_context_left=0), "attention_context_left"),
        ("gemma4_audio", dict(attention_context_right=-1), "attention_context_right"),
        ("gemma4_audio", dict(attention_chunk_size=None), "attention_chunk_size"),
        ("embedding_gemma2", dict(vision_config=3), "vision_config"),
    ],
)
def test_configurations_that_cannot_be_meant(model_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        autoload.AutoConfig.for_model(model_type, **fields)


@torch.no_grad()
def test_another_tower(tmp_path: Path) -> None:
    """The configuration names the type of its towers."""
    vision = gemma4_vision.TOWER | dict(model_type="gemma4_vision", num_hidden_layers=1)
    model = build("embedding_gemma2", WORDS.config, vision_config=vision)
    model.save_pretrained(tmp_path)
    again = autoload.AutoModel.from_pretrained(tmp_path)
    assert type(again.vision_tower).__name__ == "Gemma4VisionModel" and again.config.audio_config is None
    assert again.config.vision_config.num_hidden_layers == 1


def test_gradient_checkpointing(pair: Any, inputs: dict[str, Any]) -> None:
    """In the towers too."""
    model = build("embedding_gemma2", WHOLE.config)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**inputs).last_hidden_state.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.train().gradient_checkpointing_enable()
    again = gradients()
    assert plain.keys() == again.keys() and any("audio_tower" in name for name in again)
    assert all(torch.allclose(plain[name], again[name], rtol=1e-4, atol=1e-4) for name in plain)
