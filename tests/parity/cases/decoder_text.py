"""Text parts of further multimodal models."""

import torch
from torch import Tensor

from tests.parity.cases.decoder import BIASED, TINY, WINDOW
from tests.parity.harness import Case

MOLMO = BIASED | dict(head_dim=12, additional_vocab_size=5, rope_scaling_layers=[1, 2])
LINEAR = dict(rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.0))


def delay(input_ids: Tensor) -> dict[str, Tensor]:
    return {"t_cond": torch.linspace(-1, 1, 32)[None, None]}


CASES = [
    Case("molmo2_text", MOLMO | LINEAR),
    Case("molmo2_text", MOLMO | dict(qk_norm_type="olmo", norm_after=True, attention_bias=False), label="after"),
    Case(
        "voxtral_realtime_text",
        TINY | dict(head_dim=12) | WINDOW,
        inputs=delay,
        skip={"half": "the delay must come in the model's dtype, in the reference too"},
    ),
]
