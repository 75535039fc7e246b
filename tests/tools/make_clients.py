"""Writes the table of client programs and their versions between two marks in README.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BEGIN, END = "<!-- clients: python -m tests.tools -->\n", "<!-- /clients -->\n"


def pins() -> dict[str, str]:
    """Distribution and version of everything that `pyproject.toml` pins for the tests."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    return dict(re.findall(r'"([\w-]+)==([\w.]+)"', section))


def table() -> str:
    """One row per module of tests/clients: which distributions it needs, and its first line, which says what passes."""
    rows = ["| client | version | what passes |", "|---|---|---|"]
    for path in sorted((ROOT / "tests" / "clients").glob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        names = next(
            ast.literal_eval(node.value)
            for node in module.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CLIENTS"
        )
        versions = pins()
        what = (ast.get_docstring(module) or "").partition("\n")[0]
        rows.append(f"| {', '.join(names)} | {', '.join(versions[name] for name in names)} | {what} |")
    return "\n".join(rows) + "\n"


def readme(text: str) -> str:
    """README.md's text with a fresh table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"
