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


def muse_layers(c: PreTrainedConfig) -> None:
    if c.layer_types is None:
        c.layer_types = ["sliding_attention"] * c.num_hidden_layers
    if c.target_layer_ids is None:
        c.target_layer_ids = [1, 13, 25, 37, 49]


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
    "muse_glimmer_assistant": ConfigSpec(
        dict(
            hidden_size=6656,
            intermediate_size=19968,
            num_hidden_layers=5,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=128,
            rms_norm_eps=1e-5,
            rope_parameters=None,
            max_position_embeddings=131072,
            sliding_window=2048,
            layer_types=None,
            attention_dropout=0,
            hidden_act="silu",
            bos_token_id=200000,
            eos_token_id=200001,
            pad_token_id=200018,
            block_size=16,
            mask_token_id=201818,
            target_layer_ids=None,
        ),
        complete=muse_layers,
        theta=500000.0,
        ignore_at_inference=(),
    ),
}
