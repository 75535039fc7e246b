"""TAPAS."""

import math

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

TAPAS = {key: value for key, value in TINY.items() if key != "type_vocab_size"} | dict(
    type_vocab_sizes=[3, 5, 4, 2, 3, 3, 4], max_num_rows=2, max_num_columns=2, temperature=1.4, hidden_act="relu"
)
OPERATIONS = dict(num_aggregation_labels=4, aggregation_loss_weight=0.7)
WEAK = OPERATIONS | dict(
    use_answer_as_supervision=True,
    answer_loss_importance=0.6,
    aggregation_temperature=1.3,
    cell_selection_preference=0.75,
)


def cells(ids: Tensor) -> dict[str, Tensor]:
    columns = torch.arange(ids.shape[-1]) // 5
    kinds = [ids % 3, columns.expand_as(ids), ids % 3, ids % 2, ids % 3, (ids + 1) % 3, ids % 4]
    return {"token_type_ids": torch.stack(kinds, -1)}


def answered(ids: Tensor) -> dict[str, Tensor]:
    """Cells of one column, of several, of none; never those of the question, whose loss would drown all others."""
    inputs = cells(ids)
    columns = inputs["token_type_ids"][..., 1]
    labels = ((ids % 4 != 1) & (columns > 0)).long()
    labels[0] *= columns[0] == 1
    labels[2] = 0
    return inputs | {"labels": labels, "aggregation_labels": torch.tensor([2, 0, 3])}


def answered_in_floats(ids: Tensor) -> dict[str, Tensor]:
    """Without columns the reference takes only these."""
    inputs = answered(ids)
    return inputs | {"labels": inputs["labels"].float()}


def numbers(ids: Tensor) -> dict[str, Tensor]:
    """One answer is a text, two are numbers; one of these stands in the table."""
    inputs = answered(ids)
    del inputs["aggregation_labels"]
    values = (ids % 7).float().masked_fill(ids % 3 == 0, math.nan)
    answers = torch.tensor([math.nan, 3.0, 5.5])
    scale = 1 + (ids % 2).float()
    return inputs | {"float_answer": answers, "numeric_values": values, "numeric_values_scale": scale}


TABLE = ("TableQuestionAnswering",)
CASES = [
    Case("tapas", TAPAS, inputs=cells),
    Case("tapas", TAPAS | dict(reset_position_index_per_cell=False), inputs=cells, label="flat", tasks=("Model",)),
    Case(
        "tapas",
        TAPAS | OPERATIONS | dict(allow_empty_column_selection=True),
        inputs=answered,
        label="column",
        tasks=TABLE,
    ),
    Case(
        "tapas",
        TAPAS | OPERATIONS | dict(select_one_column=False, average_logits_per_cell=True, positive_label_weight=3.0),
        inputs=answered_in_floats,
        label="tokens",
        tasks=TABLE,
    ),
    Case(
        "tapas",
        TAPAS | WEAK | dict(huber_loss_delta=0.8, answer_loss_cutoff=9.0),
        inputs=numbers,
        label="answer",
        tasks=TABLE,
    ),
    Case(
        "tapas",
        TAPAS | WEAK | dict(huber_loss_delta=0.8, answer_loss_cutoff=0.1),
        inputs=numbers,
        label="cutoff",
        tasks=TABLE,
    ),
    *(
        Case(
            "tapas",
            TAPAS | WEAK | dict(use_normalized_answer_loss=True, average_approximation_function=how),
            inputs=numbers,
            label=how,
            tasks=TABLE,
        )
        for how in ("first_order", "second_order")
    ),
    Case(
        "tapas",
        TAPAS | OPERATIONS | dict(disable_per_token_loss=True),
        inputs=answered,
        label="operation",
        tasks=TABLE,
    ),
]
