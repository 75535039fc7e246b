"""T5Gemma."""

from tests.parity.harness import Case

SIDE = dict(
    vocab_size=99,
    hidden_size=32,
    intermediate_size=37,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=64,
    query_pre_attn_scalar=11,
    sliding_window=4,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    attention_bias=True,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=2,
)
DECODER = SIDE | dict(hidden_size=24, num_hidden_layers=2, rope_parameters={"rope_type": "default", "rope_theta": 50.0})
T5GEMMA = dict(encoder=SIDE, decoder=DECODER, vocab_size=99, pad_token_id=0, eos_token_id=1, bos_token_id=2)
BOTH = ("Model", "Seq2SeqLM", "SequenceClassification", "TokenClassification")

CASES = [
    Case("t5gemma", T5GEMMA, tasks=BOTH),
    Case("t5gemma", T5GEMMA | dict(tie_word_embeddings=False), tasks=BOTH[:2], label="untied"),
    Case(
        "t5gemma",
        T5GEMMA | dict(is_encoder_decoder=False),
        tasks=("TextEncoding", "SequenceClassification", "TokenClassification"),
        label="encoder",
    ),
]
