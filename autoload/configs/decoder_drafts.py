"""Defaults of the small models that draft tokens for a large one."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError

DRAFT = dict(
    text_config=None,
    backbone_hidden_size=1536,
    use_ordered_embeddings=False,
    num_centroids=2048,
    centroid_intermediate_top_k=32,
    tie_word_embeddings=True,
)
ABSENT = dict(
    hidden_size_per_layer_input=0, enable_moe_block=False, use_double_wide_mlp=False, vocab_size_per_layer_input=0
)


def lends_nothing(c: PreTrainedConfig) -> None:
    """All layers borrow their keys and values."""
    text = c.text_config
    if not text.num_kv_shared_layers:
        text.num_kv_shared_layers = text.num_hidden_layers
    if c.use_ordered_embeddings and text.vocab_size % c.num_centroids:
        raise ConfigError("num_centroids", c.num_centroids, f"a divisor of vocab_size ({text.vocab_size})")


def plain(c: PreTrainedConfig) -> None:
    """What the text models of this size do not have either."""
    lends_nothing(c)
    for name, value in (ABSENT | dict(num_kv_shared_layers=c.text_config.num_hidden_layers)).items():
        if (found := getattr(c.text_config, name, value)) != value:
            raise ConfigError(f"text_config.{name}", found, f"{value} in a draft model")


CONFIGS = {
    "gemma4_assistant": ConfigSpec(
        DRAFT, sub_configs=dict(text_config="gemma4_text"), complete=plain, ignore_at_inference=()
    ),
    "gemma4_unified_assistant": ConfigSpec(
        DRAFT | dict(backbone_hidden_size=3840),
        sub_configs=dict(text_config="gemma4_unified_text"),
        complete=lends_nothing,
        ignore_at_inference=(),
    ),
}
