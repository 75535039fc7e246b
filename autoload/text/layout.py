"""Tokenizers of document models: words with boxes, so that every token has the box of its word."""

from __future__ import annotations

from typing import Any

from autoload.errors import TokenizerError
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.padding import fill


class LayoutTokenizer(PreTrainedTokenizerFast):
    """A tokenizer of words and boxes. With a question, that is the first text and the words are the second."""

    _plain_calls = False

    def _own_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        own = {key: given.pop(key) for key in ("boxes", "word_labels") if key in given}
        super()._own_arguments(given)
        return own

    def _encode(self, text: Any, pair: Any = None, **settings: Any) -> BatchEncoding:
        boxes, labels = settings.pop("boxes", None), settings.pop("word_labels", None)
        if boxes is None:
            return super()._encode(text, pair, **settings)
        batched = isinstance(text[0], (list, tuple)) if pair is None else isinstance(text, (list, tuple))
        rows = list(text) if batched else [text]
        questions = None if pair is None else [question.split() for question in rows]
        words = rows if pair is None else (list(pair) if batched else [pair])
        boxes, labels = (boxes, labels) if batched else ([boxes], None if labels is None else [labels])
        _check(words, boxes, labels)
        tensors, settings["is_split_into_words"] = settings.pop("return_tensors", None), True
        out = super()._encode(questions or words, words if questions else None, **settings)
        samples = out.get("overflow_to_sample_mapping") or range(len(words))
        encodings = out.encodings or []
        sequence = 0 if questions is None else 1
        out["bbox"] = [
            self._boxes(row, boxes[sample], sequence) for row, sample in zip(encodings, samples, strict=True)
        ]
        if labels is not None:
            out["labels"] = [self._labels(row, labels[sample]) for row, sample in zip(encodings, samples, strict=True)]
        if not batched and tensors is None and "overflow_to_sample_mapping" not in out:
            out.data = {key: value[0] for key, value in out.data.items()}
        return out.convert_to_tensors(tensors)

    def _boxes(self, row: Any, boxes: list[list[int]], sequence: int) -> list[list[int]]:
        option = self.init_kwargs.get
        special = {self.cls_token_id: option("cls_token_box"), self.sep_token_id: option("sep_token_box")}
        empty = option("pad_token_box") or [0, 0, 0, 0]
        return [
            boxes[word] if place == sequence and word is not None else special.get(index) or empty
            for index, word, place in zip(row.ids, row.word_ids, row.sequence_ids, strict=True)
        ]

    def _labels(self, row: Any, labels: list[int]) -> list[int]:
        """A word's label on its first token, or on all of them."""
        ignored, first_only = (
            self.init_kwargs.get("pad_token_label", -100),
            self.init_kwargs.get("only_label_first_subword"),
        )
        out, before = [], None
        for word in row.word_ids:
            out.append(ignored if word is None or (first_only and word == before) else labels[word])
            before = word
        return out

    def pad(self, encoded_inputs: Any, *args: Any, **settings: Any) -> BatchEncoding:
        """Bring encoded examples to one length, boxes and labels with them."""
        tensors = settings.pop("return_tensors", None)
        out = super().pad(encoded_inputs, *args, **settings)
        values = {
            "bbox": self.init_kwargs.get("pad_token_box") or [0, 0, 0, 0],
            "labels": self.init_kwargs.get("pad_token_label", -100),
        }
        side = settings.get("padding_side") or self.padding_side
        for key, value in values.items():
            if key in out and isinstance(out["input_ids"][0], list):
                rows = zip(out[key], out["input_ids"], strict=True)
                out[key] = [fill(list(row), len(ids) - len(row), value, side) for row, ids in rows]
        return out.convert_to_tensors(tensors)


def _check(words: list[Any], boxes: list[Any], labels: list[Any] | None) -> None:
    for name, given in (("boxes", boxes), ("word_labels", labels)):
        if given is None:
            continue
        if len(given) != len(words) or any(len(row) != len(own) for row, own in zip(words, given, strict=True)):
            raise TokenizerError(f"{name}: expected one for each word.", field=name)
