"""X-MOD."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

XMOD = TINY | dict(languages=["en", "de", "fr"], default_language="de")


def languages(ids: Tensor) -> dict[str, Tensor]:
    return {"lang_ids": torch.arange(ids.shape[0]) % 3} if ids.dim() == 2 else {}


CASES = [
    Case("xmod", XMOD, inputs=languages),
    Case(
        "xmod",
        XMOD | dict(pre_norm=True, adapter_layer_norm=True, ln_before_adapter=False),
        inputs=languages,
        label="first",
        tasks=("Model", "MaskedLM", "CausalLM"),
    ),
]
