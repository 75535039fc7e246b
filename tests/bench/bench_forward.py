"""Forward passes beside the reference: `python -m tests.bench.bench_forward`.

Batches of equal lengths, with and without a mask of ones, and one of unequal lengths; fp32 on the CPU.
"""

from __future__ import annotations

import tempfile
import time

from tests.bench import timing

BATCHES = [(1, 8), (1, 128), (8, 32), (8, 128)]  # (batch, seq)


def main() -> None:
    options = timing.options(__doc__, runs=10)
    clock = time.process_time if options.cpu else time.perf_counter
    import torch
    import transformers

    import autoload

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    timing.about()
    timing.heading()
    with tempfile.TemporaryDirectory() as folder:
        autoload.AutoModel.from_config(autoload.AutoConfig.for_model("bert")).save_pretrained(folder)
        for name, where in (("MiniLM", str(timing.minilm())), ("BERT-base", folder)):
            ours, theirs = autoload.AutoModel.from_pretrained(where), transformers.AutoModel.from_pretrained(where)

            def measure(what: str, inputs: dict[str, torch.Tensor], ours=ours, theirs=theirs) -> None:
                with torch.no_grad():
                    both = {"ours": lambda: ours(**inputs), "theirs": lambda: theirs(**inputs)}
                    best = timing.calls(both, options.runs, clock)
                timing.row(what, best["ours"], best["theirs"])

            for batch, seq in BATCHES:
                ids = torch.randint(1000, 30000, (batch, seq))
                mask = torch.ones_like(ids)
                measure(f"{name}, {batch} x {seq}", {"input_ids": ids})
                measure(f"{name}, {batch} x {seq}, mask of ones", {"input_ids": ids, "attention_mask": mask})
            lengths = torch.linspace(16, 128, 8).int()
            mask = (torch.arange(128)[None] < lengths[:, None]).long()
            measure(f"{name}, 8 of 16 to 128 tokens, padded", {"input_ids": ids, "attention_mask": mask})


if __name__ == "__main__":
    main()
