"""NeoMME, with and without pages."""

import torch
from torch import Tensor

from tests.parity.cases.decoder_windows import MIXED
from tests.parity.harness import Case

NEOMME = MIXED | dict(
    vocab_size=99,
    embedding_rank=12,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
    patch_size=2,
    sliding_window=2,
    per_layer_config={0: dict(sliding_window=3), 1: dict(sliding_window=None), 3: dict(sliding_window=None)},
    residual_multiplier=0.4,
    rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=20.0, partial_rotary_factor=1.0),
        full_attention=dict(rope_type="default", rope_theta=50.0, partial_rotary_factor=0.5),
    ),
)
PLACES = slice(5, 7)  # of patches: where no text has padding


def page(ids: Tensor) -> dict[str, Tensor]:
    """A column of two patches in each text."""
    generator = torch.Generator().manual_seed(5)
    ids = ids.masked_fill(ids == 6, 7)
    ids[:, PLACES] = 6
    positions = torch.arange(ids.shape[1]).expand(2, *ids.shape).clone()
    positions[0, :, PLACES] = torch.tensor([5, 6])
    positions[1, :, PLACES] = torch.tensor([5, 5])
    pixels = torch.randn(2 * len(ids), 12, generator=generator)
    return {"input_ids": ids, "position_ids": positions, "pixel_values": pixels}


CASES = [
    Case("neomme", NEOMME | dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True)),
    Case("neomme", NEOMME, label="pages", inputs=page),
]
