"""Processors beside the reference's: files, calls, and what is found where parts are missing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import ArgumentError, AudioError, MissingFile, RemoteCodeRefused
from tests.audio import sounds
from tests.tokenizers import fixtures

LETTERS = [chr(code) for code in range(ord("A"), ord("Z") + 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A processor of wav2vec2, saved by the reference."""
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    path = tmp_path_factory.mktemp("wav2vec2")
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    (path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(path / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoProcessor

    return autoload.AutoProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def test_class_and_files(pair: tuple[Any, Any], tmp_path: Path) -> None:
    from transformers import AutoProcessor

    ours, theirs = pair
    assert type(ours).__name__ == "Wav2Vec2Processor" and isinstance(ours, autoload.Wav2Vec2Processor)
    assert ours.to_dict() == theirs.to_dict() and ours.model_input_names == theirs.model_input_names
    ours.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == theirs.to_dict()
    assert again.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
    assert autoload.AutoFeatureExtractor.from_pretrained(tmp_path).to_dict() == theirs.feature_extractor.to_dict()


@pytest.mark.parametrize(
    "keywords", [{}, {"padding": True, "return_tensors": "pt"}, {"audio_kwargs": {"padding": True}}]
)
def test_calls(pair: tuple[Any, Any], keywords: dict[str, Any]) -> None:
    ours, theirs = pair
    audio, text = sounds.ragged(), ["HELLO", "A B", "X"]
    for inputs in ({"audio": audio}, {"text": text}, {"audio": audio, "text": text}):
        rate = {"sampling_rate": 16000} if "audio" in inputs else {}
        found, expected = ours(**inputs, **rate, **keywords), theirs(**inputs, **rate, **keywords)
        assert {*found} == {*expected}
        for key in expected:
            for a, b in zip(found[key], expected[key], strict=True):
                assert np.allclose(a, b, atol=1e-5), key


def text_and_sound(path: Path, kind: str) -> Path:
    """A processor of a type that is not wav2vec2's, saved by the reference."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "a": 2, "dog": 3, "cat": 4}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>", pad_token="<pad>")
    if kind == "ClapProcessor":
        extractor = transformers.ClapFeatureExtractor(max_length_s=1)
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    getattr(transformers, kind)(extractor, tokenizer).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    "kind,rate,text", [("ClapProcessor", 48000, {"padding": True}), ("MoonshineStreamingProcessor", 16000, {})]
)
def test_other_types(kind: str, rate: int, text: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoProcessor

    folder = text_and_sound(tmp_path, kind)
    ours, theirs = autoload.AutoProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert type(ours).__name__ == kind and ours.to_dict() == theirs.to_dict()
    assert [*ours.model_input_names] == [*theirs.model_input_names]
    sound = {"audio": [sounds.noise(0.3), sounds.noise(0.2)], "sampling_rate": rate}
    words = {"text": ["a dog", "a cat"], **text}
    for inputs in (sound, words, sound | words):
        found, expected = ours(**inputs, return_tensors="pt"), theirs(**inputs, return_tensors="pt")
        assert {*found} == {*expected}
        for key in expected.keys() - {"is_longer"}:  # one of these is drawn by lot
            assert found[key].dtype == expected[key].dtype and torch.allclose(found[key], expected[key], atol=1e-5), key
    whole = ours(**sound)
    if kind == "MoonshineStreamingProcessor":
        assert isinstance(whole["input_values"], torch.Tensor) and whole["input_values"].shape[1] % 80 == 0


def test_padding_and_decoding(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    features = [{"input_values": sounds.noise(0.01 * n)} for n in (1, 3)]
    labels = [{"input_ids": [5, 6]}, {"input_ids": [7]}]
    found = ours.pad(features, labels=labels, padding=True, return_tensors="pt")
    expected = theirs.pad(features, labels=labels, padding=True, return_tensors="pt")
    assert {*found} == {*expected} and all(torch.equal(found[key], expected[key]) for key in expected)
    ids = [[5, 5, 0, 6, 4, 7], [8, 0, 8, 8, 4, 4]]
    assert ours.batch_decode(ids) == theirs.batch_decode(ids)
    assert ours.decode(ids[0], output_char_offsets=True).char_offsets == theirs.decode(ids[0], output_char_offsets=True).char_offsets  # fmt: skip


def test_mistakes(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    with pytest.raises(AudioError, match="pass audio, text or both"):
        ours()
    with pytest.raises(ArgumentError, match="did you mean 'sampling_rate'"):
        ours(sounds.noise(0.1), sampling_rat=16000)
    with pytest.raises(AudioError, match="8000 Hz, expected 16000 Hz"):
        ours(sounds.noise(0.1), sampling_rate=8000)
    with pytest.raises(AudioError, match="input_features, labels or both"):
        ours.pad()


# -- which class


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_older_files(folder: Path, tmp_path: Path) -> None:
    """The class is named in preprocessor_config.json, or follows from the model's type."""
    for name in ("vocab.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        content.pop("processor_class", None)
        write(tmp_path, **{name.removesuffix(".json"): content})
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "processor_class": "Wav2Vec2Processor"}
    assert isinstance(autoload.AutoProcessor.from_pretrained(write(tmp_path, preprocessor_config=settings)), autoload.Wav2Vec2Processor)  # fmt: skip
    del settings["processor_class"]
    write(tmp_path, preprocessor_config=settings, config={"model_type": "wav2vec2"})
    processor = autoload.AutoProcessor.from_pretrained(tmp_path, do_normalize=False)
    assert isinstance(processor, autoload.Wav2Vec2Processor) and not processor.feature_extractor.do_normalize


def test_parts_alone(folder: Path, tmp_path: Path) -> None:
    settings = {"feature_extractor_type": "ASTFeatureExtractor"}
    found = autoload.AutoProcessor.from_pretrained(write(tmp_path, preprocessor_config=settings))
    assert isinstance(found, autoload.ASTFeatureExtractor)
    (tmp_path / "texts").mkdir()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    write(tmp_path / "texts", vocab=vocabulary, tokenizer_config={"tokenizer_class": "Wav2Vec2CTCTokenizer"})
    assert type(autoload.AutoProcessor.from_pretrained(tmp_path / "texts")).__name__ == "Wav2Vec2CTCTokenizer"
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingFile, match="a processor, or a part of one"):
        autoload.AutoProcessor.from_pretrained(tmp_path / "none")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="processor_class is 'FuyuProcessor'"):
        autoload.AutoProcessor.from_pretrained(write(tmp_path, processor_config={"processor_class": "FuyuProcessor"}))
    own = {"processor_class": "MyProcessor", "auto_map": {"AutoProcessor": "my.MyProcessor"}}
    with pytest.raises(RemoteCodeRefused, match="MyProcessor"):
        autoload.AutoProcessor.from_pretrained(write(tmp_path, processor_config=own))
    with pytest.raises(RemoteCodeRefused, match="trust_remote_code"):
        autoload.AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True)


def test_registered_class(tmp_path: Path) -> None:
    class MyConfig(autoload.PreTrainedConfig):
        model_type = "my_sounds"

    class MyExtractor(autoload.Wav2Vec2FeatureExtractor):
        pass

    autoload.AutoFeatureExtractor.register(MyConfig, MyExtractor)
    write(tmp_path, preprocessor_config={}, config={"model_type": "my_sounds"})
    assert type(autoload.AutoFeatureExtractor.from_pretrained(tmp_path)) is MyExtractor
    with pytest.raises(AudioError, match="already"):
        autoload.AutoFeatureExtractor.register(MyConfig, autoload.ASTFeatureExtractor)


# -- of filter banks


@pytest.fixture(scope="module")
def banks(folder: Path) -> tuple[Any, Any]:
    """Wav2Vec2-BERT's processor, ours and the reference's."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertProcessor, Wav2Vec2CTCTokenizer

    extractor = SeamlessM4TFeatureExtractor(num_mel_bins=40, feature_size=40)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    path = folder / "bert"
    Wav2Vec2BertProcessor(extractor, tokenizer).save_pretrained(path)
    return autoload.AutoProcessor.from_pretrained(path), Wav2Vec2BertProcessor.from_pretrained(path)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Speech2Text's processor, ours and the reference's."""
    pytest.importorskip("sentencepiece")
    from transformers import Speech2TextFeatureExtractor, Speech2TextProcessor

    path = fixtures.build(tmp_path_factory.mktemp("speech2text"), "Speech2TextTokenizer")
    write(path, config={"model_type": "speech_to_text"})
    Speech2TextFeatureExtractor(num_mel_bins=24, feature_size=24).save_pretrained(path)
    return autoload.AutoProcessor.from_pretrained(path), Speech2TextProcessor.from_pretrained(path)


@pytest.mark.parametrize("name", ["banks", "pieces"])
@pytest.mark.parametrize("keywords", [{"padding": True}, {"padding": True, "return_tensors": "pt"}])
def test_filter_banks(name: str, keywords: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Sounds, texts and both; the files."""
    ours, theirs = request.getfixturevalue(name)
    assert type(ours).__name__ == type(theirs).__name__ and ours.model_input_names == theirs.model_input_names
    audio, text = [sounds.noise(0.3 * n, n) for n in (3, 1, 2)], ["AB", "the quick CAB", "A"]
    for inputs in ({"audio": audio}, {"text": text}, {"audio": audio, "text": text}, {"audio": audio[0], "text": "A"}):
        rate = {"sampling_rate": 16000} if "audio" in inputs else {}
        found, expected = ours(**inputs, **rate, **keywords), theirs(**inputs, **rate, **keywords)
        assert {*found} == {*expected}
        for key in expected:
            for a, b in zip(found[key], expected[key], strict=True):
                a, b = np.asarray(a), np.asarray(b)
                assert np.allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(np.abs(b).max()))), key
    ids = theirs(text=text)["input_ids"]
    assert ours.batch_decode(ids) == theirs.batch_decode(ids) and ours.decode(ids[0]) == theirs.decode(ids[0])
    with pytest.raises(AudioError, match="44100 Hz, expected 16000 Hz"):
        ours(audio, sampling_rate=44100)
    ours.save_pretrained(tmp_path)
    again = type(theirs).from_pretrained(tmp_path)
    assert again.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()
    assert again.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()


def test_examples_of_filter_banks(banks: tuple[Any, Any]) -> None:
    """As a collator for fine-tuning pads them, with labels of letters."""
    ours, theirs = banks
    features = [{"input_features": ours(sounds.noise(s), sampling_rate=16000).input_features[0]} for s in (0.5, 0.9)]
    labels = [{"input_ids": [5, 6]}, {"input_ids": [7]}]
    found = ours.pad(features, labels=labels, padding=True, return_tensors="pt")
    expected = theirs.pad(features, labels=labels, padding=True, return_tensors="pt")
    assert {*found} == {*expected} and all(torch.equal(found[key], expected[key]) for key in expected)


# -- Whisper's, with the vocabulary of the real one


@pytest.fixture(scope="module", params=["whisper_base_vocab", "whisper_large_v3_json"])
def whisper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    import shutil

    from transformers import AutoProcessor, WhisperFeatureExtractor

    shared = Path(os.environ.get("AUTOLOAD_SHARED", Path(__file__).parents[2].parent / "shared"))
    source = shared / "tokenizers" / "whisper" / request.param
    if not source.is_dir():
        pytest.skip("the shared tokenizers are not there")
    folder = tmp_path_factory.mktemp("whisper") / "files"
    shutil.copytree(source, folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    write(folder, config={"model_type": "whisper"})
    return autoload.AutoProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def test_whisper(whisper: tuple[Any, Any], tmp_path: Path) -> None:
    ours, theirs = whisper
    assert isinstance(ours, autoload.WhisperProcessor)
    assert ours.model_input_names == theirs.model_input_names
    keywords: dict[str, Any] = dict(sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
    found = ours(sounds.noise(1), text="Hello there.", **keywords)
    expected = theirs(sounds.noise(1), text="Hello there.", **keywords)
    assert {*found} == {*expected} and torch.equal(found["labels"], expected["labels"])
    assert torch.allclose(found["input_features"], expected["input_features"], atol=1e-5)
    assert torch.equal(found["attention_mask"], expected["attention_mask"])
    for each in ({"language": "german", "task": "translate"}, {"no_timestamps": False}):
        assert ours.get_decoder_prompt_ids(**each) == theirs.get_decoder_prompt_ids(**each)
    assert ours.get_prompt_ids("Names: Ada").tolist() == theirs.get_prompt_ids("Names: Ada").tolist()
    ours.save_pretrained(tmp_path)
    again = type(theirs).from_pretrained(tmp_path)
    assert again.feature_extractor.to_dict() == theirs.feature_extractor.to_dict()
