"""Small models that draft tokens for a large one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.parity.cases.decoder_gemma import GEMMA4
from tests.parity.harness import Case

DRAFT = dict(backbone_hidden_size=24, num_centroids=11, centroid_intermediate_top_k=3)
TEXT = GEMMA4 | dict(num_kv_shared_layers=0, num_hidden_layers=4, layer_types=GEMMA4["layer_types"][:4])
PLAIN = dict(hidden_size_per_layer_input=0, vocab_size_per_layer_input=0)
ALONE = {
    "cache": "the large model holds the keys",
    "tokens": "it drafts for a large model, and generates nothing by itself",
}
MUSE = dict(
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    rms_norm_eps=1e-3,
    max_position_embeddings=64,
    sliding_window=32,
    layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    target_layer_ids=[1, 2, 4],
)
# Windows shorter than the text, and cached blocks, are compared in test_drafts.py.
BLOCK = {
    "padding": "without a cache the reference's mask does not fit what stands before the block",
    "attentions": "the reference gives none",
}


def drafting(ids: Tensor) -> dict[str, Any]:
    """What a large model computed; its layers with a window hold fewer keys."""
    generator = torch.Generator().manual_seed(6)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(len(ids), *shape, generator=generator)

    lent = {
        "full_attention": (numbers(2, ids.shape[1], 16), numbers(2, ids.shape[1], 16)),
        "sliding_attention": (numbers(2, 9, 12), numbers(2, 9, 12)),
    }
    # One token at a time: of several, the reference cuts what draft models do not have, and sees some causally.
    return {"inputs_embeds": numbers(1, 48), "shared_kv_states": lent}


def denoising(ids: Tensor) -> dict[str, Tensor]:
    """A block, and a large model's states of the tokens before it."""
    generator = torch.Generator().manual_seed(6)
    sizes = dict(noise_embeds=(5, 32), context_hidden_states=(7, 3 * 32))
    return {name: torch.randn(len(ids), *size, generator=generator) for name, size in sizes.items()}


def mend() -> None:
    """The reference's release refuses configurations in which all layers borrow, those of its own draft models."""
    from transformers import Gemma4TextConfig, Gemma4UnifiedTextConfig

    for cls in (Gemma4TextConfig, Gemma4UnifiedTextConfig):
        strict = cls.kv_sharing_modes.fget  # type: ignore[attr-defined]
        if strict.__module__ == __name__:
            continue

        def modes(self: Any, strict: Any = strict) -> list[str | None]:
            borrows = self.num_kv_shared_layers == self.num_hidden_layers
            return ["reuse"] * self.num_hidden_layers if borrows else strict(self)

        cls.kv_sharing_modes = property(modes)  # type: ignore[assignment]


CASES = [
    Case("gemma4_assistant", DRAFT | dict(text_config=TEXT | PLAIN), inputs=drafting, mend=mend, skip=ALONE),
    Case(
        "gemma4_assistant",
        DRAFT | dict(text_config=TEXT | PLAIN, use_ordered_embeddings=True),
        inputs=drafting,
        mend=mend,
        skip=ALONE,
        tables={"token_ordering": 99},
        label="ordered",
    ),
    Case("muse_glimmer_assistant", MUSE, inputs=denoising, skip=BLOCK),
    Case("gemma4_unified_assistant", DRAFT | dict(text_config=TEXT), inputs=drafting, mend=mend, skip=ALONE),
]
