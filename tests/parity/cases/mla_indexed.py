"""Decoders with latent attention to what an index chooses."""

from tests.parity.cases.mla import GROUPS, ROUTED, YARN
from tests.parity.harness import Case

# Many heads: keys that score zero with all of them are equal, and which is taken would be chance.
INDEXED = ROUTED | dict(index_n_heads=16, index_head_dim=8, index_topk=5)
FEW = {"half": "rounding moves the scores by which keys are chosen; the case that sees all of them shows it"}
ALL = INDEXED | dict(index_topk=64)

# Layers with a window have other sizes.
WINDOWS = dict(
    **dict(num_hidden_layers=4, head_dim=10, sliding_window=5, shared_experts_intermediate_size=20),
    **dict(swa_num_attention_heads=2, swa_num_key_value_heads=2, swa_q_lora_rank=14, swa_kv_lora_rank=16),
    **dict(swa_head_dim=14, swa_qk_nope_head_dim=8, swa_v_head_dim=8, rms_norm_eps=1e-3, rope_theta=900.0),
)

CASES = [
    Case("dots3_note_text", INDEXED | GROUPS | WINDOWS | dict(swa_rope_theta=500.0), skip=FEW),
    Case("dots3_note_text", ALL | WINDOWS | dict(use_dsa=False, norm_topk_prob=False), label="full"),
    Case("dots3_note_text", ALL | WINDOWS | dict(use_sliding_window=False), label="all"),
    Case("deepseek_v32", INDEXED | GROUPS | dict(first_k_dense_replace=1, rope_parameters=YARN), skip=FEW),
    Case("deepseek_v32", ALL | dict(n_group=1, topk_group=1), label="all"),
    Case("glm_moe_dsa", INDEXED | GROUPS | dict(first_k_dense_replace=1, index_topk_pattern="FSSF"), skip=FEW),
    Case("glm_moe_dsa", ALL | dict(norm_topk_prob=False, index_topk_freq=2), label="all"),
    Case("axk2", INDEXED | GROUPS | dict(gated_norm_rank=4, rope_parameters=YARN), skip=FEW),
    Case("axk2", ALL | dict(gated_norm_rank=4), label="all"),
]
