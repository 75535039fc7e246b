"""Nemotron's streams: piece by piece as in one pass, and as in the reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autoload.errors import ArgumentError
from autoload.losses import rnnt_loss
from tests.parity.cases.nemotron_asr import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model
from tests.parity.test_transducer import lively

ENCODERS, TRANSDUCERS = CASES[:2], CASES[2:]


def pieces(sound: Tensor, factor: int, lookahead: int, count: int) -> Iterator[Tensor]:
    """The first piece, which the convolutions begin with, and those after it."""
    begin, size = 0, factor * lookahead + 1
    for _ in range(count):
        yield sound[:, begin : begin + size]
        begin, size = begin + size, factor * (lookahead + 1)


@pytest.mark.parametrize("case", ENCODERS, ids=str)
@torch.no_grad()
def test_kernels(case: Case, tmp_path: Path) -> None:
    """Hide the same, in recordings of which some end early."""
    ours, sound = load_ours(case, "Model", tmp_path), sound_of(case)
    mask = torch.ones(sound.shape[:2], dtype=torch.long)
    mask[1, 30:] = sound[1, 30:] = 0
    found = ours(sound, mask).last_hidden_state
    ours.set_attn_implementation("eager")
    assert_close(ours(sound, mask).last_hidden_state, found, 1e-5, "eager")
    alone = ours(sound[1:, :30]).last_hidden_state
    assert_close(alone, found[1:, : alone.shape[1]], 1e-5, "alone")


def sound_of(case: Case, frames: int = 90) -> Tensor:
    return torch.randn(2, frames, case.sound[1], generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("lookahead", [0, 1, 2, 5])
@pytest.mark.parametrize("case", ENCODERS, ids=str)
@torch.no_grad()
def test_streams(case: Case, lookahead: int, tmp_path: Path) -> None:
    """Each piece of a stream gives what the reference gives, and all together what one pass over the sound gives."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    factor, sound = case.config["subsampling_factor"], sound_of(case)
    caches: list[dict[str, Any]] = [{}, {}]
    heard, told = [], dict(use_cache=True, num_lookahead_tokens=lookahead)
    count = 1 + (len(sound[0]) - factor * lookahead - 1) // (factor * (lookahead + 1))
    for piece in pieces(sound, factor, lookahead, count):
        outputs = [model(piece, **told, **cache) for model, cache in zip((ours, theirs), caches, strict=True)]
        caches = [{"past_key_values": o.past_key_values, "padding_cache": o.padding_cache} for o in outputs]
        found, expected = (out.last_hidden_state for out in outputs)
        assert_close(found, expected, 1e-5, "piece")
        heard.append(found)
    streamed = torch.cat(heard, 1)
    assert streamed.shape[1] > ours.config.sliding_window
    whole = ours(sound, num_lookahead_tokens=lookahead).last_hidden_state
    assert_close(whole, theirs(sound, num_lookahead_tokens=lookahead).last_hidden_state, 1e-5, "whole")
    assert_close(streamed, whole[:, : streamed.shape[1]], 1e-5, "streamed")


def transcribers(case: Case, directory: Path) -> tuple[Any, Any]:
    """Both models, with weights under which they say something."""
    ours, theirs = load_ours(case, "RNNT", directory), copy.deepcopy(reference_model(case, "RNNT"))
    lively(theirs, {"input_features": sound_of(case)})
    theirs.joint.head.bias.data[case.config["blank_token_id"]] += 1
    ours.load_state_dict(theirs.state_dict())
    for model in (ours, theirs):
        model.generation_config.decoder_start_token_id = case.config["blank_token_id"]
        model.generation_config.pad_token_id = case.config["pad_token_id"]
    return ours, theirs


def language(case: Case) -> dict[str, Tensor]:
    return {"prompt_ids": torch.tensor([3, 0])} if "num_prompts" in case.config else {}


@pytest.mark.parametrize("case", TRANSDUCERS, ids=str)
def test_transcripts(case: Case, tmp_path: Path) -> None:
    """Of whole recordings, ragged ones too, and of streams."""
    ours, theirs = transcribers(case, tmp_path)
    sound, factor = sound_of(case), ours.config.encoder_config.subsampling_factor
    mask = torch.ones(sound.shape[:2], dtype=torch.long)
    mask[1, 60:] = 0
    seen: set[int] = set()
    for call in ({}, {"attention_mask": mask}, {"num_lookahead_tokens": 3}, {"max_new_tokens": 9}, language(case)):
        expected, found = theirs.generate(sound, **call), ours.generate(sound, **call)
        assert type(found).__name__ == type(expected).__name__
        assert torch.equal(found.sequences, expected.sequences) and torch.equal(found.durations, expected.durations)
        seen |= set(found.sequences[:, 1:].flatten().tolist())
    assert case.config["blank_token_id"] in seen and len(seen) > 4
    for lookahead, told in ((0, {}), (2, language(case))):
        call = {"num_lookahead_tokens": lookahead, **told}
        expected = theirs.generate(input_features=pieces(sound, factor, lookahead, 4), **call)
        found = ours.generate(input_features=pieces(sound, factor, lookahead, 4), **call)
        assert torch.equal(found.sequences, expected.sequences) and torch.equal(found.durations, expected.durations)
        assert found.durations.sum(1).max() == 4 * (lookahead + 1)
        assert torch.equal(ours.generate(pieces(sound, factor, lookahead, 4), **call).sequences, found.sequences)


@pytest.mark.parametrize("case", TRANSDUCERS, ids=str)
def test_loss(case: Case, tmp_path: Path) -> None:
    """That of transducers, over the real vectors; the reference has none, for it looks for one of another name."""
    ours, inputs = load_ours(case, "RNNT", tmp_path), inputs_for(case, "RNNT")
    labels = inputs["decoder_input_ids"][:, 1:].clone()
    labels[1, 3:] = case.config["blank_token_id"]
    out = ours(**inputs, labels=labels)
    frames = ours.encoder(inputs["input_features"], inputs["attention_mask"]).attention_mask.sum(-1)
    counts = torch.tensor([5, 3, 5])
    expected = rnnt_loss(out.logits, labels, frames, counts, case.config["blank_token_id"])
    assert frames.unique().numel() == 2 and torch.equal(out.loss, expected)
    out.loss.backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_languages(tmp_path: Path) -> None:
    """Without a language the model is to find it out."""
    case = TRANSDUCERS[1]
    ours, theirs = load_ours(case, "RNNT", tmp_path), reference_model(case, "RNNT")
    sound = sound_of(case)
    with torch.no_grad():
        found, expected = (model.get_audio_features(sound).pooler_output for model in (ours, theirs))
        told = ours.get_audio_features(sound, prompt_ids=torch.tensor([5, 1])).pooler_output
    assert_close(found, expected, 1e-5, "pooler_output")
    assert torch.equal(told[0], found[0]) and not torch.allclose(told[1], found[1])


def test_what_streams_refuse(tmp_path: Path) -> None:
    case = TRANSDUCERS[0]
    ours, _ = transcribers(case, tmp_path)
    sound = sound_of(case)
    with pytest.raises(ArgumentError, match="needs num_lookahead_tokens"):
        ours.generate(iter([sound]))
    with pytest.raises(ArgumentError, match="ended before its first piece"):
        ours.generate(iter([]), num_lookahead_tokens=1)
    with pytest.raises(ArgumentError, match="first piece has 90 frames, expected 5 "):
        ours.generate(iter([sound]), num_lookahead_tokens=1)
    with pytest.raises(ArgumentError, match="next piece has 5 frames, expected 8 "):
        ours.generate(iter([sound[:, :5], sound[:, 5:10]]), num_lookahead_tokens=1)
    with pytest.raises(ArgumentError, match="num_lookahead_tokens is -1"):
        ours.encoder(sound, num_lookahead_tokens=-1)
    ours.encoder.config.sliding_window = None
    assert ours.encoder(sound).last_hidden_state.isfinite().all()
    ours.encoder.config.max_position_embeddings = 5
    with pytest.raises(ArgumentError, match="at most 5 vectors"):
        ours.encoder(sound)
