"""MPNet."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [Case("mpnet", TINY)]
