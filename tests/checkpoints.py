"""Small checkpoints for tests, written with this library alone, and ways to damage them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

import autoload

BERT = dict(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=24,
)
LLAMA = dict(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=20,
)
GPT2 = dict(vocab_size=60, n_embd=16, n_layer=2, n_head=2, n_positions=24)


def tiny(model_type: str, task: str = "Model", seed: int = 0, **fields: Any) -> Any:
    """A model with random weights."""
    sizes = {"bert": BERT, "llama": LLAMA, "gpt2": GPT2}.get(model_type, {})
    config = autoload.AutoConfig.for_model(model_type, **{**sizes, **fields})
    torch.manual_seed(seed)
    name = "AutoModel" if task == "Model" else f"AutoModelFor{task}"
    return getattr(autoload, name).from_config(config).eval()


def saved(directory: Path, model_type: str, task: str = "Model", **keywords: Any) -> Path:
    """A directory with such a model."""
    saving = {key: keywords.pop(key) for key in ("max_shard_size", "variant") if key in keywords}
    tiny(model_type, task, **keywords).save_pretrained(directory, **saving)
    return directory


def edit_config(directory: Path, drop: tuple[str, ...] = (), **fields: Any) -> Path:
    """Change config.json by hand."""
    path = directory / "config.json"
    content = {k: v for k, v in json.loads(path.read_text()).items() if k not in drop}
    path.write_text(json.dumps({**content, **fields}))
    return directory


def rewrite(directory: Path, rename: Any) -> Path:
    """Store the weights under other names; `rename` maps a name to one, or to None to leave it out."""
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    state = {rename(name): tensor for name, tensor in load_file(path).items()}
    save_file({name: tensor for name, tensor in state.items() if name is not None}, path)
    return directory


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Bit for bit."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
