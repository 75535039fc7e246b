"""TVP."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.cases.resnet import TINY as RESNET
from tests.parity.harness import Case

TVP = {key: value for key, value in TINY.items() if key != "type_vocab_size"} | dict(
    backbone_config=RESNET | dict(model_type="resnet", num_channels=3, out_features=["stage3"]),
    visual_prompt_size=7,
    max_img_size=48,
    num_frames=2,
    max_grid_col_position_embeddings=9,
    max_grid_row_position_embeddings=8,
    type_vocab_size=3,
)
SMALL = TVP | dict(max_grid_col_position_embeddings=3, max_grid_row_position_embeddings=2)


def film(ids: Tensor, height: int = 48, width: int = 48) -> dict[str, Tensor]:
    """One text: the reference takes no more at a time."""
    frames = torch.randn(1, 2, 3, height, width, generator=torch.Generator().manual_seed(9))
    return {"input_ids": ids[:1], "pixel_values": frames}


def wide(ids: Tensor) -> dict[str, Tensor | bool]:
    """Frames of another size, with more fields than the tables have."""
    return film(ids, 96, 128) | {"interpolate_pos_encoding": True}


SKIP = {"padding": "the reference takes one text at a time; test_images pads it"}
CASES = [
    Case("tvp", TVP, inputs=film, skip=SKIP),
    Case("tvp", SMALL | dict(visual_prompter_apply="add"), inputs=wide, skip=SKIP, label="wide"),
    Case("tvp", TVP | dict(visual_prompter_apply="remove"), inputs=film, skip=SKIP, label="bare"),
]
