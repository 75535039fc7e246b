"""Rows of one call through the Rust pipeline: ids now, complete encodings only when someone looks."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from autoload.errors import TokenizerError
from autoload.text.padding import fill
from autoload.text.plan import Plan


class Rows:
    """The encoded rows of a call."""

    def __init__(self, rust: Tokenizer, rows: list[Any], plan: Plan):
        self.rust, self.rows, self.plan = rust, rows, plan
        self.complete = plan.return_offsets_mapping
        if plan.truncation is not None and plan.truncation.stride:
            self._check_stride()
        self.encoded = self._run(complete=self.complete)
        self.pieces, self.samples = self._flatten(self.encoded)
        if plan.padding is None:
            self.target = 0
        else:
            self.target = plan.padding.target(max((len(row) for row in self.pieces), default=0))

    def _run(self, complete: bool) -> list[Any]:
        encode = self.rust.encode_batch if complete else self.rust.encode_batch_fast
        plan = self.plan
        try:
            return encode(
                self.rows, is_pretokenized=plan.is_split_into_words, add_special_tokens=plan.add_special_tokens
            )
        except TypeError as e:
            raise TokenizerError(
                f"Cannot encode {_culprit(self.rows)}: expected texts, or pairs of texts.", field="text"
            ) from e
        except BaseException as e:
            if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
                raise  # KeyboardInterrupt, SystemExit
            raise _refusal(e, plan) from e

    def _flatten(self, encoded: list[Any]) -> tuple[list[Any], list[int]]:
        """Rows with the pieces that overflowed, where asked for, and which row each comes from."""
        if not self.plan.return_overflowing_tokens:
            return encoded, []
        pieces: list[Any] = []
        samples: list[int] = []
        for index, row in enumerate(encoded):
            overflowing = row.overflowing
            pieces += [row, *overflowing]
            samples += [index] * (1 + len(overflowing))
        return pieces, samples

    def columns(self, names: list[str]) -> dict[str, list[Any]]:
        """Lists by input name, padded, in the order that callers know."""
        plan, pieces = self.plan, self.pieces
        ids = [row.ids for row in pieces]
        lengths = [len(row) for row in ids]
        pad_id, pad_type = (plan.padding.pad_id, plan.padding.pad_type_id) if plan.padding else (0, 0)
        data = {"input_ids": self._filled(ids, lengths, pad_id)}
        if plan.return_token_type_ids:
            data["token_type_ids"] = self._filled([row.type_ids for row in pieces], lengths, pad_type)
        if plan.return_attention_mask:
            data["attention_mask"] = self._filled([[1] * length for length in lengths], lengths, 0)
        if plan.return_special_tokens_mask:
            data["special_tokens_mask"] = self._filled([row.special_tokens_mask for row in pieces], lengths, 1)
        if plan.return_offsets_mapping:
            data["offset_mapping"] = self._filled([row.offsets for row in pieces], lengths, (0, 0))
        if plan.return_length:
            data["length"] = [max(length, self.target) for length in lengths]
        if plan.return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = self.samples
        return data

    def _filled(self, rows: list[Any], lengths: list[int], value: Any) -> list[Any]:
        padding = self.plan.padding
        if padding is None:
            return rows
        return [fill(row, self.target - length, value, padding.side) for row, length in zip(rows, lengths, strict=True)]

    def encodings(self) -> list[Any]:
        """Complete encodings, padded as the columns are.

        Raises:
            TokenizerError: the tokenizer was changed since the call, and would encode otherwise now.
        """
        pieces = self.pieces
        if not self.complete:
            pieces, _ = self._flatten(self._run(complete=True))
            if [row.ids for row in pieces] != [row.ids for row in self.pieces]:
                raise TokenizerError(
                    "The tokenizer was changed after this call; ask for return_offsets_mapping=True in the call.",
                    field="encodings",
                )
        padding = self.plan.padding
        if padding is not None:
            for row in pieces:
                row.pad(
                    self.target,
                    direction=padding.side,
                    pad_id=padding.pad_id,
                    pad_type_id=padding.pad_type_id,
                    pad_token=padding.pad_token,
                )
        return pieces

    def _check_stride(self) -> None:
        """The pipeline would panic where a pair leaves less room than the stride; say so before."""
        cut = self.plan.truncation
        assert cut is not None
        if not self.rows or not isinstance(self.rows[0], tuple) or cut.strategy == "only_first":
            return
        special = self.rust.num_special_tokens_to_add(True) if self.plan.add_special_tokens else 0
        room = cut.max_length - special
        whole = Tokenizer(self.rust.model)
        for part in ("normalizer", "pre_tokenizer"):
            if (value := getattr(self.rust, part)) is not None:
                setattr(whole, part, value)
        added = self.rust.get_added_tokens_decoder()
        whole.add_tokens([added[index] for index in sorted(added)])
        for first, second in self.rows:
            sizes = [
                len(whole.encode(text, is_pretokenized=self.plan.is_split_into_words, add_special_tokens=False))
                for text in (first, second)
            ]
            if sum(sizes) <= room:
                continue
            for size, kept in zip(sizes, _shares(sizes, room, cut.strategy), strict=True):
                if size > kept and cut.stride >= kept:
                    raise TokenizerError(
                        f"stride={cut.stride} is not below {kept}, the tokens that max_length={cut.max_length} leaves "
                        "for one text of a pair: pieces would never advance. Lower stride or raise max_length.",
                        field="stride",
                    )


def _shares(sizes: list[int], room: int, strategy: str) -> list[int]:
    """How many tokens the pipeline's truncation leaves of each text of a pair."""
    first, second = sizes
    if strategy == "only_second":
        return [first, room - first]
    low, high = min(sizes), max(sizes)
    high = low if low > room else max(low, room - low)
    if low + high > room:
        low = room // 2
        high = low + room % 2
    return [low, high] if first <= second else [high, low]


def _culprit(rows: list[Any]) -> str:
    """What the pipeline could not take, in a few words."""
    for index, row in enumerate(rows):
        for text in row if isinstance(row, (list, tuple)) else (row,):
            if not isinstance(text, (str, list, tuple)):
                return f"row {index}, which holds {type(text).__name__}"
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
                return f"row {index}, which holds half of a surrogate pair"
    return "these rows"


def _refusal(error: BaseException, plan: Plan) -> TokenizerError:
    reason = " ".join(str(error).split())
    if "runcation" in reason or "stride" in reason:
        cut = plan.truncation
        settings = f"truncation={cut.strategy!r}, max_length={cut.max_length}, stride={cut.stride}" if cut else ""
        return TokenizerError(f"Cannot truncate with {settings}: {reason}.", field="truncation")
    return TokenizerError(f"Cannot encode these rows: {reason}.", field="text")
