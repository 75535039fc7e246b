"""Decoding takes the memory of the weights and of the cache, and hardly more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys, torch, autoload

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

torch.set_num_threads(1)
sizes = dict(vocab_size=8000, hidden_size=768, intermediate_size=2048, num_hidden_layers=6, num_attention_heads=12)
config = autoload.AutoConfig.for_model("llama", **sizes, max_position_embeddings=1024)
model = autoload.AutoModelForCausalLM.from_config(config).eval()
ids, settings = torch.arange(3, 259)[None], dict(eos_token_id=None, return_dict_in_generate=True, **json.loads(sys.argv[1]))
model.generate(ids[:, :8], max_new_tokens=3, **settings)  # what the first call makes once
before = kilobytes("VmRSS:")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
out = model.generate(ids, max_new_tokens=64, **settings)
cache = sum(part.nbytes for layer in out.past_key_values for part in layer)
weights = sum(p.nbytes for p in model.parameters())
print(json.dumps([(kilobytes("VmHWM:") - before) * 1024, cache, weights]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux for the peak")
@pytest.mark.parametrize("settings", [{}, dict(cache_implementation="static")], ids=str)
def test_weights_and_cache_and_a_tenth(settings: dict[str, object]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    more, cache, weights = json.loads(run.stdout.splitlines()[-1])
    assert cache > 11e6 and weights > 200e6
    assert more <= cache + 0.1 * (cache + weights), (
        f"{more / 1e6:.0f} MB beside the weights, {cache / 1e6:.0f} MB cache"
    )
    print(f"{more / 1e6:.0f} MB beside {weights / 1e6:.0f} MB of weights; the cache is {cache / 1e6:.0f} MB")
