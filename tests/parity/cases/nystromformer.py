"""Nystromformer."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [
    Case(
        "nystromformer",
        TINY | dict(segment_means_seq_len=12, num_landmarks=4, conv_kernel_size=5),
        skip={
            "padding": "in the reference a mask of queries and keys meets scores of landmarks",
            "half": "the reference inverts in single precision only",
        },
    ),
    Case("nystromformer", TINY | dict(conv_kernel_size=7), label="plain", tasks=("Model",)),
]
