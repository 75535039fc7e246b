"""Defaults of the configuration of CLAP, and of those of its two towers."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.configs.bert import without
from autoload.configs.roberta import CONFIGS as ROBERTAS

BERTS = (
    "initializer_range",
    "is_decoder",
    "add_cross_attention",
    "tie_word_embeddings",
    "use_cache",
    "classifier_dropout",
)
PROJECTION = dict(projection_dim=512, projection_hidden_act="relu", initializer_factor=1.0)
TEXT = without(dict(ROBERTAS["roberta"].defaults), *BERTS) | PROJECTION
ClapTextConfig = make_config_class(
    "ClapTextConfig",
    "clap_text_model",
    ConfigSpec(TEXT | dict(max_position_embeddings=514, type_vocab_size=1), ignore_at_inference=()),
)
ClapAudioConfig = make_config_class(
    "ClapAudioConfig",
    "clap_audio_model",
    ConfigSpec(
        PROJECTION
        | dict(
            window_size=8,
            num_mel_bins=64,
            spec_size=256,
            hidden_act="gelu",
            patch_size=4,
            patch_stride=[4, 4],
            num_classes=527,
            hidden_size=768,
            depths=[2, 2, 6, 2],
            num_attention_heads=[4, 8, 16, 32],
            enable_fusion=False,
            hidden_dropout_prob=0.1,
            fusion_type=None,
            patch_embed_input_channels=1,
            flatten_patch_embeds=True,
            patch_embeds_hidden_size=96,
            enable_patch_layer_norm=True,
            drop_path_rate=0.0,
            attention_probs_dropout_prob=0.0,
            qkv_bias=True,
            mlp_ratio=4.0,
            aff_block_r=4,
            num_hidden_layers=4,
            layer_norm_eps=1e-5,
        ),
        ignore_at_inference=(),
    ),
)


def complete(c: PreTrainedConfig) -> None:
    """Both towers end in one space; the whole is as wide as its text tower."""
    for tower in (c.text_config, c.audio_config):
        tower.projection_dim, tower.projection_hidden_act = c.projection_dim, c.projection_hidden_act
    c.hidden_size = c.text_config.hidden_size
    c.num_hidden_layers = c.text_config.num_hidden_layers + len(c.audio_config.depths)


CONFIGS = {
    "clap": ConfigSpec(
        PROJECTION | dict(text_config=None, audio_config=None, logit_scale_init_value=1 / 0.07),
        sub_configs=dict(text_config=ClapTextConfig, audio_config=ClapAudioConfig),
        complete=complete,
        ignore_at_inference=(),
    ),
}
