"""PEGASUS-X, with blocks shorter than the source."""

from tests.parity.cases.bart import TINY
from tests.parity.harness import Case

BLOCKS = TINY | dict(num_global_tokens=3, block_size=4, encoder_layers=4)

CASES = [
    Case("pegasus_x", BLOCKS),
    Case("pegasus_x", BLOCKS | dict(block_size=8, stagger_local_blocks=False), label="aligned"),
]
