"""ViLT."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

VILT = TINY | dict(
    image_size=12, patch_size=4, num_channels=2, qkv_bias=False, modality_type_vocab_size=3, hidden_act="relu"
)


def patches(ids: Tensor) -> dict[str, Tensor]:
    """Vectors of patches, the last of one image hidden: pixels would be drawn by chance."""
    shown = torch.ones(len(ids), 5, dtype=torch.long)
    shown[0, 4] = 0
    vectors = torch.randn(len(ids), 5, 32, generator=torch.Generator().manual_seed(9))
    return {"image_embeds": vectors, "pixel_mask": shown, "token_type_ids": ids % 3}


def answers(ids: Tensor) -> dict[str, Tensor]:
    return patches(ids) | {"labels": torch.rand(len(ids), 5, generator=torch.Generator().manual_seed(8))}


CASES = [
    Case("vilt", VILT, inputs=patches),
    Case("vilt", VILT | dict(qkv_bias=True), inputs=answers, label="answers", tasks=("VisualQuestionAnswering",)),
]
