"""Whisper and what is wired like it."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    num_mel_bins=10,
    d_model=32,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    encoder_ffn_dim=37,
    decoder_ffn_dim=41,
    max_source_positions=15,
    max_target_positions=40,
    activation_function="gelu_new",
    classifier_proj_size=20,
    scale_embedding=True,  # which Whisper does not look at
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    decoder_start_token_id=3,
    begin_suppress_tokens=[7, 2],
    suppress_tokens=[11],
)
SILENT = {"padding": "silence is read like sound", "position_ids": "positions are counted, not given"}


def spectrogram(ids: Tensor) -> dict[str, Tensor | None]:
    """A sound in place of token ids."""
    generator = torch.Generator().manual_seed(7)
    return {"input_ids": None, "input_features": torch.randn(len(ids), 10, 30, generator=generator)}


CASES = [
    Case("whisper", TINY, tasks=("Model", "SpeechSeq2Seq", "AudioClassification"), inputs=spectrogram, skip=SILENT),
    Case("whisper", TINY, tasks=("CausalLM",), label="decoder", skip={"position_ids": SILENT["position_ids"]}),
    Case(
        "whisper",
        TINY | dict(use_weighted_layer_sum=True, tie_word_embeddings=False),
        tasks=("SpeechSeq2Seq", "AudioClassification"),
        inputs=spectrogram,
        skip=SILENT,
        label="weighted",
    ),
]
