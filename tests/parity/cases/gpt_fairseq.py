"""Decoders that were trained with fairseq, and CTRL."""

from tests.parity.harness import Case

TINY = dict(vocab_size=99, pad_token_id=5, bos_token_id=1, eos_token_id=2)  # 5: a row of xglm's positions in use
OPT = TINY | dict(
    hidden_size=32,
    num_hidden_layers=3,
    ffn_dim=37,
    num_attention_heads=4,
    max_position_embeddings=40,
    word_embed_proj_dim=32,
    activation_function="gelu",
)
BIOGPT = TINY | dict(
    hidden_size=32, num_hidden_layers=3, intermediate_size=37, num_attention_heads=4, max_position_embeddings=40
)
XGLM = TINY | dict(d_model=32, num_layers=3, ffn_dim=37, attention_heads=4, max_position_embeddings=40)
CTRL = TINY | dict(n_positions=40, n_embd=32, dff=37, n_layer=3, n_head=4, layer_norm_epsilon=1e-3)

CASES = [
    Case("opt", OPT),
    Case("opt", OPT | dict(word_embed_proj_dim=16, do_layer_norm_before=False), label="350m"),
    Case("opt", OPT | dict(enable_bias=False, layer_norm_elementwise_affine=False), label="galactica"),
    Case("opt", OPT | dict(_remove_final_layer_norm=True), label="open"),
    Case("biogpt", BIOGPT),
    Case("biogpt", BIOGPT | dict(scale_embedding=False), label="unscaled"),
    Case("xglm", XGLM),
    Case("xglm", XGLM | dict(scale_embedding=False, add_cross_attention=True), label="cross"),
    Case("ctrl", CTRL),
]
