"""Ids without text: truncation, template and padding in Python, for engines that are not Rust, and for old calls."""

from __future__ import annotations

from typing import Any

from autoload.errors import TokenizerError
from autoload.text.padding import pad_columns
from autoload.text.plan import Choice, Count, resolve


def frame_ids(
    tokenizer: Any,
    first: list[int],
    second: list[int] | None,
    *,
    add_special_tokens: bool = True,
    truncation: Any = None,
    stride: int = 0,
    max_length: Count = None,
    padding: Any = False,
    padding_side: str | None = None,
    pad_to_multiple_of: Count = None,
    return_attention_mask: Choice = None,
    return_token_type_ids: Choice = None,
    return_special_tokens_mask: bool = False,
    return_overflowing_tokens: bool = False,
    return_length: bool = False,
) -> dict[str, Any]:
    """One example, from the ids of its texts."""
    filled, cut = resolve(tokenizer, padding, truncation, max_length, stride, pad_to_multiple_of, padding_side)
    names = tokenizer.model_input_names
    special = tokenizer.num_special_tokens_to_add(second is not None) if add_special_tokens else 0
    excess = len(first) + len(second or []) + special
    data: dict[str, Any] = {}
    overflowing: list[int] = []
    if cut is not None and (excess := excess - cut.max_length) > 0:
        first, second, overflowing = cut_ids(first, second, excess, cut.strategy, cut.stride, cut.direction)
    if add_special_tokens:
        ids, types = tokenizer._template_ids(first, second), tokenizer._template_types(first, second)
        mask = tokenizer._template_mask(first, second)
    else:
        ids, types = first + (second or []), [0] * len(first) + [0] * len(second or [])
        mask = [0] * len(ids)
    data["input_ids"] = ids
    if "token_type_ids" in names if return_token_type_ids is None else return_token_type_ids:
        data["token_type_ids"] = types
    if return_special_tokens_mask:
        data["special_tokens_mask"] = mask
    if return_overflowing_tokens:
        data["overflowing_tokens"] = overflowing
        data["num_truncated_tokens"] = excess if cut is not None else 0
    want_mask = "attention_mask" in names if return_attention_mask is None else return_attention_mask
    columns = pad_columns(
        {key: [data[key]] for key in ("input_ids", "token_type_ids", "special_tokens_mask") if key in data},
        "input_ids",
        filled,
        want_mask,
    )
    data.update({key: value[0] for key, value in columns.items()})
    if return_length:
        data["length"] = len(data["input_ids"])
    return data


def cut_ids(
    first: list[int], second: list[int] | None, excess: int, strategy: str, stride: int, side: str
) -> tuple[list[int], list[int] | None, list[int]]:
    """The ids of one or two texts less `excess`, and what was taken away, with `stride` ids more."""
    if excess <= 0 or strategy == "do_not_truncate":
        return first, second, []
    if strategy == "longest_first" and second is not None:
        level = min(abs(len(first) - len(second)), excess)  # from the longer text, until both are as long
        rest = excess - level
        from_first, from_second = rest // 2, rest - rest // 2
        if len(first) > len(second):
            from_first += level
        else:
            from_second += level
        return _keep(first, from_first, side), _keep(second, from_second, side), []
    if strategy == "only_second":
        if second is None:
            raise TokenizerError("truncation='only_second' needs a second text.", field="truncation")
        return first, _keep(second, excess, side), _taken(second, excess, stride, side)
    return _keep(first, excess, side), second, _taken(first, excess, stride, side)


def _keep(ids: list[int], removed: int, side: str) -> list[int]:
    return ids[removed:] if side == "left" else ids[: max(0, len(ids) - removed)]


def _taken(ids: list[int], removed: int, stride: int, side: str) -> list[int]:
    window = min(len(ids), stride + removed)
    return ids[:window] if side == "left" else ids[len(ids) - window :]
