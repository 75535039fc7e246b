"""Processors of transducers beside the reference's: files, calls, and when tokens were said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import AudioError, ConfigError
from tests.audio import sounds

TOKENS = ["<unk>", "<s>", "<pad>", "</s>", *"▁abcdefghilop?.,", "▁he", "llo", "▁a"]
TEXTS = ["hello, a decade", "ab?", "a bad fig."]


def tokenizer(blank: bool) -> Any:
    """A small tokenizer of the reference's class; one of CTC has no blank but its padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import ParakeetTokenizer

    made = Tokenizer(models.Unigram([(token, -1.0) for token in TOKENS], unk_id=0))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    further = {"additional_special_tokens": ["<blank>"]} if blank else {}
    return ParakeetTokenizer(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", **further)


# class, settings, whether there is a blank
PROCESSORS: list[tuple[str, dict[str, Any], bool]] = [
    ("ParakeetProcessor", {"decoder_type": "tdt"}, True),
    ("ParakeetProcessor", {"decoder_type": "rnnt"}, True),
    ("ParakeetProcessor", {}, True),
    ("ParakeetProcessor", {}, False),
    ("NemotronAsrStreamingProcessor", {}, True),
    (
        "NemotronAsrStreamingProcessor",
        {"supported_num_lookahead_tokens": [5, 2], "default_num_lookahead_tokens": 2},
        True,
    ),
    ("Nemotron3_5AsrProcessor", {}, True),
    ("Nemotron3_5AsrProcessor", {"prompt_dictionary": {"auto": 3, "en": 1}, "num_prompts": 5}, True),
]


@pytest.fixture(scope="module", params=PROCESSORS, ids=lambda p: p[0])
def pair(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Ours, from files of the reference's."""
    import transformers

    name, settings, blank = request.param
    folder = tmp_path_factory.mktemp("processor")
    kind = "ParakeetFeatureExtractor" if name == "ParakeetProcessor" else "NemotronAsrStreamingFeatureExtractor"
    extractor = getattr(transformers, kind)(feature_size=40)
    getattr(transformers, name)(extractor, tokenizer(blank), **settings).save_pretrained(folder)
    return autoload.AutoProcessor.from_pretrained(folder), transformers.AutoProcessor.from_pretrained(folder)


def test_files(pair: tuple[Any, Any], tmp_path: Path) -> None:
    from transformers import AutoProcessor

    ours, theirs = pair
    assert type(ours).__name__ == type(theirs).__name__ and isinstance(ours, getattr(autoload, type(ours).__name__))
    assert ours.to_dict() == theirs.to_dict() and ours.model_input_names == theirs.model_input_names
    assert ours.blank_token_id == theirs.blank_token_id
    ours.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == theirs.to_dict() and again.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()


def test_calls(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    audio = sounds.ragged()
    calls: list[dict[str, Any]] = [{"audio": audio}, {"audio": audio, "text": TEXTS}]
    calls += [{"audio": audio[0], "text": TEXTS[0]}, {"audio": audio, "audio_kwargs": {"pad_to_multiple_of": 4000}}]
    for call in calls:
        found, expected = ours(**call, sampling_rate=16000), theirs(**call, sampling_rate=16000)
        assert {*found} == {*expected}
        for key, value in expected.items():
            if not isinstance(value, torch.Tensor):
                assert found[key] == value, key
                continue
            assert found[key].shape == value.shape and found[key].dtype == value.dtype, key
            assert np.allclose(found[key], value, atol=1e-4), key
    with pytest.raises(AudioError, match="8000 Hz, expected 16000 Hz"):
        ours(sounds.noise(0.1), sampling_rate=8000)


def test_streams(pair: tuple[Any, Any]) -> None:
    """Pieces of a stream have the frames of the whole sound, and the sizes that the reference's have."""
    ours, theirs = pair
    if not hasattr(ours, "set_num_lookahead_tokens"):
        pytest.skip("hears whole sounds")
    ours.set_num_lookahead_tokens(count := ours.supported_num_lookahead_tokens[-1])
    theirs.set_num_lookahead_tokens(count)
    sizes = ("num_mel_frames_first_audio_chunk", "num_mel_frames_per_audio_chunk", "num_samples_first_audio_chunk")
    for name in (*sizes, "num_samples_per_audio_chunk", "streaming_latency_ms", "supported_streaming_latencies_ms"):
        assert getattr(ours, name) == getattr(theirs, name), name
    sound = sounds.noise(2.0)
    whole = ours(sound, sampling_rate=16000)["input_features"]
    around = np.pad(sound, 256)  # a window may begin before the sound
    begin, frame, size, frames = 256, 0, ours.num_samples_first_audio_chunk, ours.num_mel_frames_first_audio_chunk
    for place in range(3):
        keywords: dict[str, Any] = dict(sampling_rate=16000, is_streaming=True, is_first_audio_chunk=place == 0)
        piece = around[begin : begin + size]
        found, expected = ours(piece, **keywords), theirs(piece, **keywords)
        assert found["num_lookahead_tokens"] == expected["num_lookahead_tokens"] == count
        assert torch.allclose(found["input_features"], expected["input_features"], atol=1e-4)
        features = found["input_features"][:, :frames]
        assert features.shape[1] == frames and torch.allclose(features, whole[:, frame : frame + frames], atol=1e-4)
        frame += frames
        begin, size = frame * 160, ours.num_samples_per_audio_chunk
        frames = ours.num_mel_frames_per_audio_chunk
    with pytest.raises(AudioError, match="expected one of"):
        ours.set_num_lookahead_tokens(99)
    with pytest.raises(AudioError, match="is_streaming=True"):
        ours(sound, sampling_rate=16000, is_first_audio_chunk=False)
    with pytest.raises(AudioError, match="100 samples, expected at least 512"):
        ours(sound[:100], sampling_rate=16000, is_streaming=True, is_first_audio_chunk=False)


def test_languages(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    if not hasattr(ours, "prompt_dictionary"):
        pytest.skip("is told no language")
    audio = sounds.ragged()
    for language in ("en", ["en", "auto", *["en"] * (len(audio) - 2)]):
        call: dict[str, Any] = dict(sampling_rate=16000, language=language)
        assert torch.equal(ours(audio, **call)["prompt_ids"], theirs(audio, **call)["prompt_ids"])
    with pytest.raises(AudioError, match="'eng' is not known"):
        ours(audio, sampling_rate=16000, language="eng")
    with pytest.raises(AudioError, match="2 entries, expected"):
        ours(audio, sampling_rate=16000, language=["en", "auto"])


def test_decoding(pair: tuple[Any, Any]) -> None:
    """Texts, and when each token was said."""
    ours, theirs = pair
    ids = ours.tokenizer(TEXTS, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
    ids = torch.cat([ids, ids[:, -3:]], 1).repeat_interleave(2, 1)
    if ours.blank_token_id is not None and ours.blank_token in ours.tokenizer.get_vocab():
        ids[:, 1::5] = ours.blank_token_id
    durations = torch.randint(0, 4, ids.shape, generator=torch.Generator().manual_seed(1))
    for keywords in ({}, {"skip_special_tokens": True}, {"group_tokens": True}, {"group_tokens": False}):
        assert ours.batch_decode(ids, **keywords) == theirs.batch_decode(ids, **keywords)
        assert ours.decode(ids, **keywords) == theirs.decode(ids, **keywords)
        assert ours.decode(ids[0], **keywords) == theirs.decode(ids[0], **keywords)
    found, expected = ours.decode(ids, durations=durations), theirs.decode(ids, durations=durations)
    assert found[0] == expected[0]
    for mine, reference in zip(found[1], expected[1], strict=True):
        assert [step["token"] for step in mine] == [step["token"] for step in reference]
        times = [[[step["start"], step["end"]] for step in steps] for steps in (mine, reference)]
        assert np.allclose(*times, atol=1e-9)


def test_a_decoder_of_no_kind() -> None:
    with pytest.raises(ConfigError, match="decoder_type.*'ctc', 'rnnt', 'tdt'"):
        autoload.ParakeetProcessor(autoload.ParakeetFeatureExtractor(), tokenizer(True), decoder_type="rnn")
