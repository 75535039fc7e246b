"""What a process pays for importing and loading, beside the reference: `python -m tests.bench.bench_import`.

Whole processes are timed. "Beyond" is less the time of a process that only does what is named.
"""

from __future__ import annotations

from tests.bench import timing


def main() -> None:
    options = timing.options(__doc__, runs=5)
    folder = str(timing.minilm())
    codes = {"python": "pass", "torch": "import torch"}
    for package in ("autoload", "transformers"):
        codes |= {
            f"{package} import": f"import {package}",
            f"{package} model": f"import torch; from {package} import AutoModel as A; A.from_pretrained({folder!r})",
            f"{package} tokenizer": f"from {package} import AutoTokenizer as A; A.from_pretrained({folder!r})",
            f"{package} config": f"from {package} import AutoConfig as A; A.from_pretrained({folder!r})",
        }
    best = timing.processes(codes, options.runs, options.cpu)
    timing.about()
    timing.heading()
    for what, name, beyond in (
        ("import, beyond python", "import", "python"),
        ("import AutoModel and load MiniLM, beyond import torch", "model", "torch"),
        ("import AutoTokenizer and load MiniLM's, beyond python", "tokenizer", "python"),
        ("import AutoConfig and read MiniLM's, beyond python", "config", "python"),
    ):
        ours, theirs = (best[f"{package} {name}"] - best[beyond] for package in ("autoload", "transformers"))
        timing.row(what, ours, theirs)
    print(f"\npython {best['python'] * 1e3:.0f} ms, import torch {best['torch'] * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
