"""SEW-D."""

from tests.parity.cases.wav2vec2 import SOUND, TINY
from tests.parity.harness import Case

SEWD = TINY | dict(squeeze_factor=2, max_position_embeddings=24, position_buckets=4, feature_layer_norm_eps=1e-2)
APART = dict(share_att_key=False, norm_rel_ebd="none", position_buckets=-1, max_position_embeddings=5)
FIRST = dict(pos_att_type=["c2p"], feat_extract_norm="layer", use_weighted_layer_sum=True, squeeze_factor=3)

CASES = [
    Case("sew-d", SEWD, sound=SOUND),
    Case("sew-d", SEWD | APART | dict(conv_dim=[12, 16, 32], num_conv_pos_embeddings=5), label="apart", sound=(350,)),
    Case("sew-d", SEWD | FIRST, label="c2p", sound=SOUND),
    Case("sew-d", SEWD | dict(relative_attention=False), label="contents", sound=SOUND, tasks=("Model", "CTC")),
]
