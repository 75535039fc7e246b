"""Loading weights, beside the reference: `python -m tests.bench.bench_loading`.

1. A Llama of 1.1 billion bf16 weights, loaded again and again in one process, without and with a first forward pass:
   mapped weights are only read when they are used.
2. From the start of a process to the first embedding of MiniLM, beside a script that uses no library of models.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

from tests.bench import timing

# BERT by hand: what a program has to do that knows it will only ever run this checkpoint.
BY_HAND = """
import json, torch, torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
c = json.load(open(FOLDER + "/config.json"))
w = load_file(FOLDER + "/model.safetensors")
t = Tokenizer.from_file(FOLDER + "/tokenizer.json")
t.no_truncation(); t.no_padding()
ids = torch.tensor([t.encode(TEXT).ids])
d, h, eps = c["hidden_size"], c["num_attention_heads"], c["layer_norm_eps"]
def lin(n, x): return F.linear(x, w[n + ".weight"], w[n + ".bias"])
def norm(n, x): return F.layer_norm(x, (d,), w[n + ".weight"], w[n + ".bias"], eps)
def split(x): return x.view(1, -1, h, d // h).transpose(1, 2)
with torch.no_grad():
    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: ids.shape[1]]
    x = norm(e + "LayerNorm", x + w[e + "token_type_embeddings.weight"][0])
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (split(lin(p + "attention.self." + n, x)) for n in ("query", "key", "value"))
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, d)
        x = norm(p + "attention.output.LayerNorm", x + lin(p + "attention.output.dense", a))
        x = norm(p + "output.LayerNorm", x + lin(p + "output.dense", F.gelu(lin(p + "intermediate.dense", x))))
    v = x.mean(1)
print(v[0, :3].tolist())
"""
BY_AUTO = """
import torch
from PACKAGE import AutoModel, AutoTokenizer
t = AutoTokenizer.from_pretrained(FOLDER)
m = AutoModel.from_pretrained(FOLDER)
with torch.no_grad():
    v = m(**t(TEXT, return_tensors="pt")).last_hidden_state.mean(1)
print(v[0, :3].tolist())
"""
TEXT = "The cat sleeps on the warm windowsill."
LLAMA = dict(
    hidden_size=2048,
    intermediate_size=5632,
    num_hidden_layers=22,
    num_attention_heads=32,
    num_key_value_heads=4,
    vocab_size=32000,
    max_position_embeddings=2048,
)


def llama(runs: int, clock: Callable[[], float]) -> None:
    import torch
    import transformers

    import autoload

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = autoload.AutoConfig.for_model("llama", **LLAMA)
    ids = torch.tensor([[1, 2, 3]])
    with tempfile.TemporaryDirectory() as folder:
        autoload.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)

        def load(package) -> object:
            return package.AutoModelForCausalLM.from_pretrained(folder)

        @torch.no_grad()
        def load_and_run(package) -> object:
            return load(package)(input_ids=ids).logits

        best = timing.calls({"ours": lambda: load(autoload), "theirs": lambda: load(transformers)}, runs, clock)
        timing.row("Llama 1.1 B bf16, loaded again", best["ours"], best["theirs"])
        both = {"ours": lambda: load_and_run(autoload), "theirs": lambda: load_and_run(transformers)}
        best = timing.calls(both, max(2, runs // 5), clock)
        timing.row("the same and a forward pass of 3 tokens", best["ours"], best["theirs"])


def first_embedding(runs: int, cpu: bool) -> None:
    start = f"FOLDER, TEXT = {str(timing.minilm())!r}, {TEXT!r}\n"
    codes = {"hand": start + BY_HAND}
    codes |= {p: start + BY_AUTO.replace("PACKAGE", p) for p in ("autoload", "transformers")}
    best = timing.processes(codes, runs, cpu)
    timing.row("MiniLM, process start to first embedding", best["autoload"], best["transformers"])
    for package in ("autoload", "transformers"):
        print(f"  {package}: {best[package] / best['hand']:.2f} x a script by hand ({best['hand'] * 1e3:.0f} ms)")


def main() -> None:
    options = timing.options(__doc__, runs=10)
    timing.about()
    timing.heading()
    first_embedding(options.runs, options.cpu)
    llama(options.runs, time.process_time if options.cpu else time.perf_counter)


if __name__ == "__main__":
    main()
