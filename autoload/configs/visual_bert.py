"""Defaults of VisualBERT's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "visual_bert": ConfigSpec(
        ENCODER
        | dict(
            visual_embedding_dim=512,
            bypass_transformer=False,
            special_visual_initialize=True,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
}
