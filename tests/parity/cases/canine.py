"""CANINE."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CANINE = {key: value for key, value in TINY.items() if key != "vocab_size"} | dict(
    num_hash_functions=4, num_hash_buckets=50, local_transformer_stride=5, downsampling_rate=2
)

CASES = [Case("canine", CANINE)]
