"""Defaults of LUKE's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "luke": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=50267,
            entity_vocab_size=500000,
            entity_emb_size=256,
            use_entity_aware_attention=True,
            classifier_dropout=None,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
        )
    )
}
