"""Pop2Piano; the harness gives it tokens, test_t5 the frames of a song."""

from tests.parity.cases.t5 import GATED, TINY
from tests.parity.harness import Case

CASES = [
    Case("pop2piano", TINY | dict(feed_forward_proj="gated-gelu", composer_vocab_size=3)),
    Case("pop2piano", GATED | dict(feed_forward_proj="relu", composer_vocab_size=3), label="plain"),
]
