"""BART-like encoder-decoders."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    d_model=32,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    encoder_ffn_dim=37,
    decoder_ffn_dim=41,
    max_position_embeddings=40,
    scale_embedding=True,
    activation_function="gelu_new",
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    decoder_start_token_id=2,
    forced_eos_token_id=2,
)
COUNTS = {"position_ids": "positions are counted, not given"}

MARIAN = TINY | dict(pad_token_id=6, decoder_start_token_id=6, eos_token_id=4, forced_eos_token_id=4)
APART = dict(share_encoder_decoder_embeddings=False, decoder_vocab_size=111)
M2M = TINY | dict(pad_token_id=3)  # a number whose position is in use
TROCR = dict(
    vocab_size=99,
    d_model=32,
    decoder_layers=3,
    decoder_attention_heads=4,
    decoder_ffn_dim=37,
    max_position_embeddings=40,
    scale_embedding=True,
    cross_attention_hidden_size=24,
)

CASES = [
    Case("bart", TINY, skip=COUNTS),
    Case("bart", TINY | dict(decoder_layers=4), tasks=("Model", "Seq2SeqLM"), label="deep"),
    Case("bart", TINY | dict(scale_embedding=False, tie_word_embeddings=False), skip=COUNTS, label="untied"),
    Case("mbart", TINY, skip=COUNTS),
    Case("plbart", TINY | dict(scale_embedding=False), skip=COUNTS),
    Case("mvp", TINY, skip=COUNTS),
    Case("blenderbot", TINY, skip=COUNTS),
    Case("blenderbot-small", TINY, skip=COUNTS),
    Case("pegasus", TINY, skip=COUNTS),
    Case("marian", MARIAN, skip=COUNTS),
    Case("marian", MARIAN | APART, tasks=("Model", "Seq2SeqLM"), label="apart"),
    Case("m2m_100", M2M),
    Case("trocr", TROCR, skip=COUNTS),
    Case(
        "trocr",
        TROCR | dict(use_learned_position_embeddings=False, layernorm_embedding=False, scale_embedding=False),
        skip=COUNTS | {"half": "the reference's fixed positions make the stream fp32"},
        label="fixed",
    ),
]
