"""Decoders with a gated MLP and a twist of their own."""

from tests.parity.cases.decoder import BIASED, TINY
from tests.parity.cases.decoder_plain import PARTIAL
from tests.parity.harness import Case

MULTIPLIED = BIASED | dict(
    mlp_bias=True,
    embedding_multiplier=3.0,
    logits_scaling=0.5,
    residual_multiplier=0.7,
    attention_multiplier=0.3,
)

CASES = [
    Case("internlm3", BIASED | dict(mlp_bias=True, head_dim=16, rope_theta=500.0)),
    Case("iquestcoder", BIASED | dict(mlp_bias=True, head_dim=8, rms_norm_eps=1e-3)),
    Case("stablelm", TINY | PARTIAL | dict(use_qkv_bias=True, qk_layernorm=True)),
    Case("stablelm", TINY | dict(use_parallel_residual=True, rope_theta=500.0), label="parallel"),
    Case("olmo", BIASED | dict(clip_qkv=0.1)),
    Case("olmo", TINY, label="plain"),
    Case("glm", TINY | PARTIAL | dict(head_dim=8)),
    Case("glm4", TINY | dict(head_dim=12, attention_bias=False)),
    Case("helium", BIASED | dict(head_dim=8, mlp_bias=True)),
    Case("seed_oss", TINY | dict(head_dim=12, attention_bias=False, attention_out_bias=True, mlp_bias=True)),
    Case("ernie4_5", TINY | dict(head_dim=12, use_bias=True)),
    Case("hunyuan_v1_dense", BIASED | dict(head_dim=12)),
    Case(
        "hunyuan_v1_dense",
        TINY | dict(head_dim=8, rope_parameters=dict(rope_type="dynamic", rope_theta=1e3, factor=1.0, alpha=50.0)),
        label="alpha",
    ),
    Case("hyperclovax", MULTIPLIED),
    Case("hyperclovax", MULTIPLIED | dict(use_post_norm=False, attention_multiplier=None), label="pre"),
    Case("bitnet", BIASED),
    Case("diffllama", BIASED),
]
