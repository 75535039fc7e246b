"""GPT-2 and its nearest kin."""

from tests.parity.harness import Case

SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
GPT2 = SPECIAL | dict(vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=64, layer_norm_epsilon=1e-3)
NEO = SPECIAL | dict(
    vocab_size=99,
    hidden_size=32,
    num_layers=4,
    num_heads=4,
    max_position_embeddings=64,
    attention_types=[[["global", "local"], 2]],
    window_size=5,  # shorter than the sequences of the tests
    intermediate_size=37,
    layer_norm_epsilon=1e-3,
)
UNSCALED = dict(n_inner=37, scale_attn_weights=False)
INVERSE = dict(scale_attn_by_inverse_layer_idx=True)

CASES = [
    Case("gpt2", GPT2),
    Case("gpt2", GPT2 | INVERSE | dict(n_inner=37), label="scaled"),
    Case("gpt2", GPT2 | UNSCALED, label="unscaled"),
    Case("gpt_bigcode", GPT2),
    Case("gpt_bigcode", GPT2 | UNSCALED | dict(multi_query=False), label="many"),
    Case("gpt_neo", NEO),
    Case("imagegpt", GPT2 | INVERSE | dict(n_inner=37)),
    Case("openai-gpt", GPT2 | dict(afn="gelu")),
]
