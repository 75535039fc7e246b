"""Tokenizers beside the bare Rust object and, where it is installed, the reference.

usage: python tests/bench/bench_tokenizers.py [--reference] [DIRECTORY ...]

Directories are those of AUTOLOAD_SHARED/tokenizers (default: `../shared`). Each figure is the best of several runs, in
one process for calls and in a new process for import and load; ratios are to the bare Rust object.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("AUTOLOAD_SHARED", ROOT.parent / "shared")) / "tokenizers"
DEFAULT = ["wordpiece/bert_uncased_json", "spm_bpe/llama2_json", "spm_unigram/t5_json", "whisper/whisper_large_v3_json"]
CONVERTED = ["tiktoken/llama3", "tekken/mistral_nemo", "spm_bpe/llama2_spm"]
TEXT = "Tokenizers split a text into pieces that a model knows, and give each of them a number."
STARTS = {
    "rust": "from tokenizers import Tokenizer; Tokenizer.from_file({path!r} + '/tokenizer.json')",
    "autoload": "from autoload.text.auto import AutoTokenizer; AutoTokenizer.from_pretrained({path!r})",
    "reference": "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained({path!r})",
}


def best(run: Callable[[], object], repeats: int, number: int = 1) -> float:
    """Seconds of one run, the best of `repeats` rounds of `number`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(number):
            run()
        times.append((time.perf_counter() - start) / number)
    return min(times)


def start_up(kind: str, path: Path, repeats: int, cache: str) -> float:
    """Seconds that import and load take in a new process, the interpreter's own start not counted."""
    code = f"import time; start = time.perf_counter(); {STARTS[kind].format(path=str(path))}; print(time.perf_counter() - start)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AUTOLOAD_CACHE": cache}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        for _ in range(repeats)
    ]
    return min(float(run.stdout) for run in runs)


def calls(path: Path, with_reference: bool) -> list[tuple[str, float, dict[str, float]]]:
    """Seconds of the bare Rust call, and of each library's, for one text and for a thousand."""
    from tokenizers import Tokenizer

    from autoload.text.auto import AutoTokenizer

    rust = Tokenizer.from_file(str(path / "tokenizer.json"))
    rust.no_padding()
    rust.no_truncation()
    contenders = {"autoload": AutoTokenizer.from_pretrained(path)}
    if with_reference:
        from transformers import AutoTokenizer as Reference

        contenders["reference"] = Reference.from_pretrained(path)
    batch = [f"{index} {TEXT} {TEXT}" for index in range(1000)]
    one = best(lambda: rust.encode(TEXT), 7, 2000)
    many = best(lambda: rust.encode_batch(batch), 7)
    return [
        ("one text", one, {name: best(lambda t=tok: t(TEXT), 7, 2000) for name, tok in contenders.items()}),
        ("1000 texts", many, {name: best(lambda t=tok: t(batch), 7) for name, tok in contenders.items()}),
    ]


def main() -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="*")
    parser.add_argument("--reference", action="store_true", help="time the reference too")
    options = parser.parse_args()
    kinds = ["rust", "autoload", *(["reference"] if options.reference else [])]
    for name in options.directory or DEFAULT:
        path = SHARED / name
        seconds = {kind: start_up(kind, path, 5, "off") for kind in kinds}
        line = "  ".join(
            f"{kind} {value * 1e3:.0f} ms ({value / seconds['rust']:.2f})" for kind, value in seconds.items()
        )
        print(f"{name:32} import+load  {line}")
        for what, bare, others in calls(path, options.reference):
            line = "  ".join(f"{kind} {value * 1e6:.1f} us ({value / bare:.2f})" for kind, value in others.items())
            print(f"{name:32} {what:11}  rust {bare * 1e6:.1f} us  {line}")
    for name in CONVERTED if not options.directory else []:
        with tempfile.TemporaryDirectory() as cache:
            first, again = (start_up("autoload", SHARED / name, 1, cache) for _ in range(2))
        print(f"{name:32} conversion   first {first * 1e3:.0f} ms  kept {again * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
