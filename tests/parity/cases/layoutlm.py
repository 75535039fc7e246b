"""Encoders that know where a word stands."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

PAGE = TINY | dict(max_2d_position_embeddings=1024)
V3 = PAGE | dict(
    coordinate_size=4,
    shape_size=8,
    rel_pos_bins=8,
    max_rel_pos=9,
    rel_2d_pos_bins=12,
    max_rel_2d_pos=300,
    input_size=8,
    patch_size=4,
)


def boxes(ids: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    corners = torch.randint(0, 1000, (*ids.shape, 2, 2), generator=generator)
    return {"bbox": corners.sort(-2).values.flatten(-2)}


def near_boxes(ids: Tensor) -> dict[str, Tensor]:
    return {"bbox": boxes(ids)["bbox"] / 1000}


def boxes_and_picture(ids: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(6)
    return boxes(ids) | {"pixel_values": torch.randn(len(ids), 3, 8, 8, generator=generator)}


def paths(ids: Tensor) -> dict[str, Tensor]:
    deep = torch.stack([ids, ids + 1, ids + 2], -1)
    return {"xpath_tags_seq": deep % 17, "xpath_subs_seq": deep % 13}


CASES = [
    Case("layoutlm", PAGE, inputs=boxes),
    Case("layoutlmv3", V3, inputs=boxes),
    Case("layoutlmv3", V3 | dict(has_spatial_attention_bias=False), inputs=boxes_and_picture, label="picture"),
    Case("layoutlmv3", V3 | dict(num_labels=11), inputs=boxes_and_picture, label="labels"),
    Case("lilt", PAGE | dict(hidden_size=48, channel_shrink_ratio=3), inputs=boxes),
    Case("bros", TINY | dict(hidden_size=64), inputs=near_boxes),
    Case(
        "markuplm",
        TINY
        | dict(
            max_xpath_tag_unit_embeddings=17,
            max_xpath_subs_unit_embeddings=13,
            tag_pad_id=16,
            subs_pad_id=12,
            xpath_unit_hidden_size=5,
            max_depth=3,
        ),
        inputs=paths,
    ),
]
