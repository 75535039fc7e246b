"""T5Gemma 2 beyond the parity suite: texts with images, the files of the Hub, a table of another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload.errors import ArgumentError, ConfigError
from tests.parity.cases.t5gemma2 import CASES, DECODER, T5GEMMA2
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model

PAGES, TASK = next(case for case in CASES if str(case) == "t5gemma2-pages"), "Seq2SeqLM"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return load_ours(PAGES, TASK, tmp_path_factory.mktemp("checkpoint")), reference_model(PAGES, TASK)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
@pytest.mark.parametrize("sees", [True, False], ids=["images", "words"])
def test_generation(models: tuple[Any, Any], options: dict[str, int], sees: bool) -> None:
    inputs = inputs_for(PAGES, TASK)
    mask = torch.ones_like(inputs["input_ids"])
    mask[2, -3:] = 0
    given = {"input_ids": inputs["input_ids"], "attention_mask": mask, "min_new_tokens": 12, "max_new_tokens": 12}
    if sees:
        given["pixel_values"] = inputs["pixel_values"]
    ours, theirs = (model.generate(**given, **options) for model in models)
    assert torch.equal(ours, theirs)


def test_steps_and_a_part_of_the_scores(models: tuple[Any, Any]) -> None:
    """A cache gives the scores of the whole pass; `logits_to_keep` the last of them; left padding hides the target's."""
    ours, theirs = models
    inputs = inputs_for(PAGES, TASK)
    ids, source = inputs["decoder_input_ids"], {k: inputs[k] for k in ("input_ids", "pixel_values")}
    mask = torch.ones_like(ids)
    mask[:2, :2] = 0
    with torch.no_grad():
        whole = ours(**source, decoder_input_ids=ids, decoder_attention_mask=mask, use_cache=False).logits
        expected = theirs(**source, decoder_input_ids=ids, decoder_attention_mask=mask).logits
        assert_close(whole, expected, 1e-5, "padded")
        encoded, cache, steps = ours.get_encoder()(**source), None, []
        for begin, end in ((0, 3), (3, 4), (4, 6), *((i, i + 1) for i in range(6, 9))):
            out = ours(
                encoder_outputs=encoded,
                decoder_input_ids=ids[:, begin:end],
                decoder_attention_mask=mask[:, :end],
                past_key_values=cache,
                use_cache=True,
            )
            cache = out.past_key_values
            steps.append(out.logits)
        assert_close(torch.cat(steps, 1), whole, 2e-5, "steps")
        kept = ours(**source, decoder_input_ids=ids, decoder_attention_mask=mask, logits_to_keep=2).logits
    assert_close(kept, whole[:, -2:], 1e-6, "the last two")


def test_image_features(models: tuple[Any, Any]) -> None:
    pixels = inputs_for(PAGES, TASK)["pixel_values"]
    with torch.no_grad():
        found, expected = (model.get_image_features(pixels) for model in models)
    assert_close(found.pooler_output, expected.pooler_output, 1e-5, "tokens of the images")
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-5, "patches")


def test_as_many_places_as_images_give(models: tuple[Any, Any]) -> None:
    inputs = inputs_for(PAGES, TASK)
    with pytest.raises(ArgumentError, match=r"places for 8 tokens of images .* but the images give 4"):
        models[0](**inputs | {"pixel_values": inputs["pixel_values"][:1]})


def test_files_with_the_image_tower_in_a_box(tmp_path: Path) -> None:
    """As on the Hub: the reference's older names of the tower."""
    ours, file = load_ours(PAGES, TASK, tmp_path), tmp_path / "model.safetensors"
    state, tower = load_file(file), "model.encoder.vision_tower."
    save_file({name.replace(tower, f"{tower}vision_model."): value for name, value in state.items()}, file)
    again, info = autoload.AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(again.state_dict()[name], value) for name, value in ours.state_dict().items())


def test_encoder_by_itself(models: tuple[Any, Any]) -> None:
    """It knows the end of an image as it does inside the whole."""
    inside = models[0].get_encoder()
    alone = autoload.AutoModel.from_config(inside.config)
    alone.load_state_dict(inside.state_dict())
    inputs = {name: inputs_for(PAGES, TASK)[name] for name in ("input_ids", "pixel_values")}
    assert (inputs["input_ids"] == inside.config.eoi_token_index).any()
    with torch.no_grad():
        expected = models[1].get_encoder()(**inputs).last_hidden_state
        assert_close(alone.eval()(**inputs).last_hidden_state, expected, 1e-5, "states")


@pytest.mark.parametrize("task", ["AutoModel", "AutoModelForSeq2SeqLM"])
def test_resized(task: str, tmp_path: Path) -> None:
    model = getattr(autoload, task).from_config(autoload.AutoConfig.for_model("t5gemma2", **T5GEMMA2))
    model.resize_token_embeddings(110)
    table = model.get_input_embeddings()
    assert table.weight.shape == (110, 32) and table.eoi_embedding.shape == (32,)
    assert model.get_decoder().embed_tokens.weight is table.weight
    model.save_pretrained(tmp_path)
    again, info = getattr(autoload, task).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()) and again.get_input_embeddings().num_embeddings == 110


def test_sides_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"decoder.hidden_size is 40, expected that of encoder.text_config \(32\)"):
        autoload.AutoConfig.for_model("t5gemma2", **T5GEMMA2 | {"decoder": DECODER | {"hidden_size": 40}})
