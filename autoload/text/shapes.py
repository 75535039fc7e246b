"""RoCBert's tokenizer: BERT's, with the shape and the pronunciation of every token beside its id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoload.errors import ConfigError
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.padding import fill
from autoload.text.plan import Plan

TABLES = {"input_shape_ids": "word_shape.json", "input_pronunciation_ids": "word_pronunciation.json"}


class RoCBertTokenizer(PreTrainedTokenizerFast):
    """A tokenizer with two tables of token -> id more. What the template adds has the unknown token's entry there."""

    _plain_calls = False

    @classmethod
    def _from_files(cls, files: Any, with_json: Any, settings: dict[str, Any], given: dict[str, Any]) -> Any:
        tables = {key: files.json(name) for key, name in TABLES.items()}
        if missing := [TABLES[key] for key, table in tables.items() if table is None]:
            raise files.missing(missing, f"{cls.__name__} needs it")
        for key, table in tables.items():
            if not isinstance(table, dict) or "[UNK]" not in table:
                raise ConfigError("[UNK]", None, "an id", where=f"{files.where}/{TABLES[key]}")
        settings["tables"] = tables
        return super()._from_files(files, with_json, settings, given)

    def _finish(self, settings: dict[str, Any]) -> None:
        self._tables: dict[str, dict[str, int]] = settings.pop("tables")

    @property
    def word_shape(self) -> dict[str, int]:
        """Token -> id of its shape."""
        return self._tables["input_shape_ids"]

    @property
    def word_pronunciation(self) -> dict[str, int]:
        """Token -> id of its pronunciation."""
        return self._tables["input_pronunciation_ids"]

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        tables = {TABLES[key]: json.dumps(table, ensure_ascii=False) for key, table in self._tables.items()}
        return {**super()._saved_vocabulary(), **tables}

    def _encode_rows(self, rows: list[Any], plan: Plan, batched: bool) -> BatchEncoding:
        out = super()._encode_rows(rows, plan._replace(return_tensors=None, return_special_tokens_mask=True), batched)
        ids, special = out["input_ids"], out["special_tokens_mask"]
        nested = bool(ids) and isinstance(ids[0], list)
        for key, table in self._tables.items():
            found = [self._looked_up(*row, table) for row in zip(ids, special, strict=True)] if nested else None
            out[key] = self._looked_up(ids, special, table) if found is None else found
        if not plan.return_special_tokens_mask:
            del out["special_tokens_mask"]
        if plan.return_tensors is not None and not (batched or plan.return_overflowing_tokens):
            out.data = {key: [value] for key, value in out.items()}
        return out.convert_to_tensors(plan.return_tensors)

    def _looked_up(self, ids: list[int], special: list[int], table: Mapping[str, int]) -> list[int]:
        """Entries of a table for a row of ids; padding stays padding."""
        unknown, pad = table["[UNK]"], self.pad_token_id or 0
        tokens = self.convert_ids_to_tokens(ids)
        return [
            (pad if index == pad else unknown) if added else table.get(token, unknown)
            for index, token, added in zip(ids, tokens, special, strict=True)
        ]

    def pad(self, encoded_inputs: Any, *args: Any, **settings: Any) -> BatchEncoding:
        """Bring encoded examples to one length, shapes and pronunciations with them."""
        tensors = settings.pop("return_tensors", None)
        out = super().pad(encoded_inputs, *args, **settings)
        side = settings.get("padding_side") or self.padding_side
        for key in TABLES:
            if key in out and isinstance(out["input_ids"][0], list):
                rows = zip(out[key], out["input_ids"], strict=True)
                out[key] = [fill(list(row), len(ids) - len(row), self.pad_token_id, side) for row, ids in rows]
        return out.convert_to_tensors(tensors)
