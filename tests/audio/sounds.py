"""Synthetic sounds: noise, tones, silence, clipping, and short ones."""

from __future__ import annotations

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
