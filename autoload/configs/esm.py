"""Defaults of ESM's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import DECODES, ENCODER, without


def complete(c: PreTrainedConfig) -> None:
    """What only a folding model has stays empty in the others."""
    if not c.is_folding_model:
        c.esmfold_config = c.vocab_list = None


CONFIGS = {
    "esm": ConfigSpec(
        without(ENCODER, "hidden_act", "type_vocab_size")
        | DECODES
        | dict(
            vocab_size=None,
            mask_token_id=None,
            pad_token_id=None,
            max_position_embeddings=1026,
            rope_theta=10000.0,
            position_embedding_type="absolute",
            emb_layer_norm_before=None,
            token_dropout=False,
            is_folding_model=False,
            esmfold_config=None,
            vocab_list=None,
            eos_token_id=2,
        ),
        complete=complete,
    )
}
