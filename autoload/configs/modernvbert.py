"""Defaults of the configurations of ModernVBERT and its kin."""

from __future__ import annotations

from typing import Any

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import without

BOTH = dict(
    text_config=None,
    vision_config=None,
    image_token_id=50407,
    pixel_shuffle_factor=4,
    initializer_range=0.02,
    initializer_cutoff_factor=2.0,
    classifier_pooling="cls",
    classifier_dropout=0.0,
    classifier_bias=False,
    tie_word_embeddings=False,
)


def complete_retrieval(c: PreTrainedConfig) -> None:
    """The model inside says how many words it knows, as its text part does."""
    if "vocab_size" not in c.vlm_config.__dict__:
        c.vlm_config.vocab_size = c.vlm_config.get_text_config().vocab_size


def text_of_inner(c: Any, *args: Any, **kwargs: Any) -> PreTrainedConfig:
    """The configuration of the text part: that of the model inside."""
    return c.vlm_config.get_text_config(*args, **kwargs)


CONFIGS = {
    "modernvbert": ConfigSpec(
        BOTH,
        sub_configs=dict(text_config="modernbert", vision_config="siglip_vision_model"),
        ignore_at_inference=(),
    ),
    "ultravbert": ConfigSpec(
        without(BOTH, "classifier_bias") | dict(vision_config=dict(vision_use_head=False), image_token_id=49191),
        sub_configs=dict(text_config="ultrabert", vision_config="siglip_vision_model"),
        ignore_at_inference=(),
    ),
    "colmodernvbert": ConfigSpec(
        dict(vlm_config=None, embedding_dim=128, initializer_range=0.02),
        sub_configs=dict(vlm_config="modernvbert"),
        complete=complete_retrieval,
        members=dict(get_text_config=text_of_inner),
        ignore_at_inference=(),
    ),
}
