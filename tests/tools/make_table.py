"""Writes the table of model types and tasks between two marks in README.md."""

from __future__ import annotations

from pathlib import Path

from autoload import registry

README = Path(__file__).parent.parent.parent / "README.md"
BEGIN, END = "<!-- types: python -m tests.tools -->\n", "<!-- /types -->\n"


def table() -> str:
    """One row per set of tasks, with the types that have it, the largest sets first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model_type in sorted(registry.MODELS):
        tasks = tuple(task for task in registry.TASKS if task in registry.tasks_of(model_type))
        groups.setdefault(tasks, []).append(f"`{model_type}`")
    rows = [f"{len(registry.MODELS)} model types.", "", "| model types | tasks |", "|---|---|"]
    for tasks, types in sorted(groups.items(), key=lambda group: (-len(group[0]), group[1])):
        rows.append(f"| {', '.join(types)} | {', '.join(tasks)} |")
    return "\n".join(rows) + "\n"


def readme() -> str:
    """README.md with a fresh table."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"
