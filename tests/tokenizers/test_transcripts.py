"""Transcripts of long recordings, against the reference's on windows that overlap in every way."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.tokenizers.rows import SHARED, load, needs_shared

pytestmark = needs_shared
PRECISION = 0.02


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Any, Any]:
    """Ours and the reference's."""
    reference = pytest.importorskip("transformers").WhisperTokenizer
    name = "whisper/whisper_base_vocab"
    return load(name), reference.from_pretrained(SHARED / name)


def windows(seed: int, words: list[list[int]], first: int, languages: list[int]) -> list[dict[str, Any]]:
    """Windows of a made-up recording: runs of words that overlap, stamps in pairs or alone, languages, prompts."""
    dice = random.Random(seed)
    outputs, place = [], 0
    count = dice.randint(1, 4)
    for number in range(count):
        tokens = [50361, *words[3], 50258] if dice.random() < 0.2 else [50258]
        tokens += [dice.choice(languages), 50359]
        stamp = dice.randint(0, 40)
        tokens += [first + stamp] if dice.random() < 0.8 else []
        for _ in range(dice.randint(0, 4)):
            for _ in range(dice.randint(0, 6)):
                tokens += words[place % len(words)]
                place += 1
            stamp = min(1500, stamp + dice.randint(0, 300)) if dice.random() < 0.85 else dice.randint(0, stamp)
            tokens += [first + stamp] * dice.choice((0, 1, 2, 2))
        place = max(0, place - dice.randint(0, 5))  # the next window hears some words again
        output: dict[str, Any] = {"tokens": np.array([[*tokens, 50257]])}
        if dice.random() < 0.8:
            left, right = (0.0 if number == 0 else 5.0), (0.0 if number == count - 1 else 5.0)
            output["stride"] = (30.0, left, right)
        times = np.cumsum([dice.random() / 4 for _ in range(len(tokens) + 1)])
        output["token_timestamps"] = times[None].round(2)
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("timestamps", [False, True, "word"])
def test_transcripts_equal_the_reference(tokenizers: tuple[Any, Any], timestamps: Any) -> None:
    ours, reference = tokenizers
    texts = [
        " Hello",
        " there",
        ",",
        " it",
        "'s",
        " “",
        "quoted",
        "”",
        " naïve",
        " 世界",
        " 👋",
        " (",
        "x",
        ")",
        " end.",
    ]
    words = [ours(text, add_special_tokens=False)["input_ids"] for text in texts]
    first = ours.convert_tokens_to_ids("<|notimestamps|>") + 1
    languages = ours.convert_tokens_to_ids(["<|en|>", "<|en|>", "<|ja|>"])
    for seed in range(150):
        outputs = windows(seed, words, first, languages)
        settings = dict(return_timestamps=timestamps, return_language=seed % 2 == 0, time_precision=PRECISION)
        expected = reference._decode_asr(outputs, **settings)
        assert ours._decode_asr(outputs, **settings) == expected, seed


def test_decoding_equals_the_reference(tokenizers: tuple[Any, Any]) -> None:
    ours, reference = tokenizers
    first = ours.convert_tokens_to_ids("<|notimestamps|>") + 1
    words = [
        ours(text, add_special_tokens=False)["input_ids"] for text in (" Hello", " twenty one", " Mr. Colour", ",")
    ]
    keywords: list[dict[str, Any]] = [
        {},
        {"skip_special_tokens": True},
        {"skip_special_tokens": True, "decode_with_timestamps": True},
        {"output_offsets": True},
        {"output_offsets": True, "skip_special_tokens": True, "time_precision": 0.04},
        {"skip_special_tokens": True, "normalize": True},
        {"skip_special_tokens": True, "basic_normalize": True},
    ]
    for seed in range(40):
        for output in windows(seed, words, first, [50259]):
            ids = output["tokens"][0].tolist()
            for settings in keywords:
                assert ours.decode(ids, **settings) == reference.decode(ids, **settings), (seed, settings)
    assert ours.get_decoder_prompt_ids("translate", "fr") == reference.get_decoder_prompt_ids("translate", "fr")
    assert ours.get_prompt_ids("Mr. Q").tolist() == reference.get_prompt_ids("Mr. Q").tolist()
