"""The first decoders with rotary positions."""

from tests.parity.harness import Case

SPECIAL = dict(vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2)
NEOX = SPECIAL | dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=64, layer_norm_eps=1e-3
)
PARTIAL = dict(rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5))
LINEAR = dict(rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=1e4, partial_rotary_factor=0.5))
GPTJ = SPECIAL | dict(n_embd=32, n_layer=3, n_head=4, n_positions=64, rotary_dim=4, n_inner=37, layer_norm_epsilon=1e-3)

CASES = [
    Case("gpt_neox", NEOX | PARTIAL | dict(intermediate_size=37)),
    Case(
        "gpt_neox",
        NEOX | LINEAR | dict(intermediate_size=37, use_parallel_residual=False, attention_bias=False),
        label="sequential",
    ),
    Case("gpt_neox_japanese", NEOX | PARTIAL | dict(intermediate_multiple_size=2)),
    Case("gptj", GPTJ),
    Case("gptj", GPTJ | dict(rotary_dim=8, tie_word_embeddings=True), label="tied"),
    Case("codegen", GPTJ | dict(n_head=8, rotary_dim=2)),
]
