"""Defaults of CANINE's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "canine": ConfigSpec(
        without(ENCODER, "vocab_size", "tie_word_embeddings")
        | dict(
            max_position_embeddings=16384,
            type_vocab_size=16,
            bos_token_id=57344,
            eos_token_id=57345,
            downsampling_rate=4,
            upsampling_kernel_size=4,
            num_hash_functions=8,
            num_hash_buckets=16384,
            local_transformer_stride=128,
        )
    )
}
