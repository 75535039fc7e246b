"""Feature extractors beside the reference's, on the same sounds."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import ArgumentError, AudioError, ConfigError, CorruptFile, MissingFile
from tests.audio import exact, sounds

# class, settings, keywords of the call
CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Wav2Vec2FeatureExtractor", {}, {"padding": True}),
    ("Wav2Vec2FeatureExtractor", {}, {"padding": False}),
    ("Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, {"padding": True, "pad_to_multiple_of": 1000}),
    ("Wav2Vec2FeatureExtractor", {"do_normalize": False, "padding_value": -0.5}, {"padding": True}),
    (
        "Wav2Vec2FeatureExtractor",
        {"return_attention_mask": True},
        {"padding": "max_length", "max_length": 16000, "truncation": True},
    ),
    ("Wav2Vec2FeatureExtractor", {"return_attention_mask": True, "padding_side": "left"}, {"padding": True}),
    ("WhisperFeatureExtractor", {"chunk_length": 3}, {}),
    ("WhisperFeatureExtractor", {"feature_size": 128}, {"padding": "longest", "return_attention_mask": True}),
    ("WhisperFeatureExtractor", {"chunk_length": 1}, {"do_normalize": True, "return_attention_mask": True}),
    (
        "WhisperFeatureExtractor",
        {"chunk_length": 1},
        {"truncation": False, "padding": "longest", "return_attention_mask": True},
    ),
    ("LasrFeatureExtractor", {}, {"return_attention_mask": True}),
    ("LasrFeatureExtractor", {"feature_size": 40, "hop_length": 100}, {"max_length": 9000, "truncation": True}),
    ("LasrFeatureExtractor", {"padding_side": "left"}, {"return_attention_mask": True, "pad_to_multiple_of": 999}),
    ("CohereAsrFeatureExtractor", {}, {}),
    ("CohereAsrFeatureExtractor", {"preemphasis": None, "dither": 1e-2, "feature_size": 40}, {}),
    (
        "CohereAsrFeatureExtractor",
        {"max_audio_clip_s": 1.0, "overlap_chunk_second": 0.3},
        {"padding": "max_length", "max_length": 20000},
    ),
    (
        "CohereAsrFeatureExtractor",
        {"max_audio_clip_s": 0.9, "overlap_chunk_second": 0.2, "min_energy_window_samples": 4000},
        {},
    ),
    ("ASTFeatureExtractor", {"max_length": 150}, {}),
    ("ASTFeatureExtractor", {"max_length": 64, "num_mel_bins": 40, "do_normalize": False}, {}),
    ("SeamlessM4TFeatureExtractor", {}, {}),
    ("SeamlessM4TFeatureExtractor", {"stride": 3, "padding_value": 1.0}, {"pad_to_multiple_of": None}),
    ("SeamlessM4TFeatureExtractor", {}, {"do_normalize_per_mel_bins": False, "return_attention_mask": False}),
    ("Speech2TextFeatureExtractor", {}, {"padding": True}),
    ("Speech2TextFeatureExtractor", {"normalize_vars": False}, {"padding": False, "return_attention_mask": False}),
    ("Speech2TextFeatureExtractor", {}, {"padding": True, "max_length": 100, "truncation": True}),
    ("ParakeetFeatureExtractor", {}, {}),
    ("ParakeetFeatureExtractor", {"preemphasis": None, "feature_size": 40}, {"pad_to_multiple_of": 5000}),
    ("NemotronAsrStreamingFeatureExtractor", {}, {}),
    ("NemotronAsrStreamingFeatureExtractor", {"mel_filters_dtype": "bfloat16"}, {"center": False}),
    (
        "NemotronAsrStreamingFeatureExtractor",
        {"preemphasis": None, "feature_size": 40, "mel_filters_dtype": "float16"},
        {"center": False, "is_last_audio_chunk": True, "pad_to_multiple_of": 5000},
    ),
    ("ClapFeatureExtractor", {"max_length_s": 3}, {}),
    ("ClapFeatureExtractor", {"max_length_s": 3, "truncation": "rand_trunc"}, {"padding": "repeat"}),
    ("ClapFeatureExtractor", {"max_length_s": 3}, {"padding": "pad"}),
    ("Gemma4AudioFeatureExtractor", {}, {}),
    ("Gemma4AudioFeatureExtractor", {"preemphasis": 0.9, "feature_size": 40}, {"pad_to_multiple_of": None}),
    (
        "Gemma4AudioFeatureExtractor",
        {"preemphasis": 0.5, "preemphasis_htk_flavor": False, "fft_overdrive": True, "input_scale_factor": 0.5}
        | {"frame_length_ms": 32.0, "hop_length_ms": 8.0, "min_frequency": 125.0, "max_frequency": 7600.0},
        {"padding": False},
    ),
    (
        "Gemma4AudioFeatureExtractor",
        {"mel_floor": 1e-5, "per_bin_mean": [0.5, -1.0] * 64, "per_bin_stddev": [2.0, 3.0] * 64},
        {"padding": "max_length", "max_length": 16000},
    ),
]
CLASSES = list(dict.fromkeys(name for name, *_ in CALLS))


def pair(name: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Our extractor and the reference's."""
    import transformers

    return getattr(autoload, name)(**settings), getattr(transformers, name)(**settings)


def assert_same(ours: Any, theirs: Any, skip: tuple[str, ...] = (), single: bool = False) -> None:
    """Equal to 1e-5 of the largest value, or of 1.

    `single`: the reference's transform is in float32, whose noise in the emptiest of narrow filters is beyond that; one
    value in a thousand may be ten times as far (`test_quiet_places_of_tones` shows which of the two is nearer the truth).
    """
    assert {*ours} == {*theirs}
    for key in {*theirs} - {*skip}:
        if key == "audio_chunk_index":  # numbers, and None
            assert ours[key] == theirs[key]
            continue
        assert type(ours[key]) is type(theirs[key]) or isinstance(ours[key], (list, np.ndarray)), key
        assert len(ours[key]) == len(theirs[key])
        for a, b in zip(ours[key], theirs[key], strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert a.shape == b.shape, key
            scale = max(1.0, float(np.abs(b).max(initial=0)))
            errors = np.abs(a.astype(np.float64) - b) / scale
            assert errors.max(initial=0) <= (1e-4 if single else 1e-5), key
            assert np.quantile(errors, 0.999) <= 1e-5 if errors.size else True, key


@pytest.mark.parametrize("name, settings, call", CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_values(name: str, settings: dict[str, Any], call: dict[str, Any]) -> None:
    ours, theirs = pair(name, settings)
    rate = theirs.sampling_rate
    skip = ("is_longer",) if name.startswith("Clap") else ()  # one of these is drawn by lot
    single = name.startswith(("Whisper", "Parakeet", "Cohere", "Nemotron"))
    batch = sounds.ragged(rate)
    whole = call.get("padding", "longest") is not False
    for kind in [None, "np", "pt"] if whole else [None]:
        expected = theirs(batch, sampling_rate=rate, return_tensors=kind, **call)
        assert_same(ours(batch, sampling_rate=rate, return_tensors=kind, **call), expected, skip, single)
    for sound in (sounds.noise(1.1, 5, rate), sounds.half_silent(1.7, rate), sounds.clipped(0.9, rate)):
        listed = [sound] if name.startswith("Gemma4") else sound  # it fails at a sound alone
        expected = theirs(listed, sampling_rate=rate, return_tensors="pt", **call)
        found = ours(sound, sampling_rate=rate, return_tensors="pt", **call)
        assert_same(found, expected, skip, single)
        assert all(found[k].dtype == v.dtype for k, v in expected.items() if isinstance(v, torch.Tensor))


@pytest.mark.sweep
@pytest.mark.parametrize("name, settings, call", CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_hour(name: str, settings: dict[str, Any], call: dict[str, Any]) -> None:
    """Ragged batches with silence, clipping and noise."""
    ours, theirs = pair(name, settings)
    rate, heard = theirs.sampling_rate, 0
    skip = ("is_longer",) if name.startswith("Clap") else ()
    longest = ours.nb_max_samples if name.startswith("Clap") else None  # of longer ones a piece is drawn by lot
    kinds = ["pt", "np", None] if call.get("padding", "longest") is not False else [None]
    for turn, batch in enumerate(sounds.hour(rate)):
        heard += sum(map(len, batch))
        batch = [sound[:longest] for sound in batch]
        keywords: dict[str, Any] = dict(sampling_rate=rate, return_tensors=kinds[turn % len(kinds)], **call)
        with np.errstate(all="ignore"):  # the reference divides silence by its deviation
            expected, found = theirs(batch, **keywords), ours(batch, **keywords)
        if not name.startswith(("Whisper", "Parakeet", "Cohere", "Nemotron", "Speech2Text")):
            assert_same(found, expected, skip)
            continue
        assert_same(found, expected, ("input_features",))
        columns = found["input_features"], expected["input_features"]
        samples = max(map(len, batch))
        if name.startswith("Whisper"):
            samples = min(samples, ours.n_samples) if call.get("truncation", True) else samples
            samples = samples if "padding" in call else ours.n_samples
        if name.startswith("Cohere"):  # a row for each piece of a long sound
            index = found["audio_chunk_index"]
            batch = [batch[i] if k is None else ours.pieces(batch[i])[k] for i, k in index]
        for sound, *rows in zip(batch, *columns, strict=True):
            assert_near(name, ours, call, sound, samples, *map(np.asarray, rows))
    assert heard >= 3599 * rate


def assert_near(
    name: str,
    extractor: Any,
    call: dict[str, Any],
    sound: np.ndarray,
    samples: int,
    ours: np.ndarray,
    theirs: np.ndarray,
) -> None:
    """Ours is the reference's to 1e-5 of the largest value, or as near to the truth, for the reference's sums are single."""
    assert ours.shape == theirs.shape and np.isfinite(ours).all()
    if not sound.any() and name.startswith(("Parakeet", "Speech2Text")):
        assert not ours.any()  # where the reference gives rounding errors over 0
        return
    scale = max(1.0, float(np.abs(theirs).max()))
    if np.abs(ours - theirs).max() <= 1e-5 * scale:
        return
    if name.startswith("Whisper"):
        truth = exact.whisper(sound, extractor, samples, call.get("do_normalize", False))
    elif name.startswith("Parakeet"):
        truth = exact.parakeet(sound, extractor, len(ours))
    elif name.startswith("Cohere"):
        truth = exact.cohere(sound, extractor, len(ours))
    elif name.startswith("Nemotron"):
        truth = exact.nemotron(sound, extractor, len(ours), call.get("center", True), "is_last_audio_chunk" in call)
    else:
        truth = exact.speech_to_text(sound, extractor, len(ours), call.get("max_length"))
    worst = np.abs(theirs - truth).max()  # both round logarithms alike, at last by chance
    chance = 1.5 if name.startswith(("Cohere", "Nemotron")) else 1.1  # of which more is left next to silence
    assert np.abs(ours - truth).max() <= max(1e-5 * scale, chance * worst)
    if chance > 1.1:
        assert np.linalg.norm(ours - truth) <= 1.1 * np.linalg.norm(theirs - truth)


@pytest.mark.parametrize("name", CLASSES)
def test_inputs(name: str) -> None:
    """Lists, float64, tensors and (batch, samples) are the same sound."""
    ours, _ = pair(name, {})
    rate = ours.sampling_rate
    sound = sounds.noise(0.6, 6, rate)
    keywords: dict[str, Any] = dict(sampling_rate=rate, return_tensors="np")
    expected = ours(sound, **keywords)
    for same in (sound.tolist(), torch.from_numpy(sound), [sound], [sound.tolist()], sound[None], sound.astype("f8")):
        assert_same(ours(same, **keywords), expected)


@pytest.mark.parametrize("name", ["Wav2Vec2FeatureExtractor", "WhisperFeatureExtractor"])
@pytest.mark.parametrize("samples", [1, 2, 80, 399, 401])
def test_very_short(name: str, samples: int) -> None:
    ours, theirs = pair(name, {})
    sound = sounds.noise(1)[:samples]
    keywords: dict[str, Any] = dict(sampling_rate=16000, return_tensors="pt")
    assert_same(ours(sound, **keywords), theirs(sound, **keywords))


def test_quiet_places_of_tones() -> None:
    """float32 leaves noise between pure tones: ours is no further from the truth than the reference's."""
    ours, theirs = pair("WhisperFeatureExtractor", {"chunk_length": 2})
    sound = sounds.tones(2)
    truth = exact.whisper(sound, theirs, len(sound))
    found = ours(sound, sampling_rate=16000)["input_features"][0]
    expected = theirs(sound, sampling_rate=16000)["input_features"][0]
    assert np.abs(found - truth).max() <= np.abs(expected - truth).max()
    assert np.abs(found - expected).max() < 2e-3


def test_silence_with_noise() -> None:
    """Of silence Cohere's features are the noise that was added, hardly above what float32 holds: ours are nearer."""
    ours, theirs = pair("CohereAsrFeatureExtractor", {})
    count, hop = 7600, theirs.hop_length
    noise = torch.randn(count, generator=torch.Generator().manual_seed(count)).double() * theirs.dither
    sharp = torch.cat([noise[:1], noise[1:] - theirs.preemphasis * noise[:-1]])
    window = torch.hann_window(theirs.win_length, periodic=False, dtype=torch.float64)
    sizes = (theirs.n_fft, hop, theirs.win_length)
    power = torch.stft(sharp, *sizes, window=window, pad_mode="constant", return_complex=True).abs() ** 2
    log = torch.log(theirs.mel_filters.double() @ power + 2.0**-24).T[: count // hop]
    exact = ((log - log.mean(0)) / (log.std(0) + 1e-5)).numpy()
    keywords: dict[str, Any] = dict(sampling_rate=16000, return_tensors="np")
    found, expected = (e(np.zeros(count, "f4"), **keywords)["input_features"][0][: len(exact)] for e in (ours, theirs))
    assert np.abs(found - exact).max() <= np.abs(expected - exact).max()
    assert np.abs(found - exact).max() < 0.2


@pytest.mark.parametrize("count", [16, 17, 48, 5000])
def test_noise_is_pytorch_s(count: int) -> None:
    from autoload.audio.random import torch_normal

    for seed in (0, count, 2**33 + 5):
        expected = torch.randn(count, generator=torch.Generator().manual_seed(seed)).numpy()
        assert np.abs(torch_normal(count, seed) - expected).max() < 1e-6


# -- noise that is added


def test_dither_of_frames() -> None:
    """With the same seed the reference's, and of silence too."""
    settings: dict[str, Any] = dict(dither=2.0, do_ceptral_normalize=False)
    ours, theirs = pair("Speech2TextFeatureExtractor", settings)
    for sound in (sounds.noise(2), sounds.half_silent(3), np.zeros(20000, np.float32)):
        found = []
        for extractor in (ours, theirs):
            np.random.seed(3)
            found.append(extractor(sound, sampling_rate=16000, return_tensors="np"))
        assert_same(*found)
    assert np.abs(ours(sound, sampling_rate=16000).input_features[0] - found[0].input_features[0]).max() > 0.1


def test_dither_of_waves() -> None:
    """Whisper's noise is torch's in the reference: of silence each filter has the same mean and spread."""
    ours, theirs = pair("WhisperFeatureExtractor", {"dither": 1e-2})
    silence = np.zeros(480000, np.float32)
    np.random.seed(0)
    torch.manual_seed(0)
    found = [np.asarray(e(silence, sampling_rate=16000).input_features[0]) for e in (ours, theirs)]  # (filters, frames)
    spread = found[1].std(1)
    assert np.abs(found[0].mean(1) - found[1].mean(1)).max() < 6 * (spread / np.sqrt(3000 / 5)).max()  # frames overlap
    assert np.abs(found[0].std(1) / spread - 1).max() < 0.15
    np.random.seed(0)
    assert np.array_equal(ours(silence, sampling_rate=16000).input_features[0], found[0])


# -- files


@pytest.mark.parametrize("name", CLASSES)
def test_saved_files_are_the_reference_s(name: str, tmp_path: Path) -> None:
    ours, theirs = pair(name, {})
    assert ours.to_dict() == theirs.to_dict()
    theirs.save_pretrained(tmp_path)
    loaded = autoload.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(loaded).__name__ == name and loaded.to_dict() == theirs.to_dict()
    loaded.save_pretrained(tmp_path / "again")
    assert type(theirs).from_pretrained(tmp_path / "again").to_dict() == theirs.to_dict()
    changed = autoload.AutoFeatureExtractor.from_pretrained(tmp_path, padding_value=2.0)
    assert changed.padding_value == 2.0


def test_lengths_of_frames_are_kept(tmp_path: Path) -> None:
    """Gemma 4's files have them in samples, which the reference writes and does not read."""
    made = autoload.Gemma4AudioFeatureExtractor(frame_length_ms=32.0, hop_length_ms=8.0)
    made.save_pretrained(tmp_path)
    again = autoload.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert (again.frame_length, again.hop_length, again.fft_length) == (512, 128, 512)
    other = autoload.AutoFeatureExtractor.from_pretrained(tmp_path, frame_length_ms=20.0)
    assert (other.frame_length, other.hop_length) == (320, 128)
    short = again([sounds.noise(1)[:100]], sampling_rate=16000, pad_to_multiple_of=None)
    assert short["input_features"][0].shape == (0, 128) and short["input_features_mask"][0].shape == (0,)


def test_tables_in_older_files(tmp_path: Path) -> None:
    """Whisper's first files hold its filters; these are computed all the same, and not written again."""
    settings = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "mel_filters": [[0.0] * 201] * 80,
        "n_samples": 480000,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    found = autoload.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert found.mel_filters.shape == (201, 80) and found.mel_filters.any()
    assert found.to_dict() == autoload.WhisperFeatureExtractor().to_dict()


def test_class_by_model_type(tmp_path: Path) -> None:
    settings = {"sampling_rate": 8000, "feature_size": 1, "do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    found = autoload.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(found).__name__ == "Wav2Vec2FeatureExtractor" and found.sampling_rate == 8000
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(AudioError, match="feature_extractor_type.*'bert'"):
        autoload.AutoFeatureExtractor.from_pretrained(tmp_path)


def test_tables_agree_with_the_reference() -> None:
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    from autoload.audio.auto import CLASS_OF_TYPE, CLASSES

    theirs = {k: v for k, v in FEATURE_EXTRACTOR_MAPPING_NAMES.items() if v in CLASSES}
    assert CLASS_OF_TYPE == theirs


@pytest.mark.parametrize(
    "content, error, match",
    [
        (None, MissingFile, "preprocessor_config.json"),
        ("[]", CorruptFile, "JSON object"),
        ("{", CorruptFile, "preprocessor_config.json"),
        ('{"feature_extractor_type": "ViTFeatureExtractor"}', AudioError, "ViTFeatureExtractor"),
        ('{"feature_extractor_type": "WhisperFeatureExtractor", "hop_length": 0}', ConfigError, "hop_length"),
        ('{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": "a"}', ConfigError, "sampling_rate"),
        ('{"feature_extractor_type": "Gemma4AudioFeatureExtractor", "per_bin_mean": [1]}', ConfigError, "per_bin_mean"),
        ('{"feature_extractor_type": "Gemma4AudioFeatureExtractor", "frame_length": 0}', ConfigError, "frame_length"),
        ('{"feature_extractor_type": "Gemma4AudioFeatureExtractor", "hop_length": "1"}', ConfigError, "hop_length"),
        ('{"feature_extractor_type": "Gemma4AudioFeatureExtractor", "sampling_rate": "1"}', ConfigError, "sampling"),
    ],
)
def test_damaged_files(tmp_path: Path, content: str | None, error: type[Exception], match: str) -> None:
    if content is not None:
        (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(error, match=match):
        autoload.AutoFeatureExtractor.from_pretrained(tmp_path)


def test_unknown_keywords() -> None:
    extractor = autoload.Wav2Vec2FeatureExtractor()
    with pytest.raises(ArgumentError, match="did you mean 'sampling_rate'"):
        extractor(sounds.noise(0.1), samplingrate=16000)
    with pytest.raises(AudioError, match="rows differ in length"):
        extractor(sounds.ragged(), sampling_rate=16000, return_tensors="pt")
    with pytest.raises(AudioError, match="needs max_length"):
        extractor(sounds.ragged(), sampling_rate=16000, padding="max_length")


@pytest.mark.parametrize("name", CLASSES)
def test_another_rate(name: str) -> None:
    extractor = getattr(autoload, name)()
    with pytest.raises(AudioError, match=rf"11025 Hz, expected {extractor.sampling_rate} Hz"):
        extractor(sounds.noise(0.5), sampling_rate=11025)


# -- padding by itself, as collators use it


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("keywords", [{}, {"pad_to_multiple_of": 7}, {"padding": "max_length", "max_length": 30}])
def test_pad(side: str, keywords: dict[str, Any]) -> None:
    ours, theirs = pair("Wav2Vec2FeatureExtractor", {"padding_side": side, "return_attention_mask": True})
    examples = [{"input_values": sounds.noise(1)[:n]} for n in (5, 20, 11)]
    for kind in ("np", "pt"):
        expected = theirs.pad([dict(e) for e in examples], return_tensors=kind, **keywords)
        assert_same(ours.pad(examples, return_tensors=kind, **keywords), expected)
    assert ours.pad([{"input_values": torch.zeros(3)}, {"input_values": torch.zeros(4)}]).input_values.shape == (2, 4)
    with pytest.raises(AudioError, match="expected input_values"):
        ours.pad([{"values": [1.0]}])


def test_batch_feature() -> None:
    from autoload import BatchFeature

    batch = BatchFeature({"a": [[1.0, 2.0]], "b": [[1, 2]], "c": ["text"]}, tensor_type="pt")
    assert batch.a.dtype == torch.float32 and batch["b"].dtype == torch.int64 and batch.c == ["text"]
    moved = batch.to(torch.bfloat16)
    assert moved is batch and batch.a.dtype == torch.bfloat16 and batch.b.dtype == torch.int64
    again = pickle.loads(pickle.dumps(batch))
    assert torch.equal(again.a, batch.a) and {**again}.keys() == {"a", "b", "c"}
    with pytest.raises(AttributeError, match="no entry 'd'"):
        batch.d  # noqa: B018
    with pytest.raises(KeyError, match="numbered 0"):
        batch[0]
    with pytest.raises(ArgumentError, match="'pt' or 'np'"):
        BatchFeature({"a": [1]}, "tf")
