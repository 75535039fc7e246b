"""Canary and Cohere's ASR."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.cases.parakeet import ENCODER
from tests.parity.harness import Case

TOKENS = dict(vocab_size=60, pad_token_id=1, bos_token_id=4, eos_token_id=3, decoder_start_token_id=7)
DECODER = dict(
    hidden_size=24,
    intermediate_size=37,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=10,
    hidden_act="gelu_new",
    max_position_embeddings=30,
)


def spectrograms(ids: Tensor) -> dict[str, Tensor | None]:
    """Sounds of several lengths in place of token ids."""
    generator = torch.Generator().manual_seed(7)
    mask = torch.ones(len(ids), 62, dtype=torch.int64)
    mask[0, 50:] = mask[-1, 21:] = 0
    sound = torch.randn(len(ids), 62, 20, generator=generator)
    return {"input_ids": None, "input_features": sound, "attention_mask": mask}


RAGGED = {"padding": "the inputs are ragged in every check"}
CANARY = TOKENS | dict(decoder_config=DECODER | dict(vocab_size=60, pad_token_id=1))
WIDE = ENCODER | dict(hidden_size=24)  # as wide as the decoder, which has no projection

CASES = [
    Case("canary", CANARY | dict(encoder_config=WIDE), inputs=spectrograms, skip=RAGGED),
    Case(
        "canary",
        TOKENS
        | dict(encoder_config=WIDE, tie_word_embeddings=False)
        | dict(decoder_config=DECODER | dict(vocab_size=60, attention_bias=False)),
        label="untied",
        inputs=spectrograms,
        skip=RAGGED,
    ),
    Case("cohere_asr", TOKENS | DECODER | dict(encoder_config=ENCODER), inputs=spectrograms, skip=RAGGED),
    Case(
        "cohere_asr",
        TOKENS
        | DECODER
        | dict(encoder_config=ENCODER, tie_word_embeddings=True, attention_bias=False, head_dim=None)
        | dict(num_key_value_heads=None),
        label="tied",
        inputs=spectrograms,
        skip=RAGGED,
    ),
]
