"""Pieces of a transcription: cutting a window's text at its time stamps, and joining what was cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass
class Segment:
    """A piece of text between two time stamps, in seconds from the start of the recording."""

    tokens: Tensor
    start: Any = None
    end: Any = None
    idxs: tuple[int, int] = (0, 0)  # of its tokens in the output
    result: Any = None  # the output that it is of
    token_timestamps: Any = None

    def to_dict(self) -> dict[str, Any]:
        """The piece under the reference's names."""
        names = ("start", "end", "tokens", "idxs", "result")
        timed = {} if self.token_timestamps is None else {"token_timestamps": self.token_timestamps}
        return {name: getattr(self, name) for name in names} | timed


def split_window(
    tokens: Tensor,
    result: Any,
    *,
    offset: Tensor,
    first_stamp: int,
    frames: int,
    precisions: tuple[float, float],
    stride: int,
    given: int,
    timed: bool,
) -> tuple[list[Segment], int]:
    """The pieces of a window's text, and how many frames on the next window begins.

    A pair of stamps ends one piece and begins the next. The text after the last pair may be cut off by the window's end:
    it is left to the next window, unless a single stamp ends it.

    Args:
        tokens: of the window.
        result: what they are of.
        offset: when the window begins, in seconds.
        first_stamp: the token of the time 0.
        frames: of the window that are real.
        precisions: seconds of one stamp, and of one frame.
        stride: frames of one stamp.
        given: number of tokens before the text.
        timed: also give the times of tokens.
    """
    precision, of_frame = precisions
    stamped = (tokens >= first_stamp).tolist()
    single = stamped[-2:] == [False, True]
    cuts = [i + 1 for i in range(len(stamped) - 1) if stamped[i] and stamped[i + 1]]

    def piece(first: int, last: int, start: Any, end: Any) -> Segment:
        where = (given + first, given + last)
        times = result["token_timestamps"][where[0] : where[1]] + offset if timed else None
        return Segment(tokens[first:last], start, end, where, result, times)

    if not cuts:
        end: Any = int(frames * of_frame / precision)
        stamps = [i for i, is_stamp in enumerate(stamped) if is_stamp]
        if stamps and tokens[stamps[-1]] != first_stamp:
            end = (tokens[stamps[-1]] - first_stamp).double()
        return [piece(0, len(tokens), offset, offset + end * precision)], frames
    if single:
        cuts.append(len(tokens))
    else:
        cuts[-1] += 1
    pieces, first = [], 0
    for last in cuts:
        whole = single or last != cuts[-1]
        start, end = tokens[first] - first_stamp, tokens[last - (1 if whole else 2)] - first_stamp
        pieces.append(piece(first, last, offset + start.double() * precision, offset + end.double() * precision))
        first = last
    return pieces, frames if single else (int(tokens[first - 2]) - first_stamp) * stride


def joined(
    segments: list[Segment], most: int | None = None, before: Tensor | None = None, first_stamp: int | None = None
) -> Tensor:
    """The tokens of pieces, one after another.

    Args:
        segments: of one recording.
        most: keep that many last tokens.
        before: put these first.
        first_stamp: of two stamps that end a piece leave out the second; None keeps both.
    """
    parts = []
    for tokens in (segment.tokens for segment in segments):
        double = first_stamp is not None and len(tokens) > 2 and tokens[-2] >= first_stamp
        parts.append(tokens[:-1] if double else tokens)
    text = torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)
    if parts and most is not None:
        text = text[-most:]
    return text if before is None else torch.cat([before.to(text.device), text])


def padded(rows: list[Tensor], value: int | None, device: Any, left: bool = False) -> Tensor:
    """Rows of one length, (batch, length); `value` None repeats each row's last entry."""
    length = max(map(len, rows))
    out = []
    for row in rows:
        missing = length - len(row)
        fill = value if value is not None else (float(row[-1]) if len(row) else 0.0)
        out.append(pad(row.to(device), (missing, 0) if left else (0, missing), value=fill))
    return torch.stack(out)


def stacked(rows: list[dict[str, Any]]) -> Any:
    """One output from those of rows that were made by different calls."""
    from autoload.generation.outputs import GenerateEncoderDecoderOutput

    fields: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, Tensor):
            fields[name] = padded([row[name] for row in rows], 0, value.device) if value.dim() else torch.stack([row[name] for row in rows])  # fmt: skip
        elif name in ("scores", "logits"):
            steps = min(len(row[name]) for row in rows)
            fields[name] = tuple(torch.stack([row[name][step] for row in rows]) for step in range(steps))
    known = GenerateEncoderDecoderOutput.__dataclass_fields__
    return GenerateEncoderDecoderOutput(**{name: value for name, value in fields.items() if name in known})
