"""Texts through a tokenizer that is loaded; the limit is the bare pipeline of the tokenizers library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.bench.checkpoints import minilm, packages
from tests.bench.row import Goal, Row, Times, in_turn

TEXT = "Tokenizers split a text into pieces that a model knows, and give each of them a number."
TEXTS = [f"{index} {TEXT} {TEXT}" for index in range(1000)]
CALLS = 1000  # of one text, so that the clock can tell


def _encode(argument: Any, method: str, number: int):
    def measure(runs: int, clock: Callable[[], float]) -> Times:
        from tokenizers import Tokenizer

        bare = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
        bare.no_padding()
        bare.no_truncation()
        calls: dict[str, Callable[[Any], Any]] = {"limit": getattr(bare, method)}
        calls |= {key: package.AutoTokenizer.from_pretrained(minilm()) for key, package in packages().items()}

        def repeated(call: Callable[[Any], Any]) -> Callable[[], Any]:
            def run() -> Any:
                for _ in range(number - 1):
                    call(argument)
                return call(argument)  # freed outside the time

            return run

        times = in_turn({key: repeated(call) for key, call in calls.items()}, 2 * runs, clock)
        return {key: [seconds / number for seconds in values] for key, values in times.items()}

    return measure


ROWS = [
    Row("text", "one text to ids; limit: the Rust call", Goal(1.3), _encode(TEXT, "encode", CALLS)),
    Row("texts", "1,000 texts to ids; limit: the Rust call", Goal(1.1), _encode(TEXTS, "encode_batch", 1)),
]
