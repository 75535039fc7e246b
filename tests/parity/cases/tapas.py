"""TAPAS."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

TAPAS = {key: value for key, value in TINY.items() if key != "type_vocab_size"} | dict(
    type_vocab_sizes=[3, 5, 4, 2, 3, 3, 4]
)


def cells(ids: Tensor) -> dict[str, Tensor]:
    columns = torch.arange(ids.shape[-1]) // 5
    kinds = [ids % 3, columns.expand_as(ids), ids % 2, ids % 2, ids % 3, (ids + 1) % 3, ids % 4]
    return {"token_type_ids": torch.stack(kinds, -1)}


CASES = [
    Case("tapas", TAPAS, inputs=cells),
    Case("tapas", TAPAS | dict(reset_position_index_per_cell=False), inputs=cells, label="flat", tasks=("Model",)),
]
