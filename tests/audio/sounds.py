"""Synthetic sounds: noise, tones, silence, clipping, and short ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

RATE = 16000


def noise(seconds: float, seed: int = 0, rate: int = RATE, loudness: float = 0.1) -> np.ndarray:
    count = round(seconds * rate)
    return np.random.default_rng(seed).normal(0, loudness, count).astype(np.float32)


def tones(seconds: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1330 * time)).astype(np.float32)


def clipped(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.clip(5 * noise(seconds, 1, rate) + 2 * tones(seconds, rate), -1, 1).astype(np.float32)


def half_silent(seconds: float, rate: int = RATE) -> np.ndarray:
    """Hard zeros in the second half."""
    sound = noise(seconds, 2, rate)
    sound[len(sound) // 2 :] = 0
    return sound


def ragged(rate: int = RATE) -> list[np.ndarray]:
    return [noise(1.3, 3, rate), 0.2 * tones(0.71, rate) + noise(0.71, 4, rate), clipped(2.03, rate)]


def hour(rate: int = RATE, seconds: float = 3600) -> Iterator[list[np.ndarray]]:
    """Batches of pieces from a third of a second to half a minute and more, of every kind, an hour together."""
    random, left, count = np.random.default_rng(0), seconds, 0
    while left > 0:
        batch = []
        for _ in range(int(random.integers(1, 7))):
            length = min(
                float(random.choice([random.uniform(0.3, 4), random.uniform(4, 20), random.uniform(20, 40)])), left
            )
            if length <= 0.1:
                left = 0
                break
            batch.append(_piece(KINDS[count % len(KINDS)], length, rate, random))
            left, count = left - length, count + 1
        if batch:
            yield batch


KINDS = ("noise", "tones", "silence", "clipped", "bursts", "offset", "16 bits", "faint")


def _piece(kind: str, seconds: float, rate: int, random: np.random.Generator) -> np.ndarray:
    count = round(seconds * rate)
    sound = random.normal(0, 10 ** random.uniform(-2, -0.5), count)
    time = np.arange(count) / rate
    if kind == "tones":
        sound = 0.1 * sound + sum(0.2 * np.sin(2 * np.pi * pitch * time) for pitch in random.uniform(80, 4000, 3))
    elif kind == "silence":
        sound[:] = 0
    elif kind == "clipped":
        sound = np.clip(20 * sound, -1, 1)
    elif kind == "bursts":  # words with nothing between them
        sound *= np.sin(2 * np.pi * 0.7 * time) > 0
    elif kind == "offset":
        sound += 0.3
    elif kind == "16 bits":
        sound = np.round(np.clip(sound, -1, 1) * 32767) / 32768
    elif kind == "faint":
        sound *= 1e-3
    return sound.astype(np.float32)
