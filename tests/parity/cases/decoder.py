"""Llama-like decoders."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
BIASED = TINY | dict(attention_bias=True)
WINDOW = dict(sliding_window=5)  # shorter than the sequences of the tests
LLAMA3 = dict(rope_type="llama3", rope_theta=1e4, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)

CASES = [
    Case("llama", BIASED | dict(mlp_bias=True)),
    Case("llama", TINY | dict(head_dim=12, tie_word_embeddings=True), label="tied"),
    Case("llama", TINY | dict(rope_parameters=LLAMA3 | dict(original_max_position_embeddings=16)), label="llama3"),
    Case("llama", TINY | dict(rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=1e4)), label="linear"),
    Case(
        "llama",
        TINY | dict(max_position_embeddings=8, rope_parameters=dict(rope_type="dynamic", factor=2.0, rope_theta=1e4)),
        label="dynamic",
        skip={"cache": "the frequencies depend on the length, so cached keys differ from those of the full pass"},
    ),
    Case(
        "llama",
        TINY
        | dict(rope_parameters=dict(rope_type="yarn", factor=4.0, rope_theta=1e4, original_max_position_embeddings=16)),
        label="yarn",
    ),
    Case("mistral", TINY | WINDOW),
    Case("qwen2", TINY | dict(use_sliding_window=True, max_window_layers=2) | WINDOW),
    Case("qwen3", BIASED | dict(head_dim=12, use_sliding_window=True, max_window_layers=2) | WINDOW),
    Case("gemma", BIASED | dict(head_dim=12)),
    Case("gemma2", BIASED | dict(head_dim=12, query_pre_attn_scalar=7, attn_logit_softcapping=2.0) | WINDOW),
    Case("phi3", TINY | WINDOW),
    Case(
        "phi3",
        TINY
        | dict(
            original_max_position_embeddings=8,
            rope_parameters=dict(
                rope_type="longrope",
                rope_theta=1e4,
                short_factor=[1.1, 1.2, 1.3, 1.4],
                long_factor=[2.0, 2.5, 3.0, 3.5],
            ),
        ),
        label="longrope",
        skip={"cache": "the frequencies depend on the length, so cached keys differ from those of the full pass"},
    ),
    Case("olmo2", BIASED),
    Case(
        "granite",
        BIASED
        | dict(
            mlp_bias=True,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.7,
            attention_multiplier=0.3,
        ),
    ),
    Case("cohere", BIASED | dict(use_qk_norm=True, logit_scale=0.3)),
]
