"""Defaults of BigBird's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import BERT

CONFIGS = {
    "big_bird": ConfigSpec(
        BERT
        | dict(
            vocab_size=50358,
            hidden_act="gelu_new",
            max_position_embeddings=4096,
            bos_token_id=1,
            eos_token_id=2,
            sep_token_id=66,
            attention_type="block_sparse",
            use_bias=True,
            rescale_embeddings=False,
            block_size=64,
            num_random_blocks=3,
        )
    )
}
