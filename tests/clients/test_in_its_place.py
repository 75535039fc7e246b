"""Without `transformers`, after `autoload.compat.install()`: `encode`, saving, loading; LoRA on decoders and an encoder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.clients.checkpoints import minilm

CLIENTS = ("sentence-transformers", "peft")
# The reference may be installed here: it is hidden, and its metadata too.
HIDE = """
import importlib.abc, importlib.metadata, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == "transformers":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
sys.meta_path.insert(0, Hidden())
version = importlib.metadata.version
def without(name):
    if name == "transformers":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = without
"""
INSTALL = HIDE + "import autoload.compat\nautoload.compat.install()\n"
ENCODE = """
import tempfile
import numpy as np
from sentence_transformers import SentenceTransformer
texts = ["The weather is lovely today.", "x" * 3000, ""]
made = SentenceTransformer({path!r}, device="cpu")
assert type(made[0].model).__module__ == "autoload"
vectors = made.encode(texts)
with tempfile.TemporaryDirectory() as saved:
    made.save(saved)
    assert np.abs(SentenceTransformer(saved, device="cpu").encode(texts) - vectors).max() < 1e-6
print(*vectors[:, :4].flatten().tolist())
"""
ADAPT = """
import tempfile
import torch
import peft
from transformers import {auto}
ids = torch.arange(3, 15)[None]
torch.manual_seed(0)
model = peft.get_peft_model({auto}.from_pretrained({path!r}), peft.LoraConfig({task!r}, r=4, target_modules={targets!r}))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
losses = []
for _ in range(3):
    loss = model(input_ids=ids, labels=ids if {task!r} == "CAUSAL_LM" else torch.tensor([1])).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
logits = model.eval()(input_ids=ids).logits
with tempfile.TemporaryDirectory() as saved:
    model.save_pretrained(saved)
    again = peft.PeftModel.from_pretrained({auto}.from_pretrained({path!r}), saved).eval()
    assert torch.allclose(again(input_ids=ids).logits, logits, atol=1e-5)
    whole = getattr(peft, "AutoPeftModelFor{head}").from_pretrained(saved, **({{"num_labels": 3}} if "Sequence" in {auto!r} else {{}}))
assert torch.allclose(again.merge_and_unload()(ids).logits, logits, atol=1e-4)
if {task!r} == "CAUSAL_LM":
    assert model.generate(input_ids=ids[:, :4], max_new_tokens=3, do_sample=False).shape == (1, 7)
print(*losses)
"""


def figures(code: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def compare(code: str) -> None:
    """The same program with the reference in its own place."""
    theirs = figures(code.replace('assert type(made[0].model).__module__ == "autoload"', ""))
    assert figures(INSTALL + code) == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_encode() -> None:
    compare(ENCODE.format(path=minilm()))


@pytest.mark.parametrize("name", ["llama_tied", "gpt2", "bert"])
def test_adapters(folder: Any, name: str) -> None:
    head = "SequenceClassification" if name == "bert" else "CausalLM"
    task, targets = ("SEQ_CLS", ["query", "value"]) if name == "bert" else ("CAUSAL_LM", "all-linear")
    compare(ADAPT.format(auto=f"AutoModelFor{head}", head=head, path=folder(name), task=task, targets=targets))


def test_it_is_hidden() -> None:
    """The environment of these tests is one without the reference."""
    done = subprocess.run([sys.executable, "-c", HIDE + "import peft"], capture_output=True, text=True)
    assert done.returncode != 0 and "No module named 'transformers" in done.stderr
