"""Feature extraction of an hour of sound, and greedy transcription with random weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.bench.checkpoints import drop, made, packages
from tests.bench.row import REFERENCE, Goal, Row, Times, in_turn

RATE, SECONDS, PIECE, NEW = 16000, 3600, 30, 32


@cache
def hour() -> list[Any]:
    """An hour in pieces of half a minute: noise, tones, silence and clipping in turn."""
    import numpy as np

    random, time = np.random.default_rng(0), np.arange(PIECE * RATE) / RATE
    pieces = []
    for index in range(SECONDS // PIECE):
        sound = random.normal(0, 0.1, PIECE * RATE) + 0.3 * np.sin(2 * np.pi * (200 + index) * time)
        if index % 4 == 1:
            sound[len(sound) // 3 :] = 0
        elif index % 4 == 2:
            sound = np.clip(8 * sound, -1, 1)
        pieces.append(sound.astype(np.float32))
    return pieces


def _extract(name: str, pieces: int, seconds: int = PIECE, batch: int = 1, **call: Any):
    """Times of `pieces` of so many seconds, `batch` of them at once."""

    def measure(runs: int, clock: Callable[[], float]) -> Times:
        logging.getLogger("transformers").setLevel(logging.ERROR)
        cut = [sound[: seconds * RATE] for sound in hour()[:pieces]]
        sounds = [cut[first : first + batch] for first in range(0, pieces, batch)]
        extractors = {key: getattr(package, name)() for key, package in packages().items()}

        def run(extractor: Any) -> Callable[[], Any]:
            return lambda: [extractor(s, sampling_rate=RATE, return_tensors="pt", **call) for s in sounds] and None

        return in_turn({key: run(extractor) for key, extractor in extractors.items()}, runs, clock)

    return measure


def _transcribe(runs: int, clock: Callable[[], float]) -> Times:
    import torch

    folder = made("whisper-base", "float32", task="ForSpeechSeq2Seq")
    models = {key: p.AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval() for key, p in packages().items()}
    features = torch.randn(1, 80, 3000)

    def run(model: Any) -> Callable[[], Any]:
        model.generation_config.eos_token_id = None
        return lambda: model.generate(features, max_new_tokens=NEW, do_sample=False)

    times = in_turn({key: run(model) for key, model in models.items()}, runs, clock)
    drop(folder)
    return times


def _spell(runs: int, clock: Callable[[], float]) -> Times:
    """Five seconds through wav2vec2 base, from the waveform to the text."""
    import json
    import tempfile

    import torch

    with tempfile.TemporaryDirectory() as folder:
        import transformers

        config = transformers.Wav2Vec2Config(num_hidden_layers=4, vocab_size=31)
        transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
        tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *map(chr, range(65, 91))]
        with open(f"{folder}/vocab.json", "w") as file:
            json.dump({token: index for index, token in enumerate(tokens)}, file)
        tokenizer = transformers.Wav2Vec2CTCTokenizer(f"{folder}/vocab.json")
        transformers.Wav2Vec2Processor(transformers.Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
        parts = {
            key: (p.AutoProcessor.from_pretrained(folder), p.AutoModelForCTC.from_pretrained(folder).eval())
            for key, p in packages().items()
        }
        sound = hour()[0][: 5 * RATE]

        def run(processor: Any, model: Any) -> Callable[[], Any]:
            def once() -> list[str]:
                inputs = processor(sound, sampling_rate=RATE, return_tensors="pt")
                with torch.no_grad():
                    ids = model(**inputs).logits.argmax(-1)
                return processor.batch_decode(ids)

            return once

        return in_turn({key: run(*part) for key, part in parts.items()}, runs, clock)


HALF = Goal(0.5, REFERENCE)
ROWS = [
    Row("audio-whisper", "an hour to log-mel", HALF, _extract("WhisperFeatureExtractor", 120)),
    Row("audio-wav2vec2", "an hour, normalised", HALF, _extract("Wav2Vec2FeatureExtractor", 120)),
    Row(
        "audio-batch",
        "batches of eight, normalised",
        HALF,
        _extract("Wav2Vec2FeatureExtractor", 120, 10, 8, padding=True),
    ),
    Row(
        "audio-seconds", "two minutes of single seconds, normalised", HALF, _extract("Wav2Vec2FeatureExtractor", 120, 1)
    ),
    Row("audio-parakeet", "an hour to Parakeet's input", HALF, _extract("ParakeetFeatureExtractor", 120)),
    Row("audio-speech2text", "three minutes to Speech2Text's", HALF, _extract("Speech2TextFeatureExtractor", 6)),
    Row("audio-kaldi", "three minutes to filter banks", HALF, _extract("SeamlessM4TFeatureExtractor", 6)),
    Row("audio-ast", "three minutes to AST's input", HALF, _extract("ASTFeatureExtractor", 6)),
    Row("audio-lasr", "ten minutes to log-mel, in double", HALF, _extract("LasrFeatureExtractor", 20)),
    Row(
        "audio-cohere",
        "ten minutes to log-mel, with noise",
        Goal(1.0, REFERENCE),
        _extract("CohereAsrFeatureExtractor", 20),
    ),
    Row("audio-transcribe", "32 tokens of half a minute, Whisper base", Goal(1.0, REFERENCE), _transcribe),
    Row("audio-spell", "five seconds to letters, wav2vec2 of 4 layers", Goal(1.0, REFERENCE), _spell),
]
