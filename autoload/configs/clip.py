"""Defaults of the image towers of CLIP and its kin."""

from autoload.config import ConfigSpec
from autoload.configs.vit import IMAGES, SIZES

TOWER = SIZES | IMAGES | dict(attention_dropout=0.0)

CONFIGS = {
    "clip_vision_model": ConfigSpec(
        TOWER
        | dict(
            projection_dim=512,
            patch_size=32,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            initializer_range=0.02,
            initializer_factor=1.0,
        ),
        ignore_at_inference=(),
    ),
    "siglip_vision_model": ConfigSpec(
        TOWER | dict(hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, vision_use_head=True),
        ignore_at_inference=(),
    ),
}
