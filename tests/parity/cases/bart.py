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

CASES = [
    Case("bart", TINY, skip=COUNTS),
    Case("bart", TINY | dict(decoder_layers=4), tasks=("Model", "Seq2SeqLM"), label="deep"),
    Case("bart", TINY | dict(scale_embedding=False, tie_word_embeddings=False), skip=COUNTS, label="untied"),
]
