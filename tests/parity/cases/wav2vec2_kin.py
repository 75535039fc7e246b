"""wav2vec 2.0's kin."""

from tests.parity.cases.wav2vec2 import ADAPTER, CODEBOOKS, SOUND, STABLE, TINY, XVECTOR
from tests.parity.harness import Case

DATA2VEC = TINY | XVECTOR | dict(conv_pos_kernel_size=4, num_conv_pos_embeddings=2)
SEW = TINY | dict(squeeze_factor=2)
UNISPEECH = TINY | CODEBOOKS | dict(num_ctc_classes=11)
SAT = TINY | XVECTOR | CODEBOOKS | dict(num_clusters=9, mask_time_prob=0.0)

CASES = [
    Case("data2vec-audio", DATA2VEC, sound=SOUND),
    Case("data2vec-audio", DATA2VEC | ADAPTER, label="adapter", sound=(700,), tasks=("Model", "CTC")),
    Case("sew", SEW, sound=SOUND),
    Case("sew", SEW | dict(conv_dim=[12, 16, 32], num_conv_pos_embeddings=5), label="odd", sound=(350,)),
    Case("unispeech", UNISPEECH, sound=SOUND),
    Case("unispeech", UNISPEECH | STABLE, label="stable", sound=SOUND),
    Case("unispeech-sat", SAT, sound=SOUND),
    Case("unispeech-sat", SAT | STABLE | dict(use_weighted_layer_sum=True), label="stable", sound=SOUND),
]
