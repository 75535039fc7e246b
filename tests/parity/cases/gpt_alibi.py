"""Decoders with linear biases."""

from tests.parity.harness import Case

SPECIAL = dict(vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2)
BLOOM = SPECIAL | dict(hidden_size=24, n_layer=3, n_head=6, layer_norm_epsilon=1e-3)  # 6: no power of two
FALCON = SPECIAL | dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    ffn_hidden_size=37,
    max_position_embeddings=64,
    layer_norm_epsilon=1e-3,
)
NEW = dict(new_decoder_architecture=True, num_kv_heads=2, bias=True)
LINEAR = dict(rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=500.0))
MPT = SPECIAL | dict(d_model=24, n_heads=6, n_layers=3, max_seq_len=64, layer_norm_epsilon=1e-3)

CASES = [
    Case("bloom", BLOOM),
    Case("bloom", BLOOM | dict(apply_residual_connection_post_layernorm=True), label="post"),
    Case("falcon", FALCON),
    Case("falcon", FALCON | NEW, label="40b"),
    Case("falcon", FALCON | NEW | LINEAR | dict(num_ln_in_parallel_attn=1), label="11b"),
    Case(
        "falcon",
        FALCON | dict(alibi=True, parallel_attn=False, multi_query=False, bias=True),
        label="rw",
        skip={"attentions": "the reference's eager kernel adds the biases twice, unlike its own sdpa"},
    ),
    Case("mpt", MPT),
    Case("mpt", MPT | dict(attn_config=dict(clip_qkv=0.2, softmax_scale=0.3)), label="clipped"),
]
