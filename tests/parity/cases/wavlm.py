"""WavLM."""

from tests.parity.cases.wav2vec2 import ADAPTER, SOUND, STABLE, TINY, XVECTOR
from tests.parity.harness import Case

WAVLM = TINY | XVECTOR | dict(num_buckets=12, max_bucket_distance=9)

CASES = [
    Case("wavlm", WAVLM, sound=SOUND),
    Case("wavlm", WAVLM | STABLE | dict(use_weighted_layer_sum=True), label="stable", sound=SOUND),
    Case("wavlm", WAVLM | ADAPTER, label="adapter", sound=(700,), tasks=("Model", "CTC")),
]
