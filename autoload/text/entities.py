"""LUKE's tokenizers: words with entities, each given as a span of characters and perhaps by its name.

Texts are cut at the borders of entities, so that every entity is whole tokens. Beside the ids of the text there are ids
of the entities, and the positions of each entity's tokens.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

from autoload.errors import ConfigError, TokenizerError, did_you_mean
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.ids import cut_ids, frame_ids
from autoload.text.padding import fill, pad_columns
from autoload.text.plan import Padding, Truncation, resolve

VOCABULARY = "entity_vocab.json"
NAMES = {
    "entity_unk_token": "[UNK]",
    "entity_pad_token": "[PAD]",
    "entity_mask_token": "[MASK]",
    "entity_mask2_token": "[MASK2]",
}
COUNTS = {"entity_classification": 1, "entity_pair_classification": 2}  # entities that a task takes
TASKS = (None, "entity_span_classification", *COUNTS)
OWN = ("entity_spans", "entity_spans_pair", "entities", "entities_pair", "max_entity_length")
Span = tuple[int, int]

log = logging.getLogger("autoload.text")


class Marked(NamedTuple):
    """Ids of a text, and its entities with the spans of their tokens."""

    ids: list[int]
    entities: list[int] | None = None
    spans: list[Span] = []


class EntityTokenizer(PreTrainedTokenizerFast):
    """A tokenizer of texts with entities. `task` says how many there are, and marks them in the text."""

    _plain_calls = False

    @classmethod
    def _from_files(cls, files: Any, with_json: Any, settings: dict[str, Any], given: dict[str, Any]) -> Any:
        names = {key: settings.pop(key, None) or text for key, text in NAMES.items()}
        marks = [
            settings.pop(old, None) or settings.pop(new, None) or text
            for old, new, text in (
                ("entity_token_1", "entity_1_token", "<ent>"),
                ("entity_token_2", "entity_2_token", "<ent2>"),
            )
        ]
        own = settings.pop("additional_special_tokens", None) or settings.get("extra_special_tokens") or []
        texts = [token["content"] if isinstance(token, dict) else str(token) for token in (*own, *marks)]
        settings["extra_special_tokens"] = list(dict.fromkeys(texts))
        vocab = files.json(VOCABULARY)
        if vocab is None:
            vocab = {name: index for index, name in enumerate(names.values())}
        for key, name in names.items():
            if not isinstance(vocab, dict) or name not in vocab:
                raise ConfigError(key, name, f"an entity of {VOCABULARY}", where=files.where)
        settings["entities"] = vocab, names, texts[len(own) :]
        return super()._from_files(files, with_json, settings, given)

    def _finish(self, settings: dict[str, Any]) -> None:
        self.entity_vocab, names, marks = settings.pop("entities")
        settings.update(names)
        settings.update(entity_token_1=marks[0], entity_token_2=marks[1])
        ids = [self.entity_vocab[name] for name in names.values()]
        self.entity_unk_token_id, self.entity_pad_token_id, self.entity_mask_token_id, self.entity_mask2_token_id = ids
        self.entity_mark_ids = self.convert_tokens_to_ids(marks)
        self.task = settings.get("task")
        if self.task not in TASKS:
            known = [task for task in TASKS if task]
            raise TokenizerError(
                f"task={self.task!r}: expected one of {', '.join(known)}{did_you_mean(str(self.task), known)}.",
                field="task",
            )
        self.max_entity_length: int = COUNTS.get(self.task or "", settings.get("max_entity_length") or 32)
        self.max_mention_length: int = settings.get("max_mention_length") or 30

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        entities = json.dumps(self.entity_vocab, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        return {**super()._saved_vocabulary(), VOCABULARY: entities}

    # -- calls ------------------------------------------------------------------------------------------------------

    def _own_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        own = {key: given.pop(key) for key in OWN if key in given}
        super()._own_arguments(given)
        return own

    def _encode(
        self,
        text: Any,
        pair: Any = None,
        *,
        entity_spans: Any = None,
        entity_spans_pair: Any = None,
        entities: Any = None,
        entities_pair: Any = None,
        max_entity_length: int | None = None,
        **settings: Any,
    ) -> BatchEncoding:
        parts: Any = text, entity_spans, entities, pair, entity_spans_pair, entities_pair
        if self.task is None and all(part is None for part in (*parts[1:3], *parts[4:])):
            return super()._encode(text, pair, **settings)
        for name in ("return_offsets_mapping", "is_split_into_words", "return_overflowing_tokens"):
            if settings.get(name):
                raise TokenizerError(f"{name} does not go with entities.", field=name)
        batched = isinstance(text, (list, tuple))
        if batched:
            for name, part in zip(("entity_spans", "entities", "text_pair"), parts[1:4], strict=True):
                if part is not None and len(part) != len(text):
                    raise TokenizerError(f"{name} has {len(part)} rows and text {len(text)}.", field=name)
        rows: list[Any] = (
            [[None if part is None else part[index] for part in parts] for index in range(len(text))]
            if batched
            else [parts]
        )
        keys = ("padding", "truncation", "max_length", "stride", "pad_to_multiple_of", "padding_side")
        defaults = (False, None, None, 0, None, None)
        filled, cut = resolve(self, *(settings.get(key, default) for key, default in zip(keys, defaults, strict=True)))
        limit = max_entity_length or self.max_entity_length
        columns: dict[str, list[Any]] = {}
        for row in rows:
            first, second = self._mark(*row[:3]), None if row[3] is None else self._mark(*row[3:])
            for key, value in self._row(first, second, cut, limit, settings).items():
                columns.setdefault(key, []).append(value)
        wanted = settings.get("return_attention_mask")
        wanted = "attention_mask" in self.model_input_names if wanted is None else wanted
        columns = self._filled(columns, filled, limit, wanted)
        if settings.get("return_length"):
            columns["length"] = [len(row) for row in columns["input_ids"]]
        tensors = settings.get("return_tensors")
        if not batched and tensors is None:
            columns = {key: value[0] for key, value in columns.items()}
        return BatchEncoding(columns, tensor_type=tensors)

    def _mark(self, text: str, spans: Any, names: Any) -> Marked:
        """A text's ids and entities, with the marks that the task wants."""
        if spans is None and self.task is None:
            return Marked(self._piece_ids(text))
        ids, places = self._cut(text, _checked(text, spans, names, COUNTS.get(self.task or "")))
        if self.task is None and names is not None:
            return Marked(ids, [self.entity_vocab.get(name, self.entity_unk_token_id) for name in names], places)
        masks = [self.entity_mask_token_id] * len(places)
        if self.task == "entity_pair_classification":
            masks[1] = self.entity_mask2_token_id
        return Marked(*self._with_marks(ids, places, masks)) if self.task in COUNTS else Marked(ids, masks, places)

    def _piece_ids(self, text: str) -> list[int]:
        return self._rust.encode(text, add_special_tokens=False).ids

    def _cut(self, text: str, spans: list[Span]) -> tuple[list[int], list[Span]]:
        """Ids of a text cut at the borders of spans, and the spans in tokens. A space goes with what follows it."""
        ids: list[int] = []
        place, at = 0, {}
        for border in sorted({border for span in spans for border in span}):
            cut = border - 1 if border and text[border - 1] == " " else border
            if cut != place:
                ids += self._piece_ids(text[place:cut])
                place = cut
            at[border] = len(ids)
        ids += self._piece_ids(text[place:])
        return ids, [(at[start], at[end]) for start, end in spans]

    def _with_marks(
        self, ids: list[int], spans: list[Span], masks: list[int]
    ) -> tuple[list[int], list[int], list[Span]]:
        """The ids with a mark on either side of each entity, and the spans with their marks; the last span first."""
        ids, places = list(ids), list(spans)
        order = sorted(range(len(spans)), key=lambda index: (spans[index][0], -index))
        for before, index in reversed(list(enumerate(order))):
            start, end = spans[index]
            mark = self.entity_mark_ids[index]
            ids[end:end] = [mark]
            ids[start:start] = [mark]
            places[index] = (start + 2 * before, end + 2 * before + 2)
        return ids, masks, places

    def _row(
        self, first: Marked, second: Marked | None, cut: Truncation | None, limit: int, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """Columns of one example, not padded."""
        special = settings.get("add_special_tokens", True)
        ids, other = first.ids, None if second is None else second.ids
        if cut is not None:
            excess = len(ids) + len(other or []) - cut.max_length
            excess += self.num_special_tokens_to_add(other is not None) if special else 0
            ids, other, _ = cut_ids(ids, other, excess, cut.strategy, cut.stride, cut.direction)
        data = frame_ids(
            self,
            ids,
            other,
            add_special_tokens=special,
            return_attention_mask=False,  # the batch makes it, after padding
            return_token_type_ids=settings.get("return_token_type_ids"),
            return_special_tokens_mask=bool(settings.get("return_special_tokens_mask")),
        )
        if first.entities is None and (second is None or second.entities is None):
            return data
        offsets = (1, len(ids) + 3) if special else (0, len(ids))
        kept = [_within(first, len(ids)), _within(second, len(other or []))]
        if cut is not None and (excess := sum(len(names) for names, _ in kept) - limit) > 0:
            names, more, _ = cut_ids(kept[0][0], kept[1][0] if second else None, excess, cut.strategy, 0, "right")
            kept = [(names, kept[0][1][: len(names)]), (more or [], kept[1][1][: len(more or [])])]
        spans = [
            (start + offset, end + offset)
            for (_, places), offset in zip(kept, offsets, strict=True)
            for start, end in places
        ]
        data["entity_ids"] = kept[0][0] + kept[1][0]
        size = self.max_mention_length
        data["entity_position_ids"] = [
            fill(list(range(*span))[:size], size - span[1] + span[0], -1, "right") for span in spans
        ]
        if self.task == "entity_span_classification":
            data["entity_start_positions"] = [start for start, _ in spans]
            data["entity_end_positions"] = [end - 1 for _, end in spans]
        if "token_type_ids" in data:
            data["entity_token_type_ids"] = [0] * len(spans)
        return data

    # -- padding ----------------------------------------------------------------------------------------------------

    def _filled(self, columns: dict[str, Any], padding: Padding | None, limit: int, want_mask: bool) -> dict[str, Any]:
        """Columns of rows brought to one length, those of entities to a length of theirs."""
        columns = pad_columns(columns, "input_ids", padding, want_mask)
        if "entity_ids" not in columns:
            return columns
        lengths = [len(row) for row in columns["entity_ids"]]
        if want_mask and "entity_attention_mask" not in columns:
            columns["entity_attention_mask"] = [[1] * length for length in lengths]
        if padding is None:
            return columns
        target = padding._replace(length=None if padding.length is None else limit).target(max(lengths, default=0))
        values = {
            "entity_ids": self.entity_pad_token_id,
            "entity_position_ids": [-1] * self.max_mention_length,
            "entity_start_positions": 0,
            "entity_end_positions": 0,
            "entity_token_type_ids": 0,
            "entity_attention_mask": 0,
        }
        for key, value in values.items():
            if key in columns:
                rows = zip(columns[key], lengths, strict=True)
                columns[key] = [fill(list(row), target - length, value, padding.side) for row, length in rows]
        return columns

    def pad(
        self, encoded_inputs: Any, *args: Any, max_entity_length: int | None = None, **settings: Any
    ) -> BatchEncoding:
        """Bring encoded examples to one length, and their entities to one number."""
        tensors = settings.pop("return_tensors", None)
        out = super().pad(encoded_inputs, *args, **settings)
        padding = settings.get("padding", args[0] if args else True)
        rows = out.data.get("entity_ids")
        if rows is None or padding is False or not isinstance(out["input_ids"][0], list):
            return out.convert_to_tensors(tensors)
        length = 0 if getattr(padding, "value", padding) == "max_length" else None
        side = settings.get("padding_side") or self.padding_side
        filled = Padding(
            length, settings.get("pad_to_multiple_of"), side, self.pad_token_id or 0, 0, self.pad_token or ""
        )
        own = {key: value for key, value in out.items() if key.startswith("entity_")}
        own = self._filled(
            {"input_ids": [[] for _ in rows], **own},
            filled,
            max_entity_length or self.max_entity_length,
            "attention_mask" in out,
        )
        out.data.update({key: value for key, value in own.items() if key.startswith("entity_")})
        return out.convert_to_tensors(tensors)


def _within(marked: Marked | None, length: int) -> tuple[list[int], list[Span]]:
    """Entities and spans whose tokens truncation left."""
    if marked is None or marked.entities is None:
        return [], []
    kept = [(name, span) for name, span in zip(marked.entities, marked.spans, strict=True) if span[1] <= length]
    if len(kept) < len(marked.spans):
        log.warning("%d entities are left out: truncation took their tokens.", len(marked.spans) - len(kept))
    return [name for name, _ in kept], [span for _, span in kept]


def _checked(text: str, spans: Any, names: Any, count: int | None) -> list[Span]:
    """The spans, if they are any.

    Raises:
        TokenizerError: there is one, or another number of them than the task or the names ask for.
    """
    expected = "a list of (start, end) in characters" if count is None else f"{count} of (start, end) in characters"
    right = isinstance(spans, (list, tuple)) and all(
        isinstance(span, (list, tuple)) and len(span) == 2 and 0 <= span[0] <= span[1] <= len(text) for span in spans
    )
    if not right or (count is not None and len(spans) != count):
        raise TokenizerError(f"entity_spans={spans!r}: expected {expected} of the text.", field="entity_spans")
    if names is not None and (isinstance(names, str) or len(names) != len(spans)):
        raise TokenizerError(f"entities={names!r}: expected a name for each of {len(spans)} spans.", field="entities")
    return [(start, end) for start, end in spans]
