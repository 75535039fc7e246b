"""Whisper's generate beside the reference's, on tiny random checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import ArgumentError, GenerationError

VOCABULARY, STAMPS = 120, 20
CONFIG = dict(
    vocab_size=VOCABULARY,
    num_mel_bins=8,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=40,
    decoder_ffn_dim=40,
    max_source_positions=20,
    max_target_positions=60,
    pad_token_id=80,
    bos_token_id=80,
    eos_token_id=80,
    decoder_start_token_id=81,
    begin_suppress_tokens=[5, 80],
    suppress_tokens=[1, 2, 7, 90, 91],
)
SETTINGS = dict(
    lang_to_id={"<|en|>": 82, "<|de|>": 83, "<|fr|>": 84},
    task_to_id={"transcribe": 85, "translate": 86},
    is_multilingual=True,
    no_timestamps_token_id=99,
    prev_sot_token_id=88,
    max_initial_timestamp_index=8,
    alignment_heads=[[0, 1], [1, 2]],
    max_length=40,
    suppress_tokens=[1, 2, 7, 90, 91],
    begin_suppress_tokens=[5, 80],
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Our model and the reference's."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    theirs = WhisperForConditionalGeneration(WhisperConfig(**CONFIG))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.15)
    for name, value in SETTINGS.items():
        setattr(theirs.generation_config, name, value)
    theirs.eval().save_pretrained(folder)
    return autoload.AutoModelForSpeechSeq2Seq.from_pretrained(folder), theirs


def features(batch: int = 2, frames: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 8, frames, generator=torch.Generator().manual_seed(seed))


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Tokens alike, times to 1e-4; of outputs all that both have."""
    if isinstance(theirs, torch.Tensor):
        assert ours.shape == theirs.shape, where
        assert torch.allclose(ours.double(), theirs.double(), atol=1e-4), where
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif hasattr(theirs, "items"):
        for key in {*theirs} - {"past_key_values", "result"}:
            same(ours[key], theirs[key], f"{where}.{key}")
    else:
        assert ours == theirs, where


SHORT: list[dict[str, Any]] = [
    {},
    {"language": "de"},
    {"language": "german", "task": "translate"},
    {"language": ["fr", "en"], "task": "transcribe"},
    {"task": "translate"},
    {"return_timestamps": True},
    {"return_timestamps": True, "language": "en", "max_new_tokens": 15},
    {"return_timestamps": True, "return_segments": True},
    {"prompt_ids": torch.tensor([88, 10, 11])},
    {"num_beams": 3, "language": "en"},
    {"num_beams": 2, "return_timestamps": True},
    {"return_dict_in_generate": True, "output_scores": True, "language": "en"},
    {"return_dict_in_generate": True, "return_timestamps": True},
    {"return_token_timestamps": True, "language": "en"},
    {"return_token_timestamps": True, "return_timestamps": True, "return_segments": True},
    {"force_unique_generate_call": True, "language": "en"},
    {"logprob_threshold": -1.0, "compression_ratio_threshold": 1.3, "temperature": (0.0,), "language": "en"},
    {"max_new_tokens": 4},
    {"max_length": 12, "language": "en"},
    {"min_new_tokens": 10, "language": "en"},
    {"condition_on_prev_tokens": True, "language": "en"},
]


@pytest.mark.parametrize("keywords", SHORT, ids=lambda k: "-".join(k) or "plain")
def test_one_window(pair: tuple[Any, Any], keywords: dict[str, Any]) -> None:
    ours, theirs = pair
    same(ours.generate(features(), **dict(keywords)), theirs.generate(features(), **dict(keywords)))


LONG: list[dict[str, Any]] = [
    {},
    {"language": "en", "return_segments": True},
    {"condition_on_prev_tokens": True, "language": "en"},
    {"condition_on_prev_tokens": True, "prompt_ids": torch.tensor([88, 10, 11]), "language": "en"},
    {
        "condition_on_prev_tokens": True,
        "prompt_ids": torch.tensor([88, 10, 11]),
        "prompt_condition_type": "all-segments",
        "language": "en",
    },
    {"prompt_ids": torch.tensor([88, 10, 11]), "language": "de"},
    {"return_token_timestamps": True, "return_segments": True, "language": "en"},
    {"num_beams": 2, "language": "en"},
    {
        "logprob_threshold": -2.0,
        "no_speech_threshold": 0.002,
        "compression_ratio_threshold": 1.2,
        "temperature": (0.0,),
        "language": "en",
        "return_segments": True,
    },
    {"return_dict_in_generate": True, "return_timestamps": True, "language": "en"},
]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("keywords", LONG, ids=lambda k: "-".join(k) or "plain")
def test_several_windows(pair: tuple[Any, Any], keywords: dict[str, Any], batch: int) -> None:
    ours, theirs = pair
    sound = features(batch, 150, seed=batch)
    mask = torch.ones(batch, 150, dtype=torch.int64)
    if batch > 1:
        mask[1, 90:] = mask[2, 31:] = 0
    found = ours.generate(sound, attention_mask=mask, **dict(keywords))
    same(found, theirs.generate(sound, attention_mask=mask, **dict(keywords)))


def test_rising_temperatures(pair: tuple[Any, Any]) -> None:
    """Doubtful windows are sampled again, with the same tokens from the same seed."""
    ours, theirs = pair
    keywords: dict[str, Any] = dict(temperature=(0.0, 0.4, 0.8), logprob_threshold=-1e-3, language="en", top_k=0)
    for sound in (features(), features(1, 100)):
        results = []
        for model in (ours, theirs):
            torch.manual_seed(5)
            results.append(model.generate(sound, **keywords))
        same(*results)


@pytest.mark.parametrize("conditioned", [False, True])
def test_rising_temperatures_over_windows(pair: tuple[Any, Any], conditioned: bool) -> None:
    """A batch of recordings of several lengths, some windows of which are tried again; with times of tokens."""
    ours, theirs = pair
    mask = torch.ones(3, 150, dtype=torch.int64)
    mask[1, 90:] = mask[2, 31:] = 0
    keywords: dict[str, Any] = dict(temperature=(0.0, 0.3, 0.8), logprob_threshold=-1.5, language="en", top_k=0)
    keywords |= dict(condition_on_prev_tokens=conditioned, return_token_timestamps=True, return_segments=True)
    results = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        results.append(model.generate(features(3, 150, seed=3), attention_mask=mask, **keywords))
    same(*results)
    once = ours.generate(features(3, 150, seed=3), attention_mask=mask, **{**keywords, "temperature": (0.0,)})
    assert not torch.equal(once["sequences"][:, :20], results[0]["sequences"][:, :20])  # some were tried again


def test_progress_and_several_results(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    seen: dict[str, list[Any]] = {"ours": [], "theirs": []}
    for name, model in (("ours", ours), ("theirs", theirs)):
        model.generate(features(1, 130), language="en", monitor_progress=seen[name].append)
    same(seen["ours"], seen["theirs"])
    results = []
    for model in (ours, theirs):
        torch.manual_seed(3)
        results.append(
            model.generate(features(), language="en", do_sample=True, temperature=0.7, num_return_sequences=2, top_k=0)
        )
    same(*results)


def test_given_states_and_detection(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    with torch.no_grad():
        states, expected = ours.get_encoder()(features()), theirs.get_encoder()(features())
    same(ours.generate(encoder_outputs=states, language="en"), theirs.generate(encoder_outputs=expected, language="en"))
    same(ours.detect_language(features()), theirs.detect_language(features(), num_segment_frames=40))


@pytest.mark.parametrize(
    "keywords, error, match",
    [
        ({"language": "klingon"}, ArgumentError, "no such language"),
        ({"language": ["en"]}, ArgumentError, "one for each of 2 rows"),
        ({"task": "sing"}, ArgumentError, "'transcribe' or 'translate'"),
        ({"is_multilingual": False, "language": "en"}, ArgumentError, "one language"),
        ({"prompt_condition_type": "all-segments"}, ArgumentError, "condition_on_prev_tokens"),
        ({"max_new_tokens": 100}, ArgumentError, "max_target_positions"),
        ({"langage": "en"}, ArgumentError, "langage"),
    ],
)
def test_mistakes(pair: tuple[Any, Any], keywords: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        pair[0].generate(features(), **keywords)


def test_long_form_mistakes(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    with pytest.raises(ArgumentError, match="attention_mask"):
        ours.generate(features(2, 90))
    with pytest.raises(ArgumentError, match="return_timestamps=False"):
        ours.generate(features(1, 90), return_timestamps=False)
    with pytest.raises(ArgumentError, match="input_features or encoder_outputs"):
        ours.generate()
    bare = autoload.GenerationConfig(decoder_start_token_id=81, eos_token_id=80, pad_token_id=80)
    kept, ours.generation_config = ours.generation_config, bare
    try:
        with pytest.raises(GenerationError, match="no_timestamps_token_id"):
            ours.generate(features(), return_timestamps=True)
    finally:
        ours.generation_config = kept


def test_warping_is_the_cheapest_way() -> None:
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    from autoload.generation.alignment import dynamic_time_warping

    for seed, shape in enumerate([(1, 1), (3, 9), (7, 7), (9, 4), (1, 5), (20, 50)]):
        costs = np.random.default_rng(seed).normal(size=shape)
        for ours, theirs in zip(dynamic_time_warping(costs), _dynamic_time_warping(costs), strict=True):
            assert ours.tolist() == theirs.tolist()


def test_saved_settings_are_kept(pair: tuple[Any, Any], tmp_path: Path) -> None:
    ours, _ = pair
    ours.save_pretrained(tmp_path)
    again = autoload.AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path)
    assert again.generation_config.lang_to_id == SETTINGS["lang_to_id"]
    assert ours.generation_config.suppress_tokens == SETTINGS["suppress_tokens"]  # which no call has taken away


@pytest.mark.parametrize("name", ["speech_to_text", "moonshine", "moonshine_streaming"])
def test_other_transcribers(name: str, tmp_path: Path) -> None:
    """Ragged sounds, greedily and by beams."""
    from tests.parity.cases import moonshine, moonshine_streaming, speech_to_text
    from tests.parity.harness import load_ours, reference_model

    files = {"speech_to_text": speech_to_text, "moonshine": moonshine, "moonshine_streaming": moonshine_streaming}
    case = files[name].CASES[0]
    ours, theirs = load_ours(case, "SpeechSeq2Seq", tmp_path), reference_model(case, "SpeechSeq2Seq")
    assert case.inputs is not None
    inputs = {key: value for key, value in case.inputs(torch.zeros(3, 1)).items() if value is not None}
    for keywords in ({"max_new_tokens": 12}, {"max_new_tokens": 8, "num_beams": 3}):
        same(ours.generate(**inputs, **keywords), theirs.generate(**inputs, **keywords))


LEFT = torch.tensor([[1, 1, 7, 10, 11], [7, 10, 11, 12, 13], [1, 7, 10, 11, 12]])
PROMPTS: list[dict[str, Any]] = [
    {},
    {"decoder_input_ids": LEFT[[1, 1, 1]]},
    {"decoder_input_ids": LEFT[[1, 1, 1], 1:]},  # the start token is put before it
    {"decoder_input_ids": LEFT, "decoder_attention_mask": (LEFT != 1).long()},
    {"decoder_input_ids": LEFT[[1, 1, 1]], "audio_chunk_index": [(0, None), (1, 0), (1, 1)]},
]


@pytest.mark.parametrize("name", ["canary-untied", "cohere_asr"])
def test_prompted_transcribers(name: str, tmp_path: Path) -> None:
    """Ragged sounds and what their texts begin with, greedily and by beams; the encoder's output can be given."""
    from tests.parity.cases import canary
    from tests.parity.harness import load_ours, reference_model

    case = next(case for case in canary.CASES if str(case) == name)
    lively = {"initializer_range": 0.35}
    parts = {"decoder_config": case.config["decoder_config"] | lively} if "decoder_config" in case.config else {}
    case = replace(case, config={**case.config, **lively, **parts}, label="lively")
    ours, theirs = load_ours(case, "SpeechSeq2Seq", tmp_path), reference_model(case, "SpeechSeq2Seq")
    assert case.inputs is not None
    inputs = {key: value for key, value in case.inputs(torch.zeros(3, 1)).items() if value is not None}
    for prompt in PROMPTS:
        for keywords in ({"num_beams": 1}, {"num_beams": 3, "num_return_sequences": 2}):
            keywords |= {"min_new_tokens": 8, "max_new_tokens": 12}
            same(ours.generate(**inputs, **prompt, **keywords), theirs.generate(**inputs, **prompt, **keywords))
    heard = ours.get_encoder()(**inputs)
    given = ours.generate(encoder_outputs=heard, max_new_tokens=12, **PROMPTS[1])
    same(given, ours.generate(**inputs, max_new_tokens=12, **PROMPTS[1]))


@pytest.mark.parametrize("pairs", [[[1, None], [2, 86]], [[1, 83], [2, 85], [3, 99]]])
def test_forced_tokens_of_older_files(pair: tuple[Any, Any], pairs: list[list[int | None]]) -> None:
    """As openai/whisper-tiny has them: a place without a token is for the language that is heard."""
    for model in pair:
        model.generation_config.forced_decoder_ids = pairs
    try:
        for keywords in ({}, {"language": "en"}, {"return_timestamps": True}):
            same(pair[0].generate(features(), **keywords), pair[1].generate(features(), **keywords))
    finally:
        for model in pair:
            del model.generation_config.forced_decoder_ids
