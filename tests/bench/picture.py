"""The results as one SVG: a bar for each row, then the curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

from tests.bench.growth import Curve
from tests.bench.row import LIMIT, OURS, REFERENCE, Result

COLOURS = {OURS: "#2c7fb8", REFERENCE: "#bdbdbd", LIMIT: "#1a9850"}
LABELS, BARS, RATIOS = 430, 420, 130  # widths of the columns
LINE, TOP = 34, 50
DECADES = 3  # the longest bar is 10 ** DECADES times autoload's time


def _text(x: float, y: float, text: str, size: int = 12, anchor: str = "start", fill: str = "#222") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
    )


def bars(results: list[Result]) -> Iterator[str]:
    """Time of the reference and of the limit beside autoload's, on a logarithmic scale whose middle is equal time."""

    def place(ratio: float) -> float:
        share = (math.log10(max(ratio, 10**-1.0)) + 1) / (DECADES + 1)  # from a tenth of autoload's time on
        return LABELS + BARS * min(share, 1.0)

    yield _text(10, 24, "Time relative to autoload (logarithmic); shorter is faster", 15)
    for index, result in enumerate(results):
        y = TOP + index * LINE
        yield _text(LABELS - 10, y + 17, result.row.what.partition("; limit")[0], anchor="end")
        for offset, name in enumerate((OURS, REFERENCE)):
            ratio = 1.0 if name == OURS else 1 / found if (found := result.against(name)) else None
            if ratio is not None:
                end, height = place(ratio), y + 3 + 11 * offset
                yield f'<rect x="{LABELS}" y="{height}" width="{end - LABELS:.0f}" height="10" fill="{COLOURS[name]}"/>'
        if limit := result.against(LIMIT):
            x = place(1 / limit)
            yield f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{y}" y2="{y + 28}" stroke="{COLOURS[LIMIT]}" stroke-width="2"/>'
        if reference := result.against(REFERENCE):
            yield _text(LABELS + BARS + 10, y + 17, f"{1 / reference:.2f} x as fast")
    y = TOP + len(results) * LINE + 14
    for index, (name, colour) in enumerate(COLOURS.items()):
        x = LABELS + index * 110
        yield f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>' + _text(x + 16, y, name)


def plot(title: str, curve: Curve, x: float, y: float, width: float = 280, height: float = 190) -> Iterator[str]:
    """One curve for each name, both axes logarithmic."""
    points = [point for values in curve.values() for point in values]
    spans = []
    for axis in (0, 1):
        logs = [math.log10(point[axis]) for point in points]
        spans.append((min(logs), max(max(logs), min(logs) + 1)))

    def place(point: tuple[int, float]) -> tuple[float, float]:
        across, up = ((math.log10(v) - low) / (high - low) for v, (low, high) in zip(point, spans, strict=True))
        return x + across * width, y + height - up * height

    yield _text(x, y - 12, title, 13)
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="#999"/>'
    for name, values in curve.items():
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(place, values))
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
        for point in values:
            a, b = place(point)
            taken = f"{point[1] * 1e3:.3g} ms" if point[1] >= 1e-3 else f"{point[1] * 1e6:.3g} us"
            yield f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{COLOURS[name]}"/>'
            yield _text(a, b - 7, taken, 10, "middle", COLOURS[name] if name == OURS else "#777")
    for count, _ in next(iter(curve.values())):
        yield _text(place((count, points[0][1]))[0], y + height + 14, f"{count:,}", 10, "middle")


def svg(results: list[Result], curves: Mapping[str, Curve]) -> str:
    """The whole picture."""
    parts, below = list(bars(results)), TOP + len(results) * LINE + 70
    for index, (title, curve) in enumerate(curves.items()):
        parts += plot(title, curve, 40 + index * 325, below)
    width, height = LABELS + BARS + RATIOS, below + (230 if curves else -40)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])
