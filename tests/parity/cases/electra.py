"""ELECTRA."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [Case("electra", TINY | dict(embedding_size=16))]
