"""What CTC models say frame by frame becomes text: beside the reference, and how sure the model was of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autoload
from autoload.errors import TokenizerError

HEADS = ["<pad>", "<s>", "</s>", "<unk>", "|"]


def load(folder: Path, vocabulary: dict[str, Any], **settings: Any) -> tuple[Any, Any]:
    """Our tokenizer and the reference's."""
    from transformers import Wav2Vec2CTCTokenizer

    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return autoload.AutoTokenizer.from_pretrained(folder), Wav2Vec2CTCTokenizer.from_pretrained(folder)


def numbered(letters: str) -> dict[str, int]:
    return {token: index for index, token in enumerate([*HEADS, *letters])}


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": True}, {"replace_word_delimiter_char": "_"}])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("group", [True, False])
def test_offsets_beside_the_reference(tmp_path: Path, settings: dict[str, Any], skip: bool, group: bool) -> None:
    """Random frames, most of them blanks and repeats, in batches and one by one."""
    ours, theirs = load(tmp_path, numbered("ABCDEFGH"), **settings)
    random = np.random.default_rng(0)
    chosen = random.integers(0, 13, (20, 40))
    ids = np.repeat(np.where(random.random((20, 40)) < 0.4, 0, chosen), 2, 1)[:, :70]
    options: dict[str, Any] = dict(skip_special_tokens=skip, group_tokens=group)
    assert ours.batch_decode(ids, **options) == theirs.batch_decode(ids, **options)
    for offsets in ({"output_char_offsets": True}, {"output_word_offsets": True}, {"output_char_offsets": True, "output_word_offsets": True}):  # fmt: skip
        found, expected = ours.batch_decode(ids, **options, **offsets), theirs.batch_decode(ids, **options, **offsets)
        for name in ("text", "char_offsets", "word_offsets"):
            wanted = getattr(expected, name, None)
            if wanted is not None:
                assert found[name] == wanted, name
        one, other = ours.decode(ids[3], **options, **offsets), theirs.decode(ids[3], **options, **offsets)
        assert one.text == other.text and one.char_offsets == other.char_offsets
        assert one.word_offsets == other.word_offsets


def test_confidence(tmp_path: Path) -> None:
    """The mean probability of the frames of a character, of a word's characters, and of all; blanks do not count."""
    ours, _ = load(tmp_path, numbered("HIO"))
    h, i, o = 5, 6, 7
    ids = [0, h, h, i, 0, 4, 4, o, 0, o]
    sure = [0.1, 0.5, 0.7, 0.9, 0.2, 1.0, 0.8, 0.4, 0.3, 0.6]
    found = ours.decode(ids, output_char_offsets=True, output_word_offsets=True, probabilities=sure)
    assert found.text == "HI OO"
    chars = [(c["char"], c["start_offset"], c["end_offset"], round(c["confidence"], 6)) for c in found.char_offsets]
    assert chars == [("H", 1, 3, 0.6), ("I", 3, 4, 0.9), (" ", 5, 7, 0.9), ("O", 7, 8, 0.4), ("O", 9, 10, 0.6)]
    words = [(w["word"], w["start_offset"], w["end_offset"], round(w["confidence"], 6)) for w in found.word_offsets]
    assert words == [("HI", 1, 4, 0.7), ("OO", 7, 10, 0.5)]
    assert found.confidence == pytest.approx((0.5 + 0.7 + 0.9 + 1.0 + 0.8 + 0.4 + 0.6) / 7)
    alone = ours.decode(ids, probabilities=sure)
    assert alone.confidence == found.confidence and alone.char_offsets is None and alone.word_offsets is None
    assert ours.decode([0, 0], probabilities=[1.0, 1.0]).confidence is None  # nothing was said
    skipped = ours.decode([1, h, 2, i], skip_special_tokens=True, probabilities=[0.1, 0.5, 0.1, 0.7])
    assert skipped.text == "HI" and skipped.confidence == pytest.approx(0.6)


def test_confidence_of_logits(tmp_path: Path) -> None:
    """As a model gives them: a batch of tensors, through the processor."""
    ours, _ = load(tmp_path, numbered("HIO"))
    processor = autoload.Wav2Vec2Processor(autoload.Wav2Vec2FeatureExtractor(), ours)
    logits = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0)) * 3
    probabilities, ids = logits.softmax(-1).max(-1)
    found = processor.batch_decode(ids, output_word_offsets=True, probabilities=probabilities)
    assert found.text == processor.batch_decode(ids) and len(found.confidence) == 3
    for row, words in enumerate(found.word_offsets):
        one = processor.decode(ids[row], output_word_offsets=True, probabilities=probabilities[row].numpy())
        assert one.word_offsets == words and one.confidence == found.confidence[row]
        assert all(probabilities[row].min() <= word["confidence"] <= 1 for word in words)


@pytest.mark.parametrize("given", [[0.5], [[0.5, 0.5]], [0.5, 0.5, 0.5]])
def test_probabilities_of_another_shape(tmp_path: Path, given: Any) -> None:
    ours, _ = load(tmp_path, numbered("HIO"))
    with pytest.raises(TokenizerError, match="probabilities"):
        ours.decode([5, 6], probabilities=given)
    with pytest.raises(TokenizerError, match="probabilities"):
        ours.batch_decode([[5, 6], [6, 5]], probabilities=given)


def test_languages(tmp_path: Path) -> None:
    """Vocabularies of several languages, as MMS has them: at the load and later."""
    vocabulary = {"eng": numbered("ABC"), "fra": numbered("ÉBA"), "deu": {**numbered("ÄB"), "SCH": 7}}
    ours, theirs = load(tmp_path, vocabulary, target_lang="eng")
    for language, text in (("fra", "BÉA B"), ("deu", "ÄSCHB B"), ("eng", "CAB A")):
        ours.set_target_lang(language)
        theirs.set_target_lang(language)
        assert ours.target_lang == theirs.target_lang == language
        ids = theirs(text)["input_ids"]
        assert ours(text)["input_ids"] == ids and ours.decode(ids) == theirs.decode(ids) == text
        again = autoload.AutoTokenizer.from_pretrained(tmp_path, target_lang=language)
        assert again(text)["input_ids"] == ids
        again.save_pretrained(tmp_path / language)
        saved = autoload.AutoTokenizer.from_pretrained(tmp_path / language)
        assert saved(text)["input_ids"] == ids
        assert type(theirs).from_pretrained(tmp_path / language)(text)["input_ids"] == ids
    with pytest.raises(TokenizerError, match="did you mean 'deu'"):
        ours.set_target_lang("due")
