"""VisualBERT."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case


def regions(ids: Tensor) -> dict[str, Tensor]:
    """Four to a text, the last of one text hidden; they show one word, two, or none."""
    generator = torch.Generator().manual_seed(9)
    shown = torch.ones(len(ids), 4, dtype=torch.long)
    shown[0, 3] = 0
    words = torch.tensor([[5, -1], [6, 7], [-1, -1], [2, 3]]).expand(len(ids), 4, 2)
    return {
        "visual_embeds": torch.randn(len(ids), 4, 10, generator=generator),
        "visual_attention_mask": shown,
        "visual_token_type_ids": shown + 1,
        "image_text_alignment": words,
    }


CASES = [
    Case("visual_bert", TINY | dict(visual_embedding_dim=10), inputs=regions),
    Case("visual_bert", TINY, label="words", tasks=("Model",)),
]
