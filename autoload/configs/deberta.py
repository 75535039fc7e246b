"""Defaults of DeBERTa's configurations."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER

DEBERTA = ENCODER | dict(
    vocab_size=50265,
    type_vocab_size=0,
    layer_norm_eps=1e-7,
    relative_attention=False,
    max_relative_positions=-1,
    position_biased_input=True,
    pos_att_type=None,
    pooler_dropout=0.0,
    pooler_hidden_act="gelu",
    legacy=True,
)


def complete(c: PreTrainedConfig) -> None:
    """`pos_att_type` may be written "c2p|p2c"; the pooler is as wide as the model."""
    if isinstance(c.pos_att_type, str):
        c.pos_att_type = [kind.strip() for kind in c.pos_att_type.lower().split("|")]
    c.__dict__.setdefault("pooler_hidden_size", c.hidden_size)


CONFIGS = {
    "deberta": ConfigSpec(DEBERTA, complete=complete),
    "deberta-v2": ConfigSpec(
        DEBERTA
        | dict(
            vocab_size=128100, hidden_size=1536, num_hidden_layers=24, num_attention_heads=24, intermediate_size=6144
        ),
        complete=complete,
    ),
}
