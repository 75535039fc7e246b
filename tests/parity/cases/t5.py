"""T5-like encoder-decoders."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    d_model=32,
    d_kv=7,
    d_ff=37,
    num_layers=3,
    num_decoder_layers=2,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    layer_norm_epsilon=1e-3,
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
)
GATED = TINY | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)

CASES = [
    Case("t5", TINY),
    Case("t5", GATED, label="gated"),
    Case("mt5", TINY | dict(feed_forward_proj="gated-silu")),
    Case("umt5", TINY | dict(feed_forward_proj="gated-gelu")),
]
