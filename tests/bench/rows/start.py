"""What a process pays before it gets to work."""

from __future__ import annotations

from tests.bench.checkpoints import minilm
from tests.bench.row import Goal, Row, Times, processes

TEXT = "The cat sleeps on the warm windowsill."
PACKAGES = {"autoload": "autoload", "reference": "transformers"}

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
TOKENIZE = "from {} import AutoTokenizer; print(AutoTokenizer.from_pretrained(FOLDER)(TEXT))"
TOKENIZE_BY_HAND = """
from tokenizers import Tokenizer
print(Tokenizer.from_file(FOLDER + "/tokenizer.json").encode(TEXT).ids)
"""


def _compared(by_hand: str, code: str, placeholder: str):
    def measure(runs, clock) -> Times:
        start = f"FOLDER, TEXT = {str(minilm())!r}, {TEXT!r}\n"
        codes = {"limit": start + by_hand}
        codes |= {name: start + code.replace(placeholder, package) for name, package in PACKAGES.items()}
        return processes(codes, runs, clock)

    return measure


LOAD = "import torch; from {} import AutoModel as A; A.from_pretrained(FOLDER)"
ROWS = [
    Row("import", "import", Goal(1.0, plus=0.02), _compared("pass", "import {}", "{}")),
    Row(
        "first-load",
        "import torch, AutoModel and load MiniLM; limit: import torch",
        Goal(1.0, plus=0.1),
        _compared("import torch", LOAD, "{}"),
    ),
    Row(
        "first-ids",
        "import AutoTokenizer, load, one text; limit: bare Tokenizer",
        Goal(1.5),
        _compared(TOKENIZE_BY_HAND, TOKENIZE, "{}"),
    ),
    Row(
        "first-embedding",
        "process start to MiniLM's first embedding; limit: by hand",
        Goal(1.1),
        _compared(BY_HAND, BY_AUTO, "PACKAGE"),
    ),
]
