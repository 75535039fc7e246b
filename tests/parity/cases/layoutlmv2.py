"""LayoutLMv2."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.cases.layoutlm import boxes
from tests.parity.harness import Case

TOWER = {
    "MODEL.PIXEL_STD": [57.0, 58.0, 59.0],
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 6,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.RESNETS.NUM_GROUPS": 2,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 3,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.FPN.OUT_CHANNELS": 10,
}
PAGE = TINY | dict(
    max_2d_position_embeddings=1024,
    coordinate_size=4,
    shape_size=8,
    rel_pos_bins=8,
    max_rel_pos=9,
    rel_2d_pos_bins=12,
    max_rel_2d_pos=300,
    image_feature_pool_shape=[2, 3, 10],
    detectron2_config_args=TOWER,
)


def page(ids: Tensor) -> dict[str, Tensor]:
    pixels = torch.rand(len(ids), 3, 32, 64, generator=torch.Generator().manual_seed(6)) * 255
    return boxes(ids) | {"image": pixels, "token_type_ids": ids % 3}


OFF = dict(fast_qkv=False, has_visual_segment_embedding=True)
CASES = [
    Case("layoutlmv2", PAGE, inputs=page),
    Case("layoutlmv2", PAGE | OFF | dict(has_relative_attention_bias=False), inputs=page, label="page"),
    Case(
        "layoutlmv2", PAGE | OFF | dict(has_spatial_attention_bias=False), inputs=page, label="text", tasks=("Model",)
    ),
]
