"""`tokenizer.pad`: encoded examples brought to one length, as data collators need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoload.errors import TokenizerError
from autoload.text.encoding import BatchEncoding
from autoload.text.plan import Padding, choose_padding, padding_of
from autoload.text.specials import as_list


def pad_examples(
    tokenizer: Any,
    examples: Any,
    padding: Any,
    max_length: int | None,
    multiple: int | None,
    side: str | None,
    want_mask: bool,
    return_tensors: Any,
) -> BatchEncoding:
    """See `PreTrainedTokenizerBase.pad`."""
    if isinstance(examples, (list, tuple)) and examples and isinstance(examples[0], Mapping):
        examples = {key: [example[key] for example in examples] for key in examples[0]}
    main = tokenizer.model_input_names[0]
    if not isinstance(examples, Mapping) or main not in examples:
        found = sorted(examples) if isinstance(examples, Mapping) else type(examples).__name__
        raise TokenizerError(f"pad() needs {main!r} in its examples, found {found}.", field=main)
    examples = dict(examples)
    rows = examples[main]
    if rows is None or (hasattr(rows, "__len__") and len(rows) == 0):
        if want_mask:
            examples["attention_mask"] = []
        return BatchEncoding(examples)
    kind = return_tensors if return_tensors is not None else _tensor_kind(rows)
    data = {key: _plain(value) for key, value in examples.items()}
    how = choose_padding(padding)
    single = not isinstance(data[main][0], (list, tuple))
    if single:
        data = {key: [value] for key, value in data.items()}
    length = _length(how, max_length, data[main], tokenizer.model_max_length)
    filled = None if how == "do_not_pad" else padding_of(tokenizer, length, multiple, side)
    data = pad_columns(data, main, filled, want_mask)
    if single:
        data = {key: value[0] for key, value in data.items()}
    return BatchEncoding(data, tensor_type=kind)


def pad_columns(data: dict[str, list[Any]], main: str, padding: Padding | None, want_mask: bool) -> dict[str, Any]:
    """Columns of rows, those that have a pad value brought to one length; the others pass through."""
    lengths = [len(row) for row in data[main]]
    if want_mask and "attention_mask" not in data:
        data["attention_mask"] = [[1] * length for length in lengths]
    if padding is None:
        return data
    target = padding.target(max(lengths, default=0))
    values = {
        main: padding.pad_id,
        "attention_mask": 0,
        "token_type_ids": padding.pad_type_id,
        "special_tokens_mask": 1,
        "offset_mapping": (0, 0),
    }
    for key, value in values.items():
        if key in data and (key != "attention_mask" or want_mask):
            rows = zip(data[key], lengths, strict=True)
            data[key] = [fill(list(row), target - length, value, padding.side) for row, length in rows]
    return data


def fill(row: list[Any], missing: int, value: Any, side: str) -> list[Any]:
    """A row with `missing` values more on one side."""
    if missing <= 0:
        return row
    return row + [value] * missing if side == "right" else [value] * missing + row


def _length(how: str, max_length: int | None, rows: list[Any], limit: int) -> int | None:
    if how != "max_length":
        return None
    if max_length is None:
        raise TokenizerError("padding='max_length' needs max_length here.", field="max_length")
    return max_length


def _tensor_kind(rows: Any) -> str | None:
    """The kind of tensor that rows are made of; tensors come back as they went in."""
    first = rows[0] if isinstance(rows, (list, tuple)) else rows
    module = type(first).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np", "mlx": "mlx"}.get(module)


def _plain(value: Any) -> Any:
    value = as_list(value)
    return [as_list(row) for row in value] if isinstance(value, (list, tuple)) else value
