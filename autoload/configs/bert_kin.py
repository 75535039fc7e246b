"""Defaults of the configurations of encoders that change one thing in BERT."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import BERT, DECODES, ENCODER, without


def tables(c: PreTrainedConfig) -> None:
    """The tables are as wide as the model unless the file says otherwise."""
    if c.embedding_size is None:
        c.embedding_size = c.hidden_size


CONFIGS = {
    "ernie": ConfigSpec(BERT | dict(task_type_vocab_size=3, use_task_id=False)),
    "megatron-bert": ConfigSpec(
        without(BERT, "classifier_dropout")
        | dict(vocab_size=29056, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    ),
    "rembert": ConfigSpec(
        without(BERT, "classifier_dropout")
        | dict(
            vocab_size=250300,
            hidden_size=1152,
            num_hidden_layers=32,
            num_attention_heads=18,
            input_embedding_size=256,
            output_embedding_size=1664,
            intermediate_size=4608,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            classifier_dropout_prob=0.1,
            bos_token_id=312,
            eos_token_id=313,
            tie_word_embeddings=False,
        )
    ),
    "roc_bert": ConfigSpec(
        without(BERT, "bos_token_id", "eos_token_id")
        | dict(
            enable_pronunciation=True,
            enable_shape=True,
            pronunciation_embed_dim=768,
            pronunciation_vocab_size=910,
            shape_embed_dim=512,
            shape_vocab_size=24858,
            concat_input=True,
        )
    ),
    "roformer": ConfigSpec(
        without(BERT, "classifier_dropout")
        | dict(vocab_size=50000, embedding_size=None, max_position_embeddings=1536, rotary_value=False),
        complete=tables,
    ),
    "bert-generation": ConfigSpec(
        without(BERT, "classifier_dropout", "type_vocab_size")
        | dict(
            vocab_size=50358,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            bos_token_id=2,
            eos_token_id=1,
        )
    ),
    "splinter": ConfigSpec(without(ENCODER, "tie_word_embeddings") | dict(question_token_id=104)),
    "dpr": ConfigSpec(
        without(ENCODER | DECODES, "tie_word_embeddings", "use_cache") | dict(projection_dim=0),
    ),
}
