"""Decoders with several streams."""

from tests.parity.cases.mla_indexed import ALL, FEW, INDEXED
from tests.parity.harness import Case

STREAMS = dict(hc_mult=3, hc_magnitude=1.5, hc_eps=0.05, swiglu_limit=0.2, routed_scaling_factor=1.7)
SHARED = dict(indexer_types=["full", "shared", "full", "shared"])

CASES = [
    Case("hy_v4", INDEXED | STREAMS | SHARED, skip=FEW),
    Case("hy_v4", ALL | STREAMS, label="all"),
]
