"""Defaults of MPNet's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "mpnet": ConfigSpec(
        without(ENCODER, "type_vocab_size")
        | dict(vocab_size=30527, relative_attention_num_buckets=32, pad_token_id=1, bos_token_id=0, eos_token_id=2),
    )
}
