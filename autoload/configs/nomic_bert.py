"""Defaults of the configurations of BERT with rotary positions."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER, without

ROTARY = ENCODER | dict(classifier_dropout=None, rope_parameters=None)


def head_dim(c: PreTrainedConfig) -> None:
    """The heads share the width evenly unless the file says otherwise."""
    if c.head_dim is None:
        c.head_dim = c.hidden_size // c.num_attention_heads


CONFIGS = {
    "nomic_bert": ConfigSpec(
        without(ROTARY, "tie_word_embeddings")
        | dict(
            vocab_size=30528,
            hidden_act="silu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=2048,
            head_dim=None,
        ),
        complete=head_dim,
        theta=1000.0,
    ),
    "gte": ConfigSpec(
        ROTARY
        | dict(
            vocab_size=250048,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=8192,
            type_vocab_size=1,
            pad_token_id=1,
        ),
        theta=160_000.0,
    ),
    "jina_embeddings_v3": ConfigSpec(
        ROTARY
        | dict(
            vocab_size=250002,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            max_position_embeddings=8194,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            use_cache=True,
        ),
        theta=20_000.0,
    ),
}
