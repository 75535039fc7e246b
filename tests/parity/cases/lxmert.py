"""LXMERT."""

from typing import Any

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

LXMERT = {key: value for key, value in TINY.items() if key not in ("num_hidden_layers", "layer_norm_eps")} | dict(
    l_layers=3,
    x_layers=2,
    r_layers=2,
    visual_feat_dim=10,
    visual_pos_dim=5,
    num_qa_labels=7,
    num_object_labels=6,
    num_attr_labels=4,
    visual_loss_normalizer=2.5,
    hidden_act="relu",
)


def regions(ids: Tensor) -> dict[str, Any]:
    """Four to a text, the last of one text hidden."""
    generator = torch.Generator().manual_seed(9)
    shown = torch.ones(len(ids), 4, dtype=torch.long)
    shown[0, 3] = 0
    return {
        "visual_feats": torch.randn(len(ids), 4, 10, generator=generator),
        "visual_pos": torch.rand(len(ids), 4, 5, generator=generator),
        "visual_attention_mask": shown,
        "token_type_ids": ids % 3,
    }


def answers(ids: Tensor) -> dict[str, Any]:
    return regions(ids) | {"labels": ids[:, 0] % 7}


def everything(ids: Tensor) -> dict[str, Any]:
    """What all the losses ask for."""
    inputs = regions(ids)
    counts = torch.tensor([1.0, 0.0, 0.5, 1.0]).repeat(len(ids), 1)
    objects = {
        "obj": (ids[:, :4] % 6, counts),
        "attr": (ids[:, :4] % 4, counts),
        "feat": (inputs["visual_feats"] + 0.7, counts),
    }
    return inputs | {"labels": ids, "obj_labels": objects, "matched_label": ids[:, 0] % 2, "ans": ids[:, 1] % 7}


CASES = [
    Case("lxmert", LXMERT, inputs=regions),
    Case("lxmert", LXMERT, inputs=answers, label="answers", tasks=("QuestionAnswering",)),
    Case("lxmert", LXMERT, inputs=everything, label="losses", tasks=("PreTraining",)),
    *(
        Case("lxmert", LXMERT | dict.fromkeys(off.split(), False), inputs=everything, label=off, tasks=("PreTraining",))
        for off in (
            "task_qa visual_attr_loss task_matched",
            "task_mask_lm visual_obj_loss",
            "visual_feat_loss",
            "task_obj_predict",
        )
    ),
]
