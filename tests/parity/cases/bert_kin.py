"""Encoders that change one thing in BERT."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

ROC = dict(pronunciation_embed_dim=8, pronunciation_vocab_size=11, shape_embed_dim=12, shape_vocab_size=13)
QUESTION = 98


def tasks(ids: Tensor) -> dict[str, Tensor]:
    return {"task_type_ids": ids % 3} if ids.dim() == 2 else {}


def senses(ids: Tensor) -> dict[str, Tensor]:
    return {"input_shape_ids": ids % 13, "input_pronunciation_ids": ids % 11} if ids.dim() == 2 else {}


def questions(ids: Tensor) -> dict[str, Tensor]:
    """Two in the first text, one in the others, where no padding hides them."""
    ids = torch.where(ids == QUESTION, 5, ids)
    ids[:, 5] = QUESTION
    ids[0, 6] = QUESTION
    return {"input_ids": ids}


CASES = [
    Case("ernie", TINY | dict(use_task_id=True), inputs=tasks),
    Case("megatron-bert", TINY),
    Case("rembert", TINY | dict(input_embedding_size=12, output_embedding_size=20)),
    Case("roc_bert", TINY | ROC, inputs=senses),
    Case(
        "roc_bert",
        TINY | ROC | dict(concat_input=False, pronunciation_embed_dim=32, shape_embed_dim=32),
        inputs=senses,
        label="averaged",
        tasks=("Model", "MaskedLM"),
    ),
    Case("roformer", TINY | dict(embedding_size=16, rotary_value=True, hidden_act="silu")),
    Case("bert-generation", {key: value for key, value in TINY.items() if key != "type_vocab_size"}),
    Case("splinter", TINY | dict(question_token_id=QUESTION), inputs=questions),
    Case("dpr", TINY | dict(projection_dim=9)),
]
