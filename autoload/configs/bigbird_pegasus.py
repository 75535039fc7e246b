"""Defaults of BigBird-Pegasus's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bart import BART, NAMES, without

CONFIGS = {
    "bigbird_pegasus": ConfigSpec(
        without(BART, "forced_eos_token_id")
        | dict(
            vocab_size=96103,
            max_position_embeddings=4096,
            encoder_layers=16,
            decoder_layers=16,
            activation_function="gelu_new",
            scale_embedding=True,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=1,
            attention_type="block_sparse",
            block_size=64,
            num_random_blocks=3,
            use_bias=False,
        ),
        aliases=NAMES | dict(attention_probs_dropout_prob="attention_dropout"),
    ),
}
