"""DeBERTa."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

RELATIVE = TINY | dict(relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=5)
V3 = RELATIVE | dict(
    position_buckets=4,
    max_relative_positions=-1,
    share_att_key=True,
    norm_rel_ebd="layer_norm",
    position_biased_input=False,
    type_vocab_size=0,
)

CASES = [
    Case("deberta", RELATIVE | dict(pooler_hidden_act="tanh", embedding_size=16)),
    Case("deberta", TINY | dict(type_vocab_size=0, legacy=False, embedding_size=32), label="absolute"),
    Case("deberta-v2", V3),
    Case(
        "deberta-v2",
        RELATIVE
        | dict(conv_kernel_size=3, conv_act="gelu", position_buckets=6, max_relative_positions=9, legacy=False),
        label="convolution",
    ),
    Case("deberta-v2", RELATIVE | dict(pos_att_type="c2p", embedding_size=16), label="c2p"),
]
