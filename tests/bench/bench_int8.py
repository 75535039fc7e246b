"""int8 weights on the CPU, their speed, memory and error: `python -m tests.bench.bench_int8`.

MiniLM with torchao's two int8 recipes beside fp32 and bf16, one thread. The error is that of the mean-pooled vectors of
random texts against fp32: the smallest cosine of 32. Needs the extra `int8`.
"""

from __future__ import annotations

import time
from typing import Any

from tests.bench import timing
from tests.bench.checkpoints import minilm

BATCHES = [(1, 8), (1, 128), (32, 32)]  # (batch, seq)


def main() -> None:
    options = timing.options(__doc__, runs=10)
    clock = time.process_time if options.cpu else time.perf_counter
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig

    import autoload

    torch.set_num_threads(1)
    torch.manual_seed(0)
    kinds: dict[str, dict[str, Any]] = {
        "fp32": {},
        "int8 weights": dict(quantization_config=Int8WeightOnlyConfig()),
        "int8 weights and activations": dict(quantization_config=Int8DynamicActivationInt8WeightConfig()),
        "bf16": dict(dtype="bfloat16"),
        "bf16, int8 weights": dict(dtype="bfloat16", quantization_config=Int8WeightOnlyConfig()),
    }
    models = {name: autoload.AutoModel.from_pretrained(minilm(), **kind) for name, kind in kinds.items()}
    timing.about()
    print(f"{'':30} {'MB':>7} {'cosine':>9}" + "".join(f"{f'{b} x {s}':>14}" for b, s in BATCHES))
    with torch.inference_mode():
        ids = torch.randint(1000, 30000, (32, 32))
        vectors = {name: model(ids).last_hidden_state.float().mean(1) for name, model in models.items()}
        times = []
        for batch, seq in BATCHES:
            ids = torch.randint(1000, 30000, (batch, seq))
            calls = {name: lambda model=model, ids=ids: model(ids) for name, model in models.items()}
            times.append(timing.calls(calls, options.runs, clock))
    for name, model in models.items():
        alike = torch.cosine_similarity(vectors[name], vectors["fp32"]).min().item()
        each = "".join(f"{best[name] * 1e3:11.1f} ms" for best in times)
        print(f"{name:30} {model.get_memory_footprint() / 1e6:7.1f} {alike:9.5f}{each}")


if __name__ == "__main__":
    main()
