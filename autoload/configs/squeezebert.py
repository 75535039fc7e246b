"""Defaults of SqueezeBERT's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "squeezebert": ConfigSpec(
        ENCODER
        | dict(
            embedding_size=768,
            q_groups=4,
            k_groups=4,
            v_groups=4,
            post_attention_groups=1,
            intermediate_groups=4,
            output_groups=4,
        )
    )
}
