"""ELECTRA and ConvBERT."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [
    Case("electra", TINY | dict(embedding_size=16)),
    Case("convbert", TINY | dict(embedding_size=16, conv_kernel_size=5, hidden_act="silu")),
    Case("convbert", TINY | dict(embedding_size=32, num_groups=2, intermediate_size=36, head_ratio=8), label="groups"),
]
