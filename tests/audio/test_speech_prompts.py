"""Processors of conformers beside the reference's: of CTC models, and of those that are told what to write."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ArgumentError, AudioError, TemplateError
from tests.audio import sounds

MARKS = (
    "<|startofcontext|> <|startoftranscript|> <|emo:undefined|> <|en|> <|de|> <|ja|> <|pnc|> <|nopnc|> <|noitn|> "
    "<|notimestamp|> <|nodiarize|>"
).split()
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "<|startofcontext|><|startoftranscript|><|emo:undefined|><|{{ part['source_language'] }}|>"
    "<|{{ part['target_language'] }}|>{{ '<|pnc|>' if part['punctuation'] else '<|nopnc|>' }}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}<|noitn|>{{ flavour }}{% endif %}"
)


def tokenizer(kind: str = "PreTrainedTokenizerFast") -> Any:
    """Letters, the marks of prompts, and an end after each text."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = ["▁", *string.ascii_letters, *".,|<>:_0123456789"]
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<pad>", "</s>", *MARKS, *letters])}
    rust = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    rust.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    named = dict(unk_token="<unk>", pad_token="<pad>", eos_token="</s>", bos_token="<|startofcontext|>")
    made = getattr(transformers, kind)(tokenizer_object=rust, **named)
    made.add_special_tokens({"extra_special_tokens": MARKS})
    return made


def both(name: str, extractor: str, folder: Path, kind: str, **settings: Any) -> tuple[Any, Any]:
    """A processor that the reference saved, loaded by both."""
    import transformers

    made = getattr(transformers, name)(getattr(transformers, extractor)(), tokenizer(kind), **settings)
    made.save_pretrained(folder)
    return autoload.AutoProcessor.from_pretrained(folder), transformers.AutoProcessor.from_pretrained(folder)


def assert_same(found: Any, expected: Any, skip: tuple[str, ...] = ()) -> None:
    assert {*found} - {*skip} == {*expected} - {*skip}
    for key in {*expected} - {*skip}:
        if isinstance(expected[key], torch.Tensor):
            assert found[key].dtype == expected[key].dtype and found[key].shape == expected[key].shape, key
            assert torch.allclose(found[key], expected[key], atol=1e-4), key
        else:
            assert found[key] == expected[key], key


@pytest.fixture(scope="module")
def lasr(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return both("LasrProcessor", "LasrFeatureExtractor", tmp_path_factory.mktemp("lasr"), "ParakeetTokenizer")


@pytest.fixture(scope="module")
def cohere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    name = "CohereAsrFeatureExtractor"
    return both("CohereAsrProcessor", name, tmp_path_factory.mktemp("cohere"), "PreTrainedTokenizerFast")


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder, kind = tmp_path_factory.mktemp("canary"), "PreTrainedTokenizerFast"
    return both("CanaryProcessor", "ParakeetFeatureExtractor", folder, kind, chat_template=TEMPLATE)


@pytest.mark.parametrize("name", ["lasr", "cohere", "canary"])
def test_files(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What is saved here is what the reference reads, and means the same."""
    from transformers import AutoProcessor

    ours, theirs = request.getfixturevalue(name)
    assert type(ours).__name__ == type(theirs).__name__ and isinstance(ours, getattr(autoload, type(ours).__name__))
    assert ours.to_dict() == theirs.to_dict() and ours.model_input_names == theirs.model_input_names
    ours.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == theirs.to_dict() and again.chat_template == theirs.chat_template


def test_lasr(lasr: tuple[Any, Any]) -> None:
    ours, theirs = lasr
    audio, text = sounds.ragged(), ["hello", "a b", "x"]
    assert_same(ours(audio, sampling_rate=16000), theirs(audio, sampling_rate=16000))
    expected = theirs(audio, text, sampling_rate=16000)
    found = ours(audio, text, sampling_rate=16000)
    assert_same(found, expected, skip=("attention_mask",))
    assert found["attention_mask"].dtype == torch.bool  # without it the reference cannot compute the loss
    ids = [20, 20, 1, 20, 21, 1, 1, 21]
    for keywords in ({}, {"group_tokens": False}, {"skip_special_tokens": True}):
        assert ours.decode(ids, **keywords) == theirs.decode(ids, **keywords)
        assert ours.batch_decode([ids, ids[3:]], **keywords) == theirs.batch_decode([ids, ids[3:]], **keywords)


def test_granite() -> None:
    """Labels as the tokenizer gives them."""
    made = autoload.GraniteSpeech5Processor(
        autoload.GraniteSpeech5FeatureExtractor(num_mel_bins=8),
        autoload.PreTrainedTokenizerFast(tokenizer_object=tokenizer()._tokenizer),
    )
    out = made(sounds.noise(0.5), "hello", sampling_rate=16000, return_tensors="pt")
    assert {*out} == {"input_features", "attention_mask", "labels"} and out["input_features"].shape[-1] == 32


@pytest.mark.parametrize("keywords", [{}, {"punctuation": False}, {"text": ["hello", "a b", "x"]}])
def test_cohere(cohere: tuple[Any, Any], keywords: dict[str, Any]) -> None:
    ours, theirs = cohere
    inputs: dict[str, Any] = dict(audio=sounds.ragged(), language="en", sampling_rate=16000, **keywords)
    found, expected = ours(**inputs), theirs(**inputs)
    assert_same(found, expected)
    assert found["decoder_input_ids"].shape == (3, 10)


def test_cohere_joins_the_pieces_of_long_sounds(cohere: tuple[Any, Any]) -> None:
    ours, theirs = cohere
    index = [(0, 0), (0, 1), (1, None), (2, 1), (2, 0), (2, 2)]
    ids = [ours.tokenizer(text)["input_ids"] for text in ("hello", " you", "x ", "late", "soon", "")]
    for language in ("en", "ja"):
        keywords = dict(audio_chunk_index=index, language=language, skip_special_tokens=True)
        assert ours.decode(ids, **keywords) == theirs.decode(ids, **keywords)
    assert ours.decode(ids[0]) == theirs.decode(ids[0])
    with pytest.raises(ArgumentError, match="needs language"):
        ours.decode(ids, audio_chunk_index=index)
    with pytest.raises(ArgumentError, match="language='english'"):
        ours(sounds.noise(1), "english", sampling_rate=16000)
    with pytest.raises(AudioError, match="8000 Hz, expected 16000 Hz"):
        ours(sounds.noise(1), "en", sampling_rate=8000)


@pytest.mark.parametrize("labels", [False, True])
def test_canary(canary: tuple[Any, Any], labels: bool) -> None:
    ours, theirs = canary
    texts = ["<|startofcontext|><|en|>hello", "<|startofcontext|><|de|>a", "<|startofcontext|>b"]
    inputs: dict[str, Any] = dict(audio=sounds.ragged(), sampling_rate=16000, text=texts)
    for own in ({}, {"add_special_tokens": False}):
        assert_same(ours(**inputs, output_labels=labels, **own), theirs(**inputs, output_labels=labels, **own))
    one = dict(audio=sounds.noise(0.5), sampling_rate=16000)
    assert_same(ours(**one), theirs(**one))
    assert_same(ours(**one, text=texts[0], output_labels=labels), theirs(**one, text=texts[0], output_labels=labels))


REQUESTS: list[dict[str, Any]] = [
    {},
    {"source_language": "German", "punctuation": False},
    {"source_language": ["en", "de", "EN"], "target_language": "de"},
    {"source_language": "en", "target_language": ["de", "English", "de"], "flavour": "<|nodiarize|>"},
]


@pytest.mark.parametrize("asked", REQUESTS)
def test_canary_requests(canary: tuple[Any, Any], asked: dict[str, Any]) -> None:
    ours, theirs = canary
    for audio in (sounds.ragged(), sounds.noise(0.5)):
        if isinstance(audio, list) or not any(isinstance(value, list) for value in asked.values()):
            found, expected = (p.apply_transcription_request(audio, **asked) for p in (ours, theirs))
            assert_same(found, expected)
            prompts = [p.apply_transcription_request(audio, tokenize=False, **asked) for p in (ours, theirs)]
            assert prompts[0] == prompts[1]
            assert_same(ours(audio, prompts[0], sampling_rate=16000, add_special_tokens=False), found)


def test_canary_conversations(canary: tuple[Any, Any], tmp_path: Path) -> None:
    """With an answer to learn from, and with a file."""
    import wave

    ours, theirs = canary
    answer = {"type": "text", "source_language": "en", "target_language": "en", "punctuation": True, "text": "hello"}
    sound = {"type": "audio", "audio": sounds.noise(0.5)}
    talk = [{"role": "user", "content": [sound, answer]}]
    keywords: dict[str, Any] = dict(tokenize=True, return_dict=True, processor_kwargs={"output_labels": True})
    assert_same(ours.apply_chat_template(talk, **keywords), theirs.apply_chat_template(talk, **keywords))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as f:
        f.setparams((1, 2, 16000, 0, "NONE", ""))
        f.writeframes((sounds.noise(0.5) * 32767).astype("<i2").tobytes())
    found = ours.apply_transcription_request(str(tmp_path / "sound.wav"))
    expected = ours.apply_transcription_request(sounds.noise(0.5))
    assert torch.equal(found["decoder_input_ids"], expected["decoder_input_ids"])
    assert torch.allclose(found["input_features"], expected["input_features"], atol=0.05)


def test_mistakes(canary: tuple[Any, Any]) -> None:
    ours, _ = canary
    sound = sounds.noise(0.5)
    with pytest.raises(ArgumentError, match="source_language='Englisch'.*did you mean 'english'"):
        ours.apply_transcription_request(sound, "Englisch")
    with pytest.raises(ArgumentError, match="2 languages, expected one for each of 1 sounds"):
        ours.apply_transcription_request(sound, ["en", "de"])
    with pytest.raises(AudioError, match="found none"):
        ours.apply_transcription_request([])
    with pytest.raises(ArgumentError, match="return_tensors='np'"):
        ours(sound, return_tensors="np")
    with pytest.raises(AudioError, match="pass audio"):
        ours(text="a")
    bare = autoload.CanaryProcessor(
        ours.feature_extractor, autoload.PreTrainedTokenizerFast(tokenizer_object=tokenizer()._tokenizer)
    )
    with pytest.raises(TemplateError, match="has none"):
        bare.apply_transcription_request(sound)
