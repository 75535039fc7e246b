"""I-BERT."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

WHOLE = TINY | dict(quant_mode=True)
SKIP = {
    "half": "the reference mixes precisions when it is quantised",
    "gradients": "the reference gives the gradient of a residual to its scale; tests/parity/test_ibert.py has them",
}

CASES = [
    Case("ibert", TINY),
    Case("ibert", WHOLE, label="whole", skip=SKIP),
    *(
        Case("ibert", WHOLE | dict(force_dequant=kind), label=kind, skip=SKIP, tasks=("Model", "MaskedLM"))
        for kind in ("gelu", "softmax", "layernorm", "nonlinear")
    ),
]
