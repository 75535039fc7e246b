"""RoBERTa and its relatives."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [
    Case("roberta", TINY),
    Case("xlm-roberta", TINY),
    Case("camembert", TINY),
    Case("data2vec-text", TINY),
    Case("xlm-roberta-xl", TINY),
    Case("roberta-prelayernorm", TINY),
]
