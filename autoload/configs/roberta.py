"""Defaults of RoBERTa's and its relatives' configurations."""

from autoload.config import ConfigSpec
from autoload.configs.bert import BERT

ROBERTA = BERT | dict(pad_token_id=1, bos_token_id=0, eos_token_id=2)

CONFIGS = {
    "roberta": ConfigSpec(ROBERTA | dict(vocab_size=50265)),
    "xlm-roberta": ConfigSpec(ROBERTA),
    "camembert": ConfigSpec(ROBERTA),
    "data2vec-text": ConfigSpec(ROBERTA),
    "xlm-roberta-xl": ConfigSpec(
        ROBERTA
        | dict(
            vocab_size=250880,
            hidden_size=2560,
            num_hidden_layers=36,
            num_attention_heads=32,
            intermediate_size=10240,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )
    ),
    "roberta-prelayernorm": ConfigSpec(ROBERTA | dict(vocab_size=50265)),
}
