"""What notebooks show of a model, a configuration, a tokenizer or a loading report: a small table."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any


def card(title: str, facts: Mapping[str, Any], details: str = "") -> str:
    """HTML of a title, a table of facts, and text that is folded away."""
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(str(value))}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "", [], {})
    )
    folded = f"<details><summary>all of it</summary><pre>{escape(details)}</pre></details>" if details else ""
    return f"<div><b>{escape(title)}</b><table>{rows}</table>{folded}</div>"


def some(names: list[str], count: int = 8) -> str:
    """The first of many names."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
