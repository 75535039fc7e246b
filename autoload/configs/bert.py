"""Defaults of the BERT-like encoders' configurations."""

from autoload.config import ConfigSpec

# An encoder that never decodes; BERT's own fields come on top.
ENCODER = dict(
    vocab_size=30522,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    hidden_act="gelu",
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    max_position_embeddings=512,
    type_vocab_size=2,
    initializer_range=0.02,
    layer_norm_eps=1e-12,
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=None,
    tie_word_embeddings=True,
)
DECODES = dict(use_cache=True, is_decoder=False, add_cross_attention=False)
BERT = ENCODER | DECODES | dict(classifier_dropout=None)


def without(fields: dict, *names: str) -> dict:
    """The fields but for some."""
    return {key: value for key, value in fields.items() if key not in names}


CONFIGS = {
    "bert": ConfigSpec(BERT),
}
