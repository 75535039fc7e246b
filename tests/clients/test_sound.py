"""Pipelines for sound: recognition with CTC and with Whisper (timestamps, long sounds), classification; `Trainer` on CTC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clients.conftest import Both
from tests.clients.test_transformers import arguments, flat

CLIENTS = ("transformers", "accelerate", "datasets")
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
WAVES = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    conv_dim=(32, 32),
    conv_kernel=(10, 5),
    conv_stride=(40, 8),
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.0,
    feat_proj_dropout=0.0,
    layerdrop=0.0,
    mask_time_prob=0.0,
)
LISTENER = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=40,
    decoder_ffn_dim=40,
    num_mel_bins=80,
    max_target_positions=60,
    init_std=0.5,
)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(16000 * seconds)).astype(np.float32)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories with a model, its feature extractor and, but for the classifier, its tokenizer."""
    import transformers as t

    root = tmp_path_factory.mktemp("sounds")
    torch.manual_seed(0)
    extractor = t.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    waves = t.Wav2Vec2Config(**WAVES, vocab_size=len(LETTERS), num_labels=3, initializer_range=0.3)
    for name, made in (("ctc", t.Wav2Vec2ForCTC(waves)), ("classes", t.Wav2Vec2ForSequenceClassification(waves))):
        made.save_pretrained(root / name)
        extractor.save_pretrained(root / name)
    (root / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(LETTERS)}))
    t.Wav2Vec2CTCTokenizer(str(root / "vocab.json")).save_pretrained(root / "ctc")
    write_whisper(root / "whisper")
    return root


def write_whisper(folder: Path) -> None:
    import transformers as t

    stamps = [f"<|{index * 0.02:.2f}|>" for index in range(1501)]
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    vocabulary = {letter: index for index, letter in enumerate([*"abcdefghijklmnopqrstuvwxyz", "Ġ", "<|endoftext|>"])}
    tokenizer = t.WhisperTokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.add_tokens(stamps)
    tokenizer.save_pretrained(folder)
    t.WhisperFeatureExtractor().save_pretrained(folder)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    end = ids["<|endoftext|>"]
    config = t.WhisperConfig(
        **LISTENER,
        vocab_size=len(tokenizer),
        decoder_start_token_id=ids["<|startoftranscript|>"],
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), end),
        suppress_tokens=None,
        begin_suppress_tokens=[end],
    )
    model: Any = t.WhisperForConditionalGeneration(config)
    settings = dict(
        lang_to_id={"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        is_multilingual=True,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        alignment_heads=[[0, 1], [1, 2]],
        max_length=40,
        begin_suppress_tokens=[end],
    )
    for name, value in {**settings, "_from_model_config": False}.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)


def pipe(library: Any, task: str, auto: str, path: Path, extractor_of: Any = None) -> Any:
    from transformers import pipeline

    parts: dict[str, Any] = dict(feature_extractor=(extractor_of or library).AutoFeatureExtractor.from_pretrained(path))
    if (path / "tokenizer_config.json").exists():
        parts["tokenizer"] = library.AutoTokenizer.from_pretrained(path)
    return pipeline(task, getattr(library, auto).from_pretrained(path), device="cpu", **parts)


GERMAN = {"language": "de", "max_new_tokens": 12, "suppress_tokens": [*range(27, 1538)]}  # letters alone
RECOGNITION: dict[str, tuple[str, str, dict[str, Any]]] = {
    # case: checkpoint, class, keywords of the call
    "ctc": ("ctc", "AutoModelForCTC", {}),
    "ctc-words": ("ctc", "AutoModelForCTC", dict(return_timestamps="word")),
    "ctc-chunks": ("ctc", "AutoModelForCTC", dict(chunk_length_s=1.0, stride_length_s=0.2, batch_size=2)),
    "whisper": ("whisper", "AutoModelForSpeechSeq2Seq", dict(generate_kwargs=GERMAN)),
    "whisper-times": ("whisper", "AutoModelForSpeechSeq2Seq", dict(return_timestamps=True)),
    "whisper-words": ("whisper", "AutoModelForSpeechSeq2Seq", dict(return_timestamps="word")),
}


@pytest.mark.parametrize("name", RECOGNITION)
def test_recognition(both: Both, sounds: Path, name: str) -> None:
    folder, auto, keywords = RECOGNITION[name]

    def figures(library: Any) -> dict[str, Any]:
        listen = pipe(library, "automatic-speech-recognition", auto, sounds / folder)
        keywords_here = {"generate_kwargs": {"max_new_tokens": 12, "num_beams": 1}, **keywords}
        if "ctc" in name:
            del keywords_here["generate_kwargs"]
        # Whisper reads thirty seconds, and this one hears words in the silence after a shorter sound too.
        seconds = 30.0 if name == "whisper-words" else 1.7
        found = [listen(sound(seconds, seed), **keywords_here) for seed in range(2)]
        assert all(isinstance(each["text"], str) for each in found)
        assert any(each["text"] for each in found)
        return flat(found)

    both(figures)


def test_a_long_sound(both: Both, sounds: Path) -> None:
    """Beyond Whisper's thirty seconds, by its own chunks."""

    def figures(library: Any) -> dict[str, Any]:
        listen = pipe(library, "automatic-speech-recognition", "AutoModelForSpeechSeq2Seq", sounds / "whisper")
        return flat(listen(sound(33.0), return_timestamps=True, generate_kwargs={"num_beams": 1, "max_new_tokens": 20}))

    both(figures)


def test_classification(both: Both, sounds: Path) -> None:
    def figures(library: Any) -> dict[str, Any]:
        sort = pipe(library, "audio-classification", "AutoModelForAudioClassification", sounds / "classes")
        return flat([sort(sound(0.6)), sort([sound(0.3), sound(0.5, 1)], batch_size=2, top_k=2)])

    both(figures)


def test_parts_of_either_library(sounds: Path) -> None:
    """Our model with the reference's feature extractor, and a whole processor of ours."""
    import transformers

    import autoload

    task, path = "automatic-speech-recognition", sounds / "ctc"
    expected = pipe(transformers, task, "AutoModelForCTC", path)(sound(1.0))
    assert pipe(autoload, task, "AutoModelForCTC", path, extractor_of=transformers)(sound(1.0)) == expected
    processor = autoload.AutoProcessor.from_pretrained(path)
    assert isinstance(processor, transformers.ProcessorMixin)
    model = autoload.AutoModelForCTC.from_pretrained(path)
    parts = dict(tokenizer=processor.tokenizer, feature_extractor=processor.feature_extractor)
    assert transformers.pipeline(task, model, device="cpu", **parts)(sound(1.0)) == expected


def test_trainer(both: Both, sounds: Path, tmp_path: Path) -> None:
    """A processor as `processing_class`: it pads, and is saved with the model."""

    def figures(library: Any) -> list[float]:
        from datasets import Dataset
        from transformers import Trainer

        here, path = tmp_path / library.__name__, sounds / "ctc"
        processor = library.AutoProcessor.from_pretrained(path)
        rows = [
            {
                "input_values": processor(sound(0.2 + 0.1 * seed, seed), sampling_rate=16000)["input_values"][
                    0
                ].tolist(),
                "labels": processor.tokenizer("A BAD CAB")["input_ids"],
            }
            for seed in range(4)
        ]

        def collate(rows: list[dict[str, Any]]) -> Any:
            padded = processor.feature_extractor.pad(
                [{"input_values": row["input_values"]} for row in rows], padding=True, return_tensors="pt"
            )
            padded["labels"] = torch.tensor([row["labels"] for row in rows])
            return padded

        trainer = Trainer(
            library.AutoModelForCTC.from_pretrained(path, ctc_loss_reduction="mean"),
            arguments(here, max_steps=2, remove_unused_columns=False),
            train_dataset=Dataset.from_list(rows),
            data_collator=collate,
            processing_class=processor,
        )
        trainer.train()
        trainer.save_model(str(here / "final"))
        assert library.AutoProcessor.from_pretrained(here / "final").to_dict() == processor.to_dict()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    both(figures)
