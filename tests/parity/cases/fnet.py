"""FNet."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

FNET = {key: value for key, value in TINY.items() if key != "num_attention_heads"}

CASES = [
    Case(
        "fnet",
        FNET,
        skip={
            "attentions": "it has no attention",
            "half": "the reference has no Fourier transform in bfloat16",
        },
    )
]
