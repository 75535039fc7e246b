"""GenerationConfig: defaults, checks, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import CorruptFile, GenerationError, MissingFile
from autoload.generation.configuration import DEFAULTS, GenerationConfig, GenerationMode, merged
from tests.generation.models import by_name, pair

REFUSED: list[dict[str, Any]] = [
    dict(temperature="0.7"),
    dict(temperature=0),
    dict(temperature=-1.0),
    dict(temperature=True),
    dict(temperature=float("nan")),
    dict(top_k=-1),
    dict(top_k=1.5),
    dict(top_k="50"),
    dict(top_p=1.2),
    dict(top_p="x"),
    dict(min_p=-0.1),
    dict(typical_p=0),
    dict(repetition_penalty=0),
    dict(repetition_penalty=-2),
    dict(length_penalty="1"),
    dict(num_beams=0),
    dict(num_beams="3"),
    dict(max_length=0),
    dict(max_length=-5),
    dict(max_new_tokens=0),
    dict(min_length=-1),
    dict(max_time="1"),
    dict(do_sample="yes"),
    dict(use_cache=1),
    dict(early_stopping="always"),
    dict(eos_token_id="2"),
    dict(eos_token_id=-2),
    dict(eos_token_id=[2, "3"]),
    dict(eos_token_id=[]),
    dict(pad_token_id=[1]),
    dict(bad_words_ids=[[]]),
    dict(bad_words_ids=[1]),
    dict(sequence_bias={(1,): 2}),
    dict(suppress_tokens="all"),
    dict(stop_strings=[""]),
    dict(stop_strings=[]),
    dict(cache_implementation="statik"),
    dict(num_return_sequences=2),
    dict(num_return_sequences=4, num_beams=3),
    dict(suppress_tokens=[5], forced_eos_token_id=5),
    dict(watermarking_config=dict(greenlist_ratio=2)),
    dict(exponential_decay_length_penalty=3),
]


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(GenerationError) as e:
        GenerationConfig(**fields)
    assert isinstance(e.value, ValueError)
    assert e.value.field in {*fields, "greenlist_ratio"} and "expected" in str(e.value)
    if "sequence_bias" not in fields:  # keys that are no texts
        (tmp_path / "generation_config.json").write_text(json.dumps(fields))
        with pytest.raises(GenerationError, match="generation_config.json|watermarking_config"):
            GenerationConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        dict(temperature=1, max_length=64.0, top_k=0, eos_token_id=[1, 2], pad_token_id=-1),
        dict(do_sample=False, temperature=0.0),
        dict(early_stopping="never", max_time=3, stop_strings=["a", "b"], forced_eos_token_id=[1]),
        dict(num_beam_groups=1, diversity_penalty=0.0, penalty_alpha=0.6),  # old files have these
        dict(something_of_my_own={"a": 1}),
    ],
    ids=str,
)
def test_what_files_have_is_accepted(fields: dict[str, Any]) -> None:
    config = GenerationConfig(**fields)
    assert {k: v for k, v in config.to_diff_dict().items() if k in fields} == fields


def test_ways_of_decoding_that_are_not_here() -> None:
    ours, _ = pair(by_name("llama"))
    for fields in (dict(penalty_alpha=0.6, top_k=4), dict(num_beam_groups=2, num_beams=4), dict(dola_layers="low")):
        with pytest.raises(GenerationError, match="no such way of decoding"):
            ours.generate(torch.tensor([[3, 4]]), max_new_tokens=2, **fields)


def test_round_trip(tmp_path: Path) -> None:
    config = GenerationConfig(
        max_new_tokens=5, eos_token_id=[3, 4], mine="kept", watermarking_config=dict(greenlist_ratio=0.3)
    )
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again == config and again.mine == "kept" and again.watermarking_config.greenlist_ratio == 0.3
    changed, rest = GenerationConfig.from_pretrained(tmp_path, return_unused_kwargs=True, top_k=3, other=1)
    assert (changed.top_k, rest) == (3, {"other": 1})


def test_both_libraries_read_each_other(tmp_path: Path) -> None:
    from transformers import GenerationConfig as Reference

    fields = dict(do_sample=True, temperature=0.3, eos_token_id=[3, 4], bad_words_ids=[[5, 6]], mine=[1])
    Reference(**fields).save_pretrained(tmp_path / "theirs")
    GenerationConfig(**fields).save_pretrained(tmp_path / "ours")
    files = [json.loads((tmp_path / who / "generation_config.json").read_text()) for who in ("theirs", "ours")]
    assert files[0] == files[1]
    ours = GenerationConfig.from_pretrained(tmp_path / "theirs")
    assert Reference.from_pretrained(tmp_path / "ours").to_diff_dict() == ours.to_diff_dict()


def test_defaults_are_the_reference_s() -> None:
    from transformers import GenerationConfig as Reference

    reference = Reference()
    expected = {k: v for k, v in reference._get_default_generation_params().items() if v is not None}
    assert expected == DEFAULTS
    unknown = {k for k in reference.to_dict() if k not in GenerationConfig().to_dict()}
    assert unknown <= {"_from_model_config"}


def test_from_a_model() -> None:
    ours, theirs = pair(by_name("llama"))
    mine, reference = ours.generation_config.to_diff_dict(), theirs.generation_config.to_diff_dict()
    assert {k: mine.get(k) for k in reference} == reference
    nested = {"text_config": {"eos_token_id": 7}, "pad_token_id": 2}
    config = GenerationConfig.from_model_config(nested)
    assert (config.eos_token_id, config.pad_token_id) == (7, 2)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"top_k": ', "version https://git-lfs.github.com/spec"])
def test_damaged_files_are_not_ignored(content: str, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises((CorruptFile, GenerationError), match="generation_config.json"):
        GenerationConfig.from_pretrained(tmp_path)
    pair(by_name("llama"))[0].save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(content)
    with pytest.raises((CorruptFile, GenerationError), match="generation_config.json"):
        autoload.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="generation_config.json"):
        GenerationConfig.from_pretrained(tmp_path)
    pair(by_name("llama"))[0].save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    assert autoload.AutoModelForCausalLM.from_pretrained(tmp_path).generation_config.eos_token_id == 2


def test_precedence() -> None:
    settings, rest = merged(GenerationConfig(top_k=3), GenerationConfig(top_k=4, top_p=0.5), dict(min_p=0.1, x=1))
    assert (settings.top_k, settings.top_p, settings.min_p, settings.num_beams, rest) == (3, 0.5, 0.1, 1, {"x": 1})


@pytest.mark.parametrize(
    "fields,mode",
    [
        ({}, GenerationMode.GREEDY_SEARCH),
        (dict(do_sample=True), GenerationMode.SAMPLE),
        (dict(num_beams=2), GenerationMode.BEAM_SEARCH),
        (dict(num_beams=2, do_sample=True), GenerationMode.BEAM_SAMPLE),
        (dict(prompt_lookup_num_tokens=3), GenerationMode.ASSISTED_GENERATION),
    ],
)
def test_modes(fields: dict[str, Any], mode: GenerationMode) -> None:
    assert GenerationConfig(**fields).get_generation_mode() is mode


def test_call_arguments_are_no_settings() -> None:
    with pytest.raises(GenerationError, match="argument of generate"):
        GenerationConfig(streamer=3).validate()


def test_settings_need_no_torch() -> None:
    code = "import autoload, sys; autoload.GenerationConfig(top_k=3); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
