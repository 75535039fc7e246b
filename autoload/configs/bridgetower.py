"""Defaults of BridgeTower's configuration and of those inside it."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.configs.bert import DECODES, ENCODER, without

FACTOR = dict(initializer_factor=1, layer_norm_eps=1e-5)

TEXT = ConfigSpec(
    without(ENCODER, "initializer_range", "tie_word_embeddings")
    | DECODES
    | FACTOR
    | dict(
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    ),
    ignore_at_inference=(),
)
VISION = ConfigSpec(
    FACTOR
    | dict(
        hidden_size=768,
        num_hidden_layers=12,
        num_channels=3,
        patch_size=16,
        image_size=288,
        stop_gradient=False,
        share_layernorm=True,
        remove_last_layer=False,
    ),
    ignore_at_inference=(),
)


def complete(c: PreTrainedConfig) -> None:
    """Leave out what older files hold twice."""
    c.__dict__.pop("text_config_dict", None)
    c.__dict__.pop("vision_config_dict", None)


CONFIGS = {
    "bridgetower": ConfigSpec(
        FACTOR
        | dict(
            share_cross_modal_transformer_layers=True,
            hidden_act="gelu",
            hidden_size=768,
            share_link_tower_layers=False,
            link_tower_type="add",
            num_attention_heads=12,
            num_hidden_layers=6,
            tie_word_embeddings=False,
            init_layernorm_from_vision_encoder=False,
            text_config=None,
            vision_config=None,
        ),
        sub_configs=dict(
            text_config=make_config_class("BridgeTowerTextConfig", "bridgetower_text_model", TEXT),
            vision_config=make_config_class("BridgeTowerVisionConfig", "bridgetower_vision_model", VISION),
        ),
        complete=complete,
        ignore_at_inference=(),
    ),
}
