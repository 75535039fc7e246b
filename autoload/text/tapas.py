"""TAPAS's tokenizer: a question and a table, whose tokens know their column, their row and how their cell ranks."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

from autoload.errors import TokenizerError
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast
from autoload.text.padding import fill, pad_columns
from autoload.text.plan import Padding, resolve
from autoload.text.specials import as_list
from autoload.text.tables import Cell, Piece, Table, answers, costs, most_tokens, ranks, read, relations

EMPTY = ("", "n/a", "?", "nan")
LOWEST = -88.7  # the exponential of what lies below is beyond 32 bits
OWN = ("answer_coordinates", "answer_text")
UNAVAILABLE = ("is_split_into_words", "return_offsets_mapping", "return_overflowing_tokens")

log = logging.getLogger("autoload.text")


class TapasTokenizer(PreTrainedTokenizerFast):
    """BERT's tokenizer for questions about tables: seven token types, and rows dropped where a table is too long."""

    _plain_calls = False

    def _finish(self, settings: dict[str, Any]) -> None:
        limit = self.model_max_length
        self.cell_trim_length: int = -1 if settings.get("cell_trim_length") is None else settings["cell_trim_length"]
        self.max_column_id: int = limit if settings.get("max_column_id") is None else settings["max_column_id"]
        self.max_row_id: int = limit if settings.get("max_row_id") is None else settings["max_row_id"]
        self.strip_column_names = bool(settings.get("strip_column_names"))
        self.min_question_length: int | None = settings.get("min_question_length")
        self.max_question_length: int | None = settings.get("max_question_length")
        if settings.get("update_answer_coordinates"):
            raise TokenizerError(
                "update_answer_coordinates=True is not supported: pass the coordinates of answers.",
                field="update_answer_coordinates",
            )

    # -- calls ------------------------------------------------------------------------------------------------------

    def __call__(  # type: ignore[override]
        self,
        table: Any = None,
        queries: Any = None,
        answer_coordinates: Any = None,
        answer_text: Any = None,
        **settings: Any,
    ) -> BatchEncoding:
        """Turn a table and questions about it into model inputs.

        Args:
            table: a pandas DataFrame, or a dict from column names to lists of cells; every cell a text. A text or a
                list of texts stands for questions without a table.
            queries: one question, or a list of questions on the same table.
            answer_coordinates: (row, column) of each cell of the answer, from 0; a list of such lists for a list of
                questions. Makes labels, and tells each question of a list the answer to the one before.
            answer_text: the texts of these cells.
            settings: as of other tokenizers; `truncation` is True or "drop_rows_to_fit", or False.

        Raises:
            TokenizerError: no table, cells that are no texts, or a table that does not fit.
        """
        if answer_coordinates is not None or answer_text is not None:
            settings.update(answer_coordinates=answer_coordinates, answer_text=answer_text)
        return super().__call__(table, queries, **settings)

    def encode(self, table: Any, query: Any = None, **settings: Any) -> Any:
        """Ids of a question and a table; keywords as in a call."""
        return self(table, query, **settings)["input_ids"]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **settings: Any
    ) -> list[str]:
        """Tokens of a text; of one that says nothing, the token for empty cells."""
        if not text:
            return []
        plain = " ".join(re.sub(r"\W+", " ", text.lower()).replace("_", " ").split())
        if text.lower().strip() in EMPTY or not plain:
            return [self._named["empty_token"]]
        return self._rust.encode(text, add_special_tokens=False).tokens

    def _own_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        own = {key: given.pop(key) for key in OWN if key in given}
        super()._own_arguments(given)
        return own

    def _encode(
        self,
        text: Any,
        pair: Any = None,
        *,
        answer_coordinates: Any = None,
        answer_text: Any = None,
        **settings: Any,
    ) -> BatchEncoding:
        for name in UNAVAILABLE:
            if settings.get(name):
                raise TokenizerError(f"{name} does not go with tables.", field=name)
        table, queries = read(text, pair)
        batched = isinstance(queries, (list, tuple))
        questions = [self._question(query) for query in (queries if batched else [queries])]
        given = answers(answer_coordinates, answer_text, len(questions), batched)
        pieces, room = self._pieces(table), settings.get("max_length")
        filled, cut = self._lengths(settings, batched)
        columns: dict[str, list[Any]] = {}
        for index, (question, tokens) in enumerate(questions):
            kept = self._fitting(table, pieces, len(tokens), room, cut)
            ids = self.convert_tokens_to_ids(tokens), self.convert_tokens_to_ids([piece.token for piece in kept])
            before = given[index - 1] if index else None
            row = self._row(table, question, ids, kept, before, given[index], settings)
            if room is not None and len(row["input_ids"]) > room:
                raise TokenizerError(
                    f"The question and the header take {len(row['input_ids'])} tokens, which is more than "
                    f"max_length={room}. Pass a larger max_length, or truncation=True to drop rows.",
                    field="max_length",
                )
            if room is None and settings.get("verbose", True):
                self._warn_if_long(len(row["input_ids"]), self.model_max_length)
            for key, value in row.items():
                columns.setdefault(key, []).append(value)
        if not questions:
            columns["input_ids"] = []
        wanted = settings.get("return_attention_mask")
        columns = self._filled(
            columns, filled, "attention_mask" in self.model_input_names if wanted is None else wanted
        )
        if settings.get("return_length"):
            columns["length"] = [len(row) for row in columns["input_ids"]]
        tensors = settings.get("return_tensors")
        if not batched and tensors is None:
            columns = {key: value[0] for key, value in columns.items()}
        return BatchEncoding(columns, tensor_type=tensors)

    def _question(self, query: Any) -> tuple[str, list[str]]:
        """A question and its tokens; nothing of one whose length is out of bounds."""
        if query is None:
            log.warning("TAPAS answers questions, and none was passed: what it finds will mean little.")
            query = ""
        if not isinstance(query, str):
            raise TokenizerError(f"queries holds {type(query).__name__}: expected texts.", field="queries")
        tokens = self.tokenize(query)
        most, least = self.max_question_length, self.min_question_length or 0
        if len(tokens) < least or (most is not None and len(tokens) > most):
            log.warning("A question of %d tokens is skipped: its length is out of bounds.", len(tokens))
            return "", []
        return query, tokens

    def _lengths(self, settings: dict[str, Any], batched: bool) -> tuple[Padding | None, bool]:
        """The padding of a call, and whether rows are dropped."""
        cut = getattr(settings.get("truncation"), "value", settings.get("truncation"))
        if cut not in (None, True, False, "drop_rows_to_fit", "do_not_truncate"):
            raise TokenizerError(
                f"truncation={cut!r}: expected True, False, 'drop_rows_to_fit' or 'do_not_truncate'.",
                field="truncation",
            )
        padding, room = settings.get("padding", False), settings.get("max_length")
        multiple = settings.get("pad_to_multiple_of")
        if padding is True and not batched:  # alone, an example has no longest one beside it
            padding = "max_length" if room is not None or multiple is not None else False
        filled, _ = resolve(self, padding, False, room, 0, multiple, settings.get("padding_side"))
        return filled, cut in (True, "drop_rows_to_fit")

    # -- tables -----------------------------------------------------------------------------------------------------

    def _pieces(self, table: Table) -> list[Piece]:
        """Tokens of the header and the cells, row by row."""
        header = ["" if self.strip_column_names else name for name in table.names]
        found = []
        for row, cells in enumerate([header, *table.rows]):
            for column, cell in enumerate(cells, 1):
                word = -1
                for place, token in enumerate(self.tokenize(cell)):
                    word = word if token.startswith("##") else place
                    found.append(Piece(token, column, row, word))
        return found

    def _fitting(self, table: Table, pieces: list[Piece], question: int, room: int | None, cut: bool) -> list[Piece]:
        """What stays of a table. Words are taken from the ends of cells first, and rows from the end where one word
        of each cell is still too much."""
        if len(table.names) >= self.max_column_id:
            raise TokenizerError(
                f"The table has {len(table.names)} columns, expected fewer than {self.max_column_id}.", field="table"
            )
        rows = len(table.rows)
        if not cut:
            if rows >= self.max_row_id:
                raise TokenizerError(
                    f"The table has {rows} rows, expected fewer than {self.max_row_id}. Pass truncation=True.",
                    field="table",
                )
            return pieces
        rows = min(rows, self.max_row_id - 1)
        budget = (self.model_max_length if room is None else room) - question - 2
        trim, words = self.cell_trim_length, most_tokens(pieces)
        words = min(words, trim) if trim >= 0 else words
        sums = [costs(pieces, kept + 1, len(table.rows)) for kept in range(words + 1)]
        while True:
            kept = next((kept for kept, cost in enumerate(sums) if cost[max(rows, 0)] > budget), words)
            if kept == words or (kept and trim < 0):
                break
            kept, rows = 0, rows - 1
            if rows < 1:
                break
        return [piece for piece in pieces if piece.row <= rows and piece.word < (kept or 1)]

    def _row(
        self,
        table: Table,
        question: str,
        ids: tuple[list[int], list[int]],
        kept: list[Piece],
        before: list[Cell] | None,
        answer: list[Cell] | None,
        settings: dict[str, Any],
    ) -> dict[str, Any]:
        """Columns of one question, not padded."""
        special = settings.get("add_special_tokens", True)
        start = len(ids[0]) + (2 if special else 0)
        places: dict[Cell, list[int]] = {}
        for place, piece in enumerate(kept, start):
            places.setdefault((piece.row - 1, piece.column - 1), []).append(place)
        length = start + len(kept)

        def spread(values: dict[Cell, Any], default: Any = 0) -> list[Any]:
            row = [default] * length
            for cell, value in values.items():
                for place in places.get(cell, ()):
                    row[place] = value
            return row

        def labels(cells: list[Cell]) -> list[int]:
            if missing := [cell for cell in cells if cell not in places or cell[0] < 0]:
                raise TokenizerError(
                    f"answer_coordinates: {missing[0]} is no cell with text of the table, as far as it is kept.",
                    field="answer_coordinates",
                )
            return spread(dict.fromkeys(cells, 1))

        data: dict[str, Any] = {"input_ids": self._template_ids(*ids) if special else [*ids[0], *ids[1]]}
        if answer is not None:
            data["labels"] = labels(answer)
            numbers = [
                ((row, column), value)
                for column, values in enumerate(table.quantities)
                for row, value in values.items()
                if isinstance(value, float)
            ]
            data["numeric_values"] = spread(dict(numbers), math.nan)
            sizes = {cell: float(len(at)) for cell, at in places.items() if cell[0] >= 0}
            data["numeric_values_scale"] = spread(sizes, 1.0)
        wanted = settings.get("return_token_type_ids")
        if "token_type_ids" in self.model_input_names if wanted is None else wanted:
            rising, falling = ranks(table)
            types = (
                [0] * start + [1] * len(kept),
                [0] * start + [piece.column for piece in kept],
                [0] * start + [piece.row for piece in kept],
                [0] * length if before is None else labels(before),
                spread(rising),
                spread(falling),
                spread(relations(table, question)),
            )
            data["token_type_ids"] = [list(kinds) for kinds in zip(*types, strict=True)]
        if settings.get("return_special_tokens_mask"):
            data["special_tokens_mask"] = self._template_mask(*ids) if special else [0] * length
        return data

    def _filled(self, columns: dict[str, Any], padding: Padding | None, want_mask: bool) -> dict[str, Any]:
        """Columns of rows brought to one length."""
        lengths = [len(row) for row in columns["input_ids"]]
        types = columns.pop("token_type_ids", None)
        columns = pad_columns(columns, "input_ids", padding, want_mask)
        if types is not None:
            columns["token_type_ids"] = types
        if padding is None:
            return columns
        target = padding.target(max(lengths, default=0))
        values = {
            "token_type_ids": [padding.pad_type_id] * 7,
            "labels": 0,
            "numeric_values": math.nan,
            "numeric_values_scale": 1.0,
        }
        for key, value in values.items():
            if key in columns:
                rows = zip(columns[key], lengths, strict=True)
                columns[key] = [fill(list(row), target - length, value, padding.side) for row, length in rows]
        return columns

    # -- answers ----------------------------------------------------------------------------------------------------

    def convert_logits_to_predictions(
        self, data: Any, logits: Any, logits_agg: Any = None, cell_classification_threshold: float = 0.5
    ) -> tuple[Any, ...]:
        """The cells that a model chose.

        Args:
            data: what the tokenizer gave, as tensors of a batch.
            logits: of tokens, (batch, seq).
            logits_agg: of aggregations, (batch, aggregations).
            cell_classification_threshold: how probable a cell must be, as the mean of its tokens.

        Returns:
            (row, column) of the chosen cells by example; with `logits_agg` also the index of each aggregation.
        """
        chosen = []
        batch = zip(*(as_list(data[key]) for key in ("token_type_ids", "attention_mask")), as_list(logits), strict=True)
        for types, mask, scores in batch:
            cells: dict[Cell, list[float]] = {}
            for (segment, column, row, *_), seen, score in zip(types, mask, scores, strict=True):
                if segment == 1 and column > 0 and row > 0:
                    probability = seen / (1 + math.exp(-max(score, LOWEST)))
                    cells.setdefault((row - 1, column - 1), []).append(probability)
            means = {cell: sum(values) / len(values) for cell, values in cells.items()}
            chosen.append(sorted(cell for cell, mean in means.items() if mean > cell_classification_threshold))
        if logits_agg is None:
            return (chosen,)
        return chosen, [max(range(len(row)), key=row.__getitem__) for row in as_list(logits_agg)]
