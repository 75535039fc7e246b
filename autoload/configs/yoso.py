"""Defaults of YOSO's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "yoso": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=50265,
            max_position_embeddings=4096,
            type_vocab_size=1,
            use_expectation=True,
            hash_code_len=9,
            num_hash=64,
            conv_window=None,
            use_fast_hash=True,
            lsh_backward=True,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            add_cross_attention=False,
        )
    )
}
