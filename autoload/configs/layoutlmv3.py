"""Defaults of LayoutLMv3's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "layoutlmv3": ConfigSpec(
        without(ENCODER, "tie_word_embeddings")
        | dict(
            vocab_size=50265,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            max_2d_position_embeddings=1024,
            coordinate_size=128,
            shape_size=128,
            has_relative_attention_bias=True,
            rel_pos_bins=32,
            max_rel_pos=128,
            rel_2d_pos_bins=64,
            max_rel_2d_pos=256,
            has_spatial_attention_bias=True,
            text_embed=True,
            visual_embed=True,
            input_size=224,
            num_channels=3,
            patch_size=16,
            classifier_dropout=None,
        )
    )
}
