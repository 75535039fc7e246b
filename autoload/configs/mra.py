"""Defaults of MRA's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "mra": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=50265,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            block_per_row=4,
            approx_mode="full",
            initial_prior_first_n_blocks=0,
            initial_prior_diagonal_n_blocks=0,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            add_cross_attention=False,
        )
    )
}
