"""Defaults of vision transformers' configurations."""

from autoload.config import ConfigSpec, PreTrainedConfig

IMAGES = dict(num_channels=3, image_size=224, patch_size=16)
SIZES = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)


def complete(c: PreTrainedConfig) -> None:
    """The pooler is as wide as the model unless its size is given."""
    c.pooler_output_size = c.pooler_output_size or c.hidden_size


CONFIGS = {
    "vit": ConfigSpec(
        SIZES
        | IMAGES
        | dict(
            hidden_act="gelu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.02,
            layer_norm_eps=1e-12,
            qkv_bias=True,
            encoder_stride=16,
            pooler_output_size=None,
            pooler_act="tanh",
        ),
        complete=complete,
        ignore_at_inference=(),
    ),
}
