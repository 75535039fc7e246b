"""Defaults of PEGASUS-X's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bart import BART, NAMES, without

CONFIGS = {
    "pegasus_x": ConfigSpec(
        without(BART, "bos_token_id", "classifier_dropout", "is_decoder")
        | dict(
            vocab_size=96103,
            max_position_embeddings=16384,
            encoder_layers=16,
            decoder_layers=16,
            scale_embedding=True,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
            forced_eos_token_id=1,
            num_global_tokens=32,
            block_size=512,
            stagger_local_blocks=True,
        ),
        aliases=NAMES,
    ),
}
