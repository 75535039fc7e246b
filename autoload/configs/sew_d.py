"""Defaults of the configuration of SEW-D."""

from autoload.configs.bert import without
from autoload.configs.wav2vec2 import spec
from autoload.configs.wav2vec2_kin import CONFIGS as KIN

CONFIGS = {
    "sew-d": spec(
        without(dict(KIN["sew"].defaults), "layerdrop"),
        max_position_embeddings=512,
        position_buckets=256,
        share_att_key=True,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        hidden_act="gelu_python",
        layer_norm_eps=1e-7,
        feature_layer_norm_eps=1e-5,
    ),
}
