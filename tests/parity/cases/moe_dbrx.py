"""Decoders with experts under MPT's names."""

from tests.parity.harness import Case

DBRX = dict(
    vocab_size=99,
    d_model=32,
    n_heads=4,
    n_layers=3,
    max_seq_len=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    attn_config=dict(kv_n_heads=2, clip_qkv=0.3, rope_theta=1e4),
)

CASES = [
    Case("dbrx", DBRX | dict(ffn_config=dict(ffn_hidden_size=24, moe_num_experts=5, moe_top_k=2))),
    Case(
        "dbrx",
        DBRX
        | dict(
            ffn_config=dict(
                ffn_hidden_size=24,
                moe_num_experts=5,
                moe_top_k=2,
                moe_normalize_expert_weights=2.0,
                moe_loss_weight=0.3,
                ffn_act_fn=dict(name="gelu"),
            )
        ),
        label="norm",
    ),
]
