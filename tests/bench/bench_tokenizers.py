"""Tokenizers beside the bare Rust object and, with --reference, the reference: `python -m tests.bench.bench_tokenizers`.

Directories are those of AUTOLOAD_SHARED/tokenizers (default: `../shared`). All that stands in one row is run in turn, in
new processes where start-up counts; ratios are to the bare Rust object. A process is timed beyond one that does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import timing

SHARED = Path(os.environ.get("AUTOLOAD_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "tokenizers"
DEFAULT = ["wordpiece/bert_uncased_json", "bytebpe/gpt_neox_json", "spm_bpe/llama2_json", "spm_unigram/t5_json",
           "whisper/whisper_large_v3_json"]  # fmt: skip
CONVERTED = ["tiktoken/llama3", "tekken/mistral_nemo", "spm_bpe/llama2_spm", "spm_unigram/deberta_v3_spm"]
WORDS = "Hello world"
TEXT = "Tokenizers split a text into pieces that a model knows, and give each of them a number."
BATCH = [f"{index} {TEXT} {TEXT}" for index in range(1000)]
CALLS = 1000  # of one text, so that the clock can tell them apart
LOAD = {
    "rust": "from tokenizers import Tokenizer; t = Tokenizer.from_file({path!r} + '/tokenizer.json')",
    "autoload": "from autoload import AutoTokenizer; t = AutoTokenizer.from_pretrained({path!r})",
    "reference": "from transformers import AutoTokenizer; t = AutoTokenizer.from_pretrained({path!r})",
}
ENCODE = {"rust": f"t.encode({TEXT!r}).ids", "autoload": f"t({TEXT!r})", "reference": f"t({TEXT!r})"}
CONVERT = "import os; os.environ['AUTOLOAD_CACHE'] = {cache}; "


def start_up(path: Path, kinds: list[str], runs: int, cpu: bool) -> dict[str, dict[str, float]]:
    """Row -> seconds of each kind, for import and load, and for these and one text."""
    codes = {"": "pass"}
    for kind in kinds:
        codes[kind] = LOAD[kind].format(path=str(path))
        codes[f"{kind} text"] = f"{codes[kind]}; {ENCODE[kind]}"
    seconds = timing.processes(codes, runs, cpu)
    return {
        "import + load": {kind: seconds[kind] - seconds[""] for kind in kinds},
        "whole process, one text": {kind: seconds[f"{kind} text"] for kind in kinds},
    }


def encoding(path: Path, with_reference: bool, runs: int, cpu: bool) -> dict[str, dict[str, float]]:
    """Row -> seconds of each kind, for calls in this process."""
    from tokenizers import Tokenizer

    from autoload import AutoTokenizer

    bare = Tokenizer.from_file(str(path / "tokenizer.json"))
    bare.no_padding()
    bare.no_truncation()
    tokenizers = {"autoload": AutoTokenizer.from_pretrained(path)}
    if with_reference:
        from transformers import AutoTokenizer as Reference

        tokenizers["reference"] = Reference.from_pretrained(path)
    clock = time.process_time if cpu else time.perf_counter

    def row(rust: Callable, argument: object, number: int) -> dict[str, float]:
        def repeated(call: Callable) -> Callable[[], object]:
            def run() -> object:
                for _ in range(number - 1):
                    call(argument)
                return call(argument)  # freed outside the time

            return run

        functions = {name: repeated(call) for name, call in {"rust": rust, **tokenizers}.items()}
        return {name: seconds / number for name, seconds in timing.calls(functions, 3 * runs, clock).items()}

    return {
        "two words": row(bare.encode, WORDS, CALLS),
        "one sentence": row(bare.encode, TEXT, CALLS),
        "1000 texts": row(bare.encode_batch, BATCH, 1),
    }


def conversion(path: Path, runs: int, cpu: bool) -> dict[str, dict[str, float]]:
    """Row -> seconds of importing and loading what has to be converted: into an empty cache, and from a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        load = LOAD["autoload"].format(path=str(path))
        kept, pipeline = f"{folder}/kept", f"{folder}/bare"
        os.mkdir(pipeline)
        codes = {
            "": "pass",
            "first": CONVERT.format(cache=f"{folder!r} + '/' + str(os.getpid())") + load,
            "again": CONVERT.format(cache=repr(kept)) + load,
            "off": CONVERT.format(cache="'off'") + f"{load}; t._rust.save({pipeline!r} + '/tokenizer.json')",
        }
        timing.processes({"off": codes.pop("off")}, 0)  # the same pipeline, for the bare Rust object
        codes["rust"] = LOAD["rust"].format(path=pipeline)
        seconds = timing.processes(codes, runs, cpu)
    rust = seconds["rust"] - seconds[""]
    return {
        "first conversion": {"rust": rust, "autoload": seconds["first"] - seconds[""]},
        "load of a kept one": {"rust": rust, "autoload": seconds["again"] - seconds[""]},
    }


def show(name: str, rows: dict[str, dict[str, float]], as_json: bool) -> None:
    """A line for each row."""
    for what, seconds in rows.items():
        if as_json:
            print(json.dumps({"tokenizer": name, "row": what, "seconds": seconds}))
            continue
        scale, unit = (1e6, "us") if seconds["rust"] < 1e-3 else (1e3, "ms")
        line = "".join(
            f"{kind:>12} {value * scale:7.1f} {unit} ({value / seconds['rust']:5.2f})"
            for kind, value in seconds.items()
        )
        print(f"{name:30} {what:24}{line}", flush=True)


def main() -> None:
    """Print each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="*", help="below AUTOLOAD_SHARED/tokenizers, with a tokenizer.json")
    parser.add_argument("--reference", action="store_true", help="time the reference too")
    parser.add_argument("--runs", type=int, default=5, help="of which the best counts")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of elapsed time")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each row")
    options = parser.parse_args()
    kinds = ["rust", "autoload", *(["reference"] if options.reference else [])]
    for name in options.directory or DEFAULT:
        rows = start_up(SHARED / name, kinds, options.runs, options.cpu)
        rows |= encoding(SHARED / name, options.reference, options.runs, options.cpu)
        show(name, rows, options.json)
    for name in CONVERTED if not options.directory else []:
        show(name, conversion(SHARED / name, options.runs, options.cpu), options.json)


if __name__ == "__main__":
    main()
