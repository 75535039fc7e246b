"""Defaults of LayoutLMv2's configuration."""

import copy

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER, without

LEVELS, STAGES = ["p2", "p3", "p4", "p5"], ["res2", "res3", "res4", "res5"]
SIZES = [[32], [64], [128], [256], [512]]
# Of the image tower, under the names that its library gives them. Most of them speak of parts that are left out here.
TOWER = {
    f"MODEL.{name}": value
    for name, value in {
        "ANCHOR_GENERATOR.SIZES": SIZES,
        "BACKBONE.NAME": "build_resnet_fpn_backbone",
        "FPN.IN_FEATURES": STAGES,
        "MASK_ON": True,
        "PIXEL_STD": [57.375, 57.12, 58.395],
        "POST_NMS_TOPK_TEST": 1000,
        "RESNETS.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
        "RESNETS.DEPTH": 101,
        "RESNETS.NUM_GROUPS": 32,
        "RESNETS.OUT_FEATURES": STAGES,
        "RESNETS.SIZES": SIZES,
        "RESNETS.STRIDE_IN_1X1": False,
        "RESNETS.WIDTH_PER_GROUP": 8,
        "ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "ROI_BOX_HEAD.NUM_FC": 2,
        "ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
        "ROI_HEADS.IN_FEATURES": LEVELS,
        "ROI_HEADS.NAME": "StandardROIHeads",
        "ROI_HEADS.NUM_CLASSES": 5,
        "ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
        "ROI_MASK_HEAD.NUM_CONV": 4,
        "ROI_MASK_HEAD.POOLER_RESOLUTION": 7,
        "RPN.IN_FEATURES": [*LEVELS, "p6"],
        "RPN.POST_NMS_TOPK_TRAIN": 1000,
        "RPN.PRE_NMS_TOPK_TEST": 1000,
        "RPN.PRE_NMS_TOPK_TRAIN": 2000,
    }.items()
}


def complete(c: PreTrainedConfig) -> None:
    if c.detectron2_config_args is None:
        c.detectron2_config_args = copy.deepcopy(TOWER)


CONFIGS = {
    "layoutlmv2": ConfigSpec(
        without(ENCODER, "bos_token_id", "eos_token_id", "tie_word_embeddings")
        | dict(
            max_2d_position_embeddings=1024,
            max_rel_pos=128,
            rel_pos_bins=32,
            fast_qkv=True,
            max_rel_2d_pos=256,
            rel_2d_pos_bins=64,
            convert_sync_batchnorm=True,
            image_feature_pool_shape=[7, 7, 256],
            coordinate_size=128,
            shape_size=128,
            has_relative_attention_bias=True,
            has_spatial_attention_bias=True,
            has_visual_segment_embedding=False,
            detectron2_config_args=None,
        ),
        complete=complete,
        ignore_at_inference=(),
    )
}
