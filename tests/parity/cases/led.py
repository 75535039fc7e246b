"""LED, with windows shorter than the source."""

import torch
from torch import Tensor

from tests.parity.cases.bart import TINY
from tests.parity.harness import Case

POSITIONS = ("max_position_embeddings", "scale_embedding")
LED = {key: value for key, value in TINY.items() if key not in POSITIONS} | dict(
    max_encoder_position_embeddings=44, max_decoder_position_embeddings=40, attention_window=[4, 6, 4]
)


def wide(ids: Tensor) -> dict[str, Tensor]:
    """Some tokens see everything: none in the last text."""
    mask = torch.zeros_like(ids)
    mask[:2, 4] = 1
    mask[0, 3] = 1
    return {"global_attention_mask": mask}


STATIC = {"generate static": "the reference's single steps look at keys that were not written yet"}
CASES = [Case("led", LED, skip=STATIC), Case("led", LED, inputs=wide, skip=STATIC, label="wide")]
