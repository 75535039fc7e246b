"""LUKE."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

LUKE = TINY | dict(entity_vocab_size=19, entity_emb_size=12)


def entities(ids: Tensor) -> dict[str, Tensor]:
    """Three to each text: of one word, of two and of none."""
    few = ids[..., :3]
    places = torch.tensor([[5, -1], [6, 7], [-1, -1]]).expand(*few.shape, 2)
    return {"entity_ids": few % 19, "entity_position_ids": places, "entity_token_type_ids": few % 3}


CASES = [
    Case("luke", LUKE, inputs=entities),
    Case("luke", LUKE | dict(entity_emb_size=32, use_entity_aware_attention=False), inputs=entities, label="unaware"),
    Case("luke", LUKE, label="words", tasks=("Model", "TokenClassification")),
]
