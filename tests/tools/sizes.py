"""How much code a model type takes: lines of each family that hold code, `python -m tests.tools.sizes`."""

from __future__ import annotations

import collections
import io
import tokenize
from pathlib import Path

from autoload import registry

PACKAGE = Path(registry.__file__).parent
THIN = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, comments, or strings that stand alone (docstrings)."""
    if not path.exists():
        return 0
    lines: set[int] = set()
    begins = True  # a statement
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in THIN:
            begins = begins or token.type == tokenize.NEWLINE
            continue
        if not (begins and token.type == tokenize.STRING and token.line.rstrip().endswith(('"""', '"'))):
            lines.update(range(token.start[0], token.end[0] + 1))
        begins = False
    return len(lines)


def main() -> None:
    types = collections.Counter(row.family for row in registry.MODELS.values())
    files = {path.stem for path in (PACKAGE / "models").glob("*.py")} - {"__init__"}
    total = 0
    print(f"{'family':<24}{'types':>6}{'models':>8}{'configs':>9}{'per type':>10}")
    for family in sorted(types | dict.fromkeys(files, 0), key=lambda name: (-types[name], name)):
        sizes = [code_lines(PACKAGE / room / f"{family}.py") for room in ("models", "configs")]
        total += sum(sizes)
        each = f"{sum(sizes) / types[family]:.0f}" if types[family] else "shared"
        print(f"{family:<24}{types[family]:>6}{sizes[0]:>8}{sizes[1]:>9}{each:>10}")
    print(f"{'all':<24}{len(registry.MODELS):>6}{total:>17}{total / len(registry.MODELS):>10.0f}")


if __name__ == "__main__":
    main()
