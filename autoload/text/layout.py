"""Tokenizers of documents and of web pages: words with boxes, or with places in a page, so that every token has one."""

from __future__ import annotations

from typing import Any

from autoload.errors import TokenizerError
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.padding import fill

NOWHERE = "/document/node"  # the place of words that come without one


class PlacedTokenizer(PreTrainedTokenizerFast):
    """A tokenizer of words with places. With a question, that is the first text and the words are the second."""

    _plain_calls = False
    places_name = "boxes"  # keywords of calls
    labels_name = "word_labels"

    def _columns(self, row: Any, places: list[Any], sequence: int) -> dict[str, list[Any]]:
        """What each token of a row gets of the places of its words; those are the text number `sequence`."""
        raise NotImplementedError

    def _pad_values(self) -> dict[str, Any]:
        """What padding has in each column."""
        raise NotImplementedError

    def _option(self, name: str) -> Any:
        """A setting of the files or of the caller, else the class's."""
        return self.init_kwargs.get(name, self.recipe.defaults.get(name))

    def _own_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        own = {key: given.pop(key) for key in (self.places_name, self.labels_name) if key in given}
        super()._own_arguments(given)
        return own

    def _encode(self, text: Any, pair: Any = None, **settings: Any) -> BatchEncoding:
        places, labels = settings.pop(self.places_name, None), settings.pop(self.labels_name, None)
        if places is None:
            return super()._encode(text, pair, **settings)
        batched = isinstance(text[0], (list, tuple)) if pair is None else isinstance(text, (list, tuple))
        rows = list(text) if batched else [text]
        questions = None if pair is None else [self._question(question) for question in rows]
        words: list[Any] = rows if pair is None else (list(pair or ()) if batched else [pair])
        places, labels = (places, labels) if batched else ([places], None if labels is None else [labels])
        self._check(words, places, labels)
        tensors, settings["is_split_into_words"] = settings.pop("return_tensors", None), True
        out = super()._encode(questions or words, words if questions else None, **settings)
        samples = out.get("overflow_to_sample_mapping") or range(len(words))
        sequence = 0 if questions is None else 1
        for row, sample in zip(out.encodings or [], samples, strict=True):
            columns = self._columns(row, places[sample], sequence)
            if labels is not None:
                columns["labels"] = self._labels(row, labels[sample], sequence)
            for key, value in columns.items():
                out.data.setdefault(key, []).append(value)
        if not batched and tensors is None and "overflow_to_sample_mapping" not in out:
            out.data = {key: value[0] for key, value in out.data.items()}
        return out.convert_to_tensors(tensors)

    def _question(self, text: str) -> list[str]:
        """Words of a question."""
        return text.split()

    def _labels(self, row: Any, labels: list[int], sequence: int) -> list[int]:
        """A word's label on its first token, or on all of them."""
        ignored, first_only = self._option("pad_token_label"), self._option("only_label_first_subword")
        out, before = [], None
        for word, place in zip(row.word_ids, row.sequence_ids, strict=True):
            if word is None or place != sequence or (first_only and word == before):
                out.append(ignored)
            else:
                out.append(labels[word])
            before = word if place == sequence else None
        return out

    def _check(self, words: list[Any], places: list[Any], labels: list[Any] | None) -> None:
        for name, given in ((self.places_name, places), (self.labels_name, labels)):
            if given is None:
                continue
            if len(given) != len(words) or any(len(row) != len(own) for row, own in zip(words, given, strict=True)):
                raise TokenizerError(f"{name}: expected one for each word.", field=name)

    def pad(self, encoded_inputs: Any, *args: Any, **settings: Any) -> BatchEncoding:
        """Bring encoded examples to one length, places and labels with them."""
        tensors = settings.pop("return_tensors", None)
        out = super().pad(encoded_inputs, *args, **settings)
        values = {**self._pad_values(), "labels": self._option("pad_token_label")}
        side = settings.get("padding_side") or self.padding_side
        for key, value in values.items():
            if key in out and isinstance(out["input_ids"][0], list):
                rows = zip(out[key], out["input_ids"], strict=True)
                out[key] = [fill(list(row), len(ids) - len(row), value, side) for row, ids in rows]
        return out.convert_to_tensors(tensors)


class LayoutTokenizer(PlacedTokenizer):
    """A tokenizer of words and boxes: every token has the box of its word."""

    def _columns(self, row: Any, places: list[Any], sequence: int) -> dict[str, list[Any]]:
        special = {
            self.cls_token_id: self._option("cls_token_box"),
            self.sep_token_id: self._option("sep_token_box"),
        }
        empty = self._pad_values()["bbox"]
        boxes = [
            places[word] if place == sequence and word is not None else special.get(index) or empty
            for index, word, place in zip(row.ids, row.word_ids, row.sequence_ids, strict=True)
        ]
        return {"bbox": boxes}

    def _pad_values(self) -> dict[str, Any]:
        return {"bbox": self._option("pad_token_box")}


class MarkupTokenizer(PlacedTokenizer):
    """A tokenizer of the texts of a web page and their XPaths: every token has the tags, and their numbers, of its text."""

    places_name = "xpaths"
    labels_name = "node_labels"

    def _finish(self, settings: dict[str, Any]) -> None:
        self.tags_dict: dict[str, int] = settings.setdefault("tags_dict", {})
        self.max_depth: int = settings.setdefault("max_depth", 50)
        self.max_width: int = settings.setdefault("max_width", 1000)
        self.pad_width: int = settings.setdefault("pad_width", 1001)
        self.unk_tag_id = len(self.tags_dict)
        self.pad_tag_id = self.unk_tag_id + 1

    def _encode(self, text: Any, pair: Any = None, **settings: Any) -> BatchEncoding:
        if settings.get("xpaths") is None and not settings.get("is_split_into_words"):
            nodes = _split(text if pair is None else pair)
            text, pair = (nodes, None) if pair is None else (text, nodes)
            batched = bool(nodes) and isinstance(nodes[0], list)
            settings["xpaths"] = [[NOWHERE] * len(row) for row in nodes] if batched else [NOWHERE] * len(nodes)
        return super()._encode(text, pair, **settings)

    def _question(self, text: Any) -> list[str]:
        return [text] if isinstance(text, str) else list(text)

    def get_xpath_seq(self, xpath: str) -> tuple[list[int], list[int]]:
        """Ids of the tags of a path, and the number of each among its like; both filled up to the greatest depth.

        Raises:
            TokenizerError: a step of the path that is no tag, or tag[number].
        """
        tags, numbers = [], []
        for step in filter(None, map(str.strip, xpath.split("/"))):
            tag, bracket, number = step.partition("[")
            if bracket and not (number.endswith("]") and number[:-1].isdigit()):
                raise TokenizerError(f"xpaths: {step!r} of {xpath!r} is no tag, or tag[number].", field="xpaths")
            tags.append(self.tags_dict.get(tag, self.unk_tag_id))
            numbers.append(min(self.max_width, int(number[:-1]) if bracket else 0))
        missing = self.max_depth - len(tags)
        tags, numbers = tags[: self.max_depth], numbers[: self.max_depth]
        return fill(tags, missing, self.pad_tag_id, "right"), fill(numbers, missing, self.pad_width, "right")

    def _columns(self, row: Any, places: list[Any], sequence: int) -> dict[str, list[Any]]:
        known = [self.get_xpath_seq(path) for path in places]
        none = tuple(self._pad_values().values())
        pairs = [
            known[word] if place == sequence and word is not None else none
            for word, place in zip(row.word_ids, row.sequence_ids, strict=True)
        ]
        return {"xpath_tags_seq": [tags for tags, _ in pairs], "xpath_subs_seq": [numbers for _, numbers in pairs]}

    def _pad_values(self) -> dict[str, Any]:
        return {
            "xpath_tags_seq": [self.pad_tag_id] * self.max_depth,
            "xpath_subs_seq": [self.pad_width] * self.max_depth,
        }


def _split(nodes: Any) -> list[Any]:
    """Words of a text, or of a batch of texts; texts that are words already stay as they are."""
    if isinstance(nodes, str):
        return nodes.split()
    if nodes and isinstance(nodes[0], str):
        return [text.split() for text in nodes] if any(" " in text for text in nodes) else list(nodes)
    return [list(row) for row in nodes]
