"""Defaults of ALBERT's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "albert": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=30000,
            embedding_size=128,
            hidden_size=4096,
            num_hidden_groups=1,
            num_attention_heads=64,
            intermediate_size=16384,
            inner_group_num=1,
            hidden_act="gelu_new",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            classifier_dropout_prob=0.1,
            bos_token_id=2,
            eos_token_id=3,
        ),
    )
}
