"""Defaults of TVP's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "tvp": ConfigSpec(
        without(ENCODER, "bos_token_id", "eos_token_id", "tie_word_embeddings")
        | dict(
            backbone_config=None,
            distance_loss_weight=1.0,
            duration_loss_weight=0.1,
            visual_prompter_type="framepad",
            visual_prompter_apply="replace",
            visual_prompt_size=96,
            max_img_size=448,
            num_frames=48,
            max_grid_col_position_embeddings=100,
            max_grid_row_position_embeddings=100,
            pad_token_id=None,
        ),
        sub_configs=dict(backbone_config="resnet"),
        ignore_at_inference=(),
    )
}
