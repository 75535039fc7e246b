"""Tables as TAPAS takes them: cells and their quantities, what is asked about them, and what of them fits."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

from autoload.errors import TokenizerError
from autoload.text.quantities import Quantity, column_quantities, comparison, quantities

Cell = tuple[int, int]  # row and column, from 0


class Table(NamedTuple):
    """A table: names of columns, rows of cells, and the quantities of each column by row."""

    names: list[str]
    rows: list[list[str]]
    quantities: list[dict[int, Quantity]]


class Piece(NamedTuple):
    """A token of a table. Columns count from 1; row 0 is the header. `word` is where its word begins in the cell."""

    token: str
    column: int
    row: int
    word: int


def read(table: Any, queries: Any) -> tuple[Table, Any]:
    """A table with its quantities, and the questions; texts in place of a table are questions.

    Raises:
        TokenizerError: neither a table nor questions, or cells that are no texts.
    """
    if hasattr(table, "itertuples") and hasattr(table, "columns"):
        names, rows = list(table.columns), [list(row) for row in table.itertuples(index=False, name=None)]
    elif isinstance(table, dict):
        names, cells = list(table), [list(column) for column in table.values()]
        if len({len(column) for column in cells}) > 1:
            raise TokenizerError(
                f"table: its columns have {[*map(len, cells)]} cells, expected one number.", field="table"
            )
        rows = [list(row) for row in zip(*cells, strict=True)]
    elif queries is None and isinstance(table, (str, list, tuple)):
        return Table([], [], []), table
    else:
        raise TokenizerError(
            f"table is {type(table).__name__}: expected a DataFrame, or a dict from column names to lists of texts.",
            field="table",
        )
    for row in [names, *rows]:
        for cell in row:
            if not isinstance(cell, str):
                raise TokenizerError(
                    f"table holds {cell!r:.40}, expected texts: convert it with `.astype(str)` or str().", field="table"
                )
    return Table(names, rows, [column_quantities([row[place] for row in rows]) for place in range(len(names))]), queries


def answers(coordinates: Any, texts: Any, count: int, batched: bool) -> list[list[Cell] | None]:
    """The cells of each question's answer."""
    if bool(coordinates) != bool(texts):
        raise TokenizerError("Answers need both answer_coordinates and answer_text.", field="answer_coordinates")
    if coordinates is None or texts is None:
        return [None] * count
    rows = coordinates if batched else [coordinates]
    try:
        cells: list[list[Cell] | None] = [[(int(row), int(column)) for row, column in answer] for answer in rows]
    except (TypeError, ValueError) as e:
        raise TokenizerError(
            f"answer_coordinates={coordinates!r:.80}: expected (row, column) of each cell, in a list for each question.",
            field="answer_coordinates",
        ) from e
    if len(cells) != count:
        raise TokenizerError(
            f"answer_coordinates has {len(cells)} rows for {count} questions.", field="answer_coordinates"
        )
    return cells


def most_tokens(pieces: list[Piece]) -> int:
    """Tokens of the longest cell."""
    counts: dict[Cell, int] = {}
    for piece in pieces:
        counts[piece.row, piece.column] = counts.get((piece.row, piece.column), 0) + 1
    return max(counts.values(), default=0)


def costs(pieces: list[Piece], words: int, rows: int) -> list[int]:
    """Tokens of the header and the first rows, by the number of rows, with words that begin below `words`."""
    counts = [0] * (rows + 1)
    for piece in pieces:
        counts[piece.row] += piece.word < words
    return list(accumulate(counts))


def ranks(table: Table) -> tuple[dict[Cell, int], dict[Cell, int]]:
    """The rank of each cell in its column, from 1, counted from the least and from the greatest."""
    rising, falling = {}, {}
    for column, values in enumerate(table.quantities):
        if not values or (key := comparison(values.values())) is None:
            continue
        order = sorted({key(value) for value in values.values()})  # type: ignore[type-var]
        place = {value: rank for rank, value in enumerate(order)}
        for row, value in values.items():
            rank = place[key(value)]
            rising[row, column], falling[row, column] = rank + 1, len(order) - rank
    return rising, falling


def relations(table: Table, question: str) -> dict[Cell, int]:
    """How quantities of the question relate to each cell: bits for equal, less and greater."""
    found: dict[Cell, int] = {}
    for asked in quantities(question):
        for column, values in enumerate(table.quantities):
            if not values or (key := comparison([*values.values(), asked])) is None:
                continue
            for row, value in values.items():
                left, right = key(asked), key(value)
                bit = 1 if left == right else 2 if left < right else 4  # type: ignore[operator]
                found[row, column] = found.get((row, column), 0) | bit
    return found
