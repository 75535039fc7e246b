"""Defaults of LiLT's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "lilt": ConfigSpec(
        without(ENCODER, "tie_word_embeddings")
        | dict(classifier_dropout=None, channel_shrink_ratio=4, max_2d_position_embeddings=1024)
    )
}
