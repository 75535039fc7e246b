"""ALBERT."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [Case("albert", TINY | dict(embedding_size=16, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2))]
