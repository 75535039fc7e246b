"""LongT5."""

from tests.parity.cases.t5 import GATED, TINY
from tests.parity.harness import Case

NEAR = {"local_radius": 3, "global_block_size": 4}
GLOBAL = {"local_radius": 4, "global_block_size": 4, "encoder_attention_type": "transient-global"}

CASES = [
    Case("longt5", TINY | NEAR),
    Case("longt5", GATED | NEAR | dict(local_radius=4), label="uneven"),  # than which no length of a test is a multiple
    Case("longt5", TINY | GLOBAL, label="global"),
    Case("longt5", TINY | GLOBAL | dict(local_radius=2, global_block_size=2), label="small blocks"),
]
