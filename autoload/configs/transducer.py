"""Defaults of transducers' configurations."""

from __future__ import annotations

from autoload.config import ConfigSpec
from autoload.configs.parakeet import spread

RNNT = dict(
    vocab_size=8193,
    decoder_hidden_size=640,
    num_decoder_layers=2,
    hidden_act="relu",
    max_symbols_per_step=10,
    encoder_config=None,
    pad_token_id=2,
    blank_token_id=8192,
    is_encoder_decoder=True,
    initializer_range=0.02,
)
ENCODER = dict(encoder_config="parakeet_encoder")
CONFIGS = {
    "parakeet_rnnt": ConfigSpec(RNNT, complete=spread, sub_configs=ENCODER, ignore_at_inference=()),
    "parakeet_tdt": ConfigSpec(
        RNNT | dict(durations=[0, 1, 2, 3, 4]), complete=spread, sub_configs=ENCODER, ignore_at_inference=()
    ),
}
