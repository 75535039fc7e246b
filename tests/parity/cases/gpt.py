"""The GPT-2 generation."""

from tests.parity.harness import Case

GPT2 = dict(
    vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=2
)

CASES = [
    Case("gpt2", GPT2),
    Case("gpt2", GPT2 | dict(n_inner=37, scale_attn_by_inverse_layer_idx=True), label="scaled"),
]
