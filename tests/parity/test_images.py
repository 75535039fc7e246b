"""Image models alone and beside text: sizes, places, files of other layouts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases.bridgetower import TEXT, TOWERS
from tests.parity.cases.layoutlmv2 import PAGE, TOWER
from tests.parity.cases.modernvbert import IMAGE, MODERN, pages
from tests.parity.cases.resnet import TINY as RESNET
from tests.parity.cases.tvp import SMALL, TVP, film
from tests.parity.cases.vit import TINY, VIT
from tests.parity.harness import Case, assert_close, load_ours, perturb


def fresh(model_type: str, task: str = "AutoModel", **fields: Any) -> Any:
    config = autoload.AutoConfig.for_model(model_type, **fields)
    return getattr(autoload, task).from_config(config).eval()


@pytest.mark.parametrize("model_type,name", [("clip", "CLIPVisionModel"), ("siglip", "SiglipVisionModel")])
def test_tower_of_a_file_with_both_towers(model_type: str, name: str, tmp_path: Path) -> None:
    """As the reference does it: the tower's part of the configuration and of the weights, the rest is named."""
    from transformers import CONFIG_MAPPING, AutoModel

    text = dict(vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=37)
    whole = AutoModel.from_config(CONFIG_MAPPING[model_type](text_config=text, vision_config=TINY)).eval()
    perturb(whole)
    whole.save_pretrained(tmp_path)
    tower, info = getattr(autoload, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not any(key.startswith("vision_model.") for key in info["unexpected_keys"])
    pixels = torch.randn(2, 2, 12, 12)
    with torch.no_grad():
        expected, found = whole.vision_model(pixels), tower(pixels)
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-5, "hidden states")
    assert_close(found.pooler_output, expected.pooler_output, 1e-5, "pooled")


def test_older_files_of_a_tower_alone(tmp_path: Path) -> None:
    """They name the tower; it loads without that name, and nothing is left over."""
    model = load_ours(Case("siglip_vision_model", TINY), "Model", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({f"vision_model.{name}": value for name, value in state.items()}, tmp_path / "model.safetensors")
    again, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("model_type", ["vit", "clip_vision_model", "siglip_vision_model"])
def test_other_size(model_type: str) -> None:
    model = fresh(model_type, **TINY)
    pixels = torch.randn(2, 2, 16, 20)
    with pytest.raises(ArgumentError, match="4 by 5 patches, expected 3 by 3.*interpolate_pos_encoding"):
        model(pixels)
    first = 0 if model_type.startswith("siglip") else 1
    assert model(pixels, interpolate_pos_encoding=True).last_hidden_state.shape == (2, 20 + first, 32)
    usual = torch.randn(2, 2, 12, 12)
    same = model(usual, interpolate_pos_encoding=True).last_hidden_state
    assert torch.equal(same, model(usual).last_hidden_state)


def test_oblong_images_of_their_own() -> None:
    """`image_size` and `patch_size` may be pairs."""
    model = fresh("vit", "AutoModelForMaskedImageModeling", **VIT | dict(image_size=[8, 12]))
    hidden = torch.arange(12).reshape(2, 6) % 2 == 0
    out = model(torch.randn(2, 2, 8, 12), bool_masked_pos=hidden)
    assert out.reconstruction.shape == (2, 2, 8, 12) and out.loss.isfinite()


@pytest.mark.parametrize("pixels", [torch.zeros(1, 3, 12, 12), torch.zeros(2, 12, 12), None])
def test_wrong_pixels(pixels: torch.Tensor | None) -> None:
    with pytest.raises(ArgumentError, match=r"expected \(batch, 2, height, width\)"):
        fresh("clip_vision_model", **TINY)(pixels)


def test_hidden_patches() -> None:
    with pytest.raises(ArgumentError, match="use_mask_token"):
        fresh("vit", **VIT)(torch.zeros(1, 2, 12, 12), bool_masked_pos=torch.zeros(1, 9))
    model = fresh("vit", "AutoModelForMaskedImageModeling", **VIT)
    with pytest.raises(ArgumentError, match=r"bool_masked_pos is \(1, 8\), expected \(1, 9\)"):
        model(torch.zeros(1, 2, 12, 12), bool_masked_pos=torch.zeros(1, 8))
    model = fresh("vit", "AutoModelForMaskedImageModeling", **VIT | dict(encoder_stride=2))
    with pytest.raises(ArgumentError, match="encoder_stride"):
        model(torch.zeros(1, 2, 12, 12), bool_masked_pos=torch.zeros(1, 9))


def test_no_tokens_to_resize() -> None:
    with pytest.raises(ArgumentError, match="no table of tokens"):
        fresh("vit", "AutoModelForImageClassification", **VIT).resize_token_embeddings(10)


def test_attention_mask() -> None:
    """What is hidden from all changes nothing."""
    model, pixels = fresh("vit", **VIT), torch.randn(1, 2, 12, 12)
    mask = torch.ones(1, 10)
    mask[0, 9] = 0
    other = pixels.clone()
    other[:, :, 8:, 8:] += 1.0  # the last patch
    a, b = (model(x, attention_mask=mask).last_hidden_state[:, :9] for x in (pixels, other))
    assert_close(a, b, 1e-6, "the others")


def inputs() -> dict[str, torch.Tensor]:
    return pages(torch.arange(36).reshape(3, 12) + 10)


def test_embeddings_in_place_of_words() -> None:
    """Image tokens are found by their vector, and images may come as what the tower made of them."""
    model, given = fresh("modernvbert", **MODERN), inputs()
    expected = model(**given)
    embeds = model.get_input_embeddings()(given["input_ids"])
    found = model(inputs_embeds=embeds, pixel_values=given["pixel_values"])
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-6, "by their vectors")
    made = model.get_image_features(given["pixel_values"]).pooler_output
    assert [len(part) for part in made] == [8, 4, 0]
    found = model(given["input_ids"], image_hidden_states=made)
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-6, "made before")


def test_places_and_images_disagree() -> None:
    model, given = fresh("modernvbert", **MODERN), inputs()
    given["input_ids"][2, 0] = IMAGE
    with pytest.raises(ArgumentError, match=r"places for 13 tokens .*image_token_id=98.* give 12"):
        model(**given)
    with pytest.raises(ArgumentError, match=r"expected \(batch, images, channels, height, width\)"):
        model(given["input_ids"], pixel_values=torch.zeros(3, 2, 8, 8))
    with pytest.raises(ArgumentError, match="input_ids or inputs_embeds"):
        model(pixel_values=given["pixel_values"])


def test_patches_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="pixel_shuffle_factor"):
        fresh("modernvbert", **MODERN | dict(pixel_shuffle_factor=3))


def test_parts_of_a_whole() -> None:
    """The kernel is chosen for all parts, tokens are resized in the text encoder, training takes gradients through."""
    model = fresh("modernvbert", "AutoModelForMaskedLM", **MODERN | dict(tie_word_embeddings=True))
    model.set_attn_implementation("eager")
    assert model.model.vision_model.config._attn_implementation == "eager"
    assert model.model.text_model.config._attn_implementation == "eager"
    table = model.resize_token_embeddings(104)
    assert model.lm_head.weight is table.weight and model.config.text_config.vocab_size == 104
    model.gradient_checkpointing_enable()
    model.train()
    model(**inputs(), labels=inputs()["input_ids"]).loss.backward()
    assert model.model.vision_model.embeddings.patch_embedding.weight.grad.abs().sum() > 0


def test_towers_of_a_bridge() -> None:
    """The weights come of the kernel that gives them; sizes that do not fit are refused before anything is made."""
    model = fresh("bridgetower", **TOWERS)
    given = {"input_ids": torch.arange(24).reshape(2, 12) + 5, "pixel_values": torch.randn(2, 2, 12, 12)}
    out = model(**given)
    assert [len(states) for states in out.hidden_states] == [5, 5, 3] and len(out.attentions) == 3
    assert out.attentions[0][0].shape == (2, 4, 12, 12) and out.attentions[0][1].shape == (2, 4, 10, 10)
    model.set_attn_implementation("sdpa")
    fast = model(**given)
    assert fast.attentions == ((None, None),) * 3
    assert_close(fast.pooler_output, out.pooler_output, 1e-5, "another kernel")
    assert model(**given, output_attentions=True).attentions[0][0].shape == (2, 4, 12, 12)
    wide = {"pixel_values": torch.randn(2, 2, 12, 20), "interpolate_pos_encoding": True}
    assert model(**given | wide).image_features.shape == (2, 16, 32)
    with pytest.raises(ArgumentError, match="2 texts and 1 images"):
        model(given["input_ids"], pixel_values=given["pixel_values"][:1])
    with pytest.raises(ArgumentError, match="pass input_ids"):
        model(inputs_embeds=torch.zeros(2, 12, 32), pixel_values=given["pixel_values"])


def test_one_link_for_all_layers() -> None:
    model = fresh("bridgetower", **TOWERS | dict(share_link_tower_layers=True))
    assert sum("link_tower.LayerNorm.weight" in name for name, _ in model.named_parameters()) == 2
    out = model(torch.arange(12)[None] + 5, pixel_values=torch.randn(1, 2, 12, 12))
    assert out.pooler_output.shape == (1, 64)


@pytest.mark.parametrize(
    "field,value",
    [("num_hidden_layers", 5), ("link_tower_type", "multiply"), ("text_config", dict(TEXT, hidden_size=64))],
)
def test_bridges_that_cannot_stand(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        fresh("bridgetower", **TOWERS | {field: value})


def test_page_without_its_picture() -> None:
    model = fresh("layoutlmv2", **PAGE)
    ids = torch.arange(24).reshape(2, 12) + 5
    with pytest.raises(ArgumentError, match="image is missing"):
        model(ids)
    with pytest.raises(ArgumentError, match=r"image is \(2, 3, 30, 64\), expected .* multiples of 32"):
        model(ids, image=torch.zeros(2, 3, 30, 64))
    with pytest.raises(ArgumentError, match="2 texts and 1 images"):
        model(ids, image=torch.zeros(1, 3, 32, 64))
    pixels = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)  # as image processors give them
    out = model(ids, image=pixels)
    assert out.last_hidden_state.shape == (2, 12 + 6, 32)
    seen = model(inputs_embeds=model.get_input_embeddings()(ids), image_embeds=model.see(pixels))
    assert_close(seen.last_hidden_state, out.last_hidden_state, 1e-6, "seen before")


def test_files_with_the_colours_means(tmp_path: Path) -> None:
    """Older files of LayoutLMv2 hold the mean and deviation of the colours, which the settings say already."""
    load_ours(Case("layoutlmv2", PAGE), "Model", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    more = {"visual.pixel_mean": torch.zeros(3, 1, 1), "visual.pixel_std": torch.ones(3, 1, 1)}
    save_file(state | more, tmp_path / "model.safetensors")
    model, info = autoload.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    frozen = {name.split(".")[3] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "res2"}


@pytest.mark.parametrize(
    "field,value",
    [
        ("detectron2_config_args", {"MODEL.RESNETS.DEPTH": 18}),
        ("detectron2_config_args", {"MODEL.BACKBONE.NAME": "build_vit_backbone"}),
        ("image_feature_pool_shape", [2, 3, 11]),
    ],
)
def test_towers_that_are_not_there(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        fresh("layoutlmv2", **PAGE | {field: TOWER | value if isinstance(value, dict) else value})


def test_default_tower() -> None:
    """The sizes of the models on the Hub, built without memory."""
    with torch.device("meta"):
        model = autoload.LayoutLMv2Model(autoload.LayoutLMv2Config())
    shapes = {name: tuple(value.shape) for name, value in model.visual.backbone.state_dict().items()}
    assert len(model.visual.backbone.bottom_up.res4) == 23
    assert shapes["bottom_up.res2.0.conv2.weight"] == (256, 8, 3, 3)
    assert shapes["bottom_up.res5.2.conv3.weight"] == (2048, 2048, 1, 1)
    assert shapes["fpn_output2.weight"] == (256, 256, 3, 3)


def test_stages_of_a_backbone(tmp_path: Path) -> None:
    """Any checkpoint of the type serves as a backbone; the stages are named at load, or later, either way."""
    load_ours(Case("resnet", RESNET), "ImageClassification", tmp_path)
    pixels = torch.randn(1, 2, 32, 32)
    maps = autoload.AutoModel.from_pretrained(tmp_path)(pixels, output_hidden_states=True).hidden_states
    backbone = autoload.AutoBackbone.from_pretrained(tmp_path, out_features=["stage1", "stage3"])
    assert backbone.out_indices == [1, 3] and backbone.channels == [8, 16]
    found = backbone(pixels).feature_maps
    assert torch.equal(found[0], maps[1]) and torch.equal(found[1], maps[3])
    backbone.config.out_indices = [0, -1]
    assert backbone.out_features == ["stem", "stage3"] and backbone.channels == [6, 16]
    assert torch.equal(backbone(pixels).feature_maps[0], maps[0])
    backbone.config.out_features = ["stage2"]
    assert backbone.config.to_dict()["out_indices"] == [2]


@pytest.mark.parametrize(
    "fields,field",
    [
        (dict(out_features=["stage5"]), "out_features"),
        (dict(out_indices=[7]), "out_indices"),
        (dict(out_indices=[2, 1]), "out_indices"),
        (dict(out_features=["stage1"], out_indices=[2]), "out_features"),
        (dict(layer_type="wide"), "layer_type"),
        (dict(depths=[1, 1]), "depths"),
    ],
)
def test_stages_that_are_not_there(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        autoload.ResNetConfig(**RESNET | fields)


def test_fresh_resnet() -> None:
    """Statistics begin at zero and one, whatever memory held."""
    model = fresh("resnet", **RESNET)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(float(n.running_mean.abs().sum()) == 0 and bool((n.running_var == 1).all()) for n in norms)  # type: ignore[union-attr]
    assert model(torch.randn(1, 2, 32, 32)).pooler_output.shape == (1, 16, 1, 1)
    with pytest.raises(ArgumentError, match=r"expected \(batch, 2, height, width\)"):
        model(torch.randn(1, 3, 32, 32))


def test_padded_words_beside_a_film() -> None:
    """One text at a time against the reference, and several at a time against one."""
    from transformers import CONFIG_MAPPING, AutoModel

    torch.manual_seed(0)
    theirs = AutoModel.from_config(CONFIG_MAPPING["tvp"](**TVP)).eval()
    perturb(theirs)
    ours = fresh("tvp", **TVP)
    ours.load_state_dict(theirs.state_dict())
    given = film(torch.arange(12)[None] + 5)
    mask = torch.ones(1, 12, dtype=torch.long)
    mask[0, 8:] = 0
    with torch.no_grad():
        expected = theirs(**given, attention_mask=mask)
        found = ours(**given, attention_mask=mask)
        both = ours(given["input_ids"].expand(2, -1), given["pixel_values"].expand(2, -1, -1, -1, -1))
        alone = ours(**given)
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-5, "padded")
    assert_close(found.pooler_output, expected.pooler_output, 1e-5, "padded, pooled")
    assert_close(both.last_hidden_state[1:], alone.last_hidden_state, 1e-5, "two")


@pytest.mark.parametrize("apply_as,shown", [("replace", 0.0), ("remove", 0.0), ("add", 1.0)])
def test_strip_along_the_lower_edge(apply_as: str, shown: float) -> None:
    """The reference names this prompter and cannot run it: what its settings say is held to here."""
    fields = dict(visual_prompter_type="framedownpad", visual_prompter_apply=apply_as)
    prompter = fresh("tvp", **TVP | fields).visual_prompter
    frames = torch.ones(1, 2, 3, 48, 48)
    out = prompter(frames, False)
    assert torch.equal(out[..., :41, :], frames[..., :41, :])  # seven rows are the strip
    strip = 0.0 if apply_as == "remove" else prompter.pad_down
    assert torch.equal(out[..., 41:, :], torch.zeros(1, 2, 3, 7, 48) + shown + strip)


def test_films_that_do_not_fit() -> None:
    model, given = fresh("tvp", **TVP), film(torch.arange(12)[None] + 5)
    with pytest.raises(ArgumentError, match="expected 48 by 48 .*interpolate_pos_encoding=True"):
        model(given["input_ids"], torch.zeros(1, 2, 3, 32, 48))
    with pytest.raises(ArgumentError, match=r"expected \(1, 2, 3, height, width\)"):
        model(given["input_ids"], torch.zeros(1, 3, 48, 48))
    with pytest.raises(ArgumentError, match="pixel_values is missing"):
        model(given["input_ids"])
    with pytest.raises(ArgumentError, match="3 by 3 fields, expected at most 2 by 3"):
        fresh("tvp", **SMALL | dict(max_img_size=96))(given["input_ids"], torch.zeros(1, 2, 3, 96, 96))
    for field, value in (("visual_prompter_type", "none"), ("visual_prompter_apply", "x"), ("visual_prompt_size", 25)):
        with pytest.raises(ConfigError, match=field):
            fresh("tvp", **TVP | {field: value})
