"""`python -m tests.tokenizers.record` asks the reference about the small repositories and writes recorded.json.

It needs what the reference needs for them: sentencepiece, protobuf, sacremoses, emoji, pandas.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.tokenizers import tables as of_tables
from tests.tokenizers.fixtures import FIXTURES, answers, build

RECORDED = Path(__file__).parent / "recorded.json"


def record() -> dict[str, object]:
    """Answers by class; the error where the reference cannot load a class."""
    from transformers import AutoTokenizer

    recorded: dict[str, object] = {}
    for name in FIXTURES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                tokenizer = AutoTokenizer.from_pretrained(build(Path(folder), name))
                recorded[name] = answers(tokenizer)
            except Exception as e:
                recorded[name] = {"error": f"{type(e).__name__}: {str(e)[:200]}"}
    return recorded


def tables() -> list[dict[str, object]]:
    """Answers to the calls on tables."""
    import pandas  # type: ignore[import-not-found]
    from transformers import TapasTokenizer

    with tempfile.TemporaryDirectory() as folder:
        made = of_tables.build(Path(folder))
        return [
            of_tables.answer(TapasTokenizer.from_pretrained(made, **settings), pandas.DataFrame(table), call)
            for settings, table, call in of_tables.CALLS
        ]


if __name__ == "__main__":
    text = json.dumps({**record(), "tables": tables()}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    RECORDED.write_text(text.replace('},"', '},\n"') + "\n", encoding="utf-8")
