"""BigBird-Pegasus, with a source of several blocks, and with one that is seen whole."""

import torch
from torch import Tensor

from tests.parity.cases.bart import COUNTS, TINY
from tests.parity.harness import Case

BIRD = TINY | dict(block_size=3, num_random_blocks=1, max_position_embeddings=60)


def long(ids: Tensor) -> dict[str, Tensor]:
    """As many tokens as blocks need, and the last block not full; the usual number comes out twice as long."""
    return {"input_ids": torch.cat([ids, ids.flip(1)[:, 1:]], 1)} if ids.shape[1] == 12 else {}


SHORT = {"embeddings": "the reference turns to full attention for good when it meets a short source"}

CASES = [
    Case("bigbird_pegasus", BIRD, inputs=long, skip=COUNTS | SHORT),
    Case("bigbird_pegasus", BIRD | dict(attention_type="original_full", use_bias=True), skip=COUNTS, label="full"),
]
