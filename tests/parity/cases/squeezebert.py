"""SqueezeBERT."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [
    Case(
        "squeezebert",
        TINY
        | dict(embedding_size=32, intermediate_size=40, q_groups=2, k_groups=4, v_groups=1, post_attention_groups=2),
    )
]
