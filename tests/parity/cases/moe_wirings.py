"""Decoders with experts and a wiring of their own."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.cases.moe import BIASED
from tests.parity.harness import Case

LONGROPE = dict(
    rope_type="longrope",
    rope_theta=1e4,
    short_factor=[1.1, 1.2, 1.3, 1.4],
    long_factor=[2.0, 2.5, 3.0, 3.5],
    short_mscale=1.2,
    long_mscale=1.5,
    original_max_position_embeddings=8,
)
LENGTH = {"cache": "the size of the tables depends on the length, so cached keys differ from those of the full pass"}

CASES = [
    Case("phimoe", BIASED | dict(num_local_experts=5, lm_head_bias=True, router_jitter_noise=0.3) | WINDOW),
    Case("phimoe", BIASED | dict(num_local_experts=5, rope_parameters=LONGROPE), label="longrope", skip=LENGTH),
    Case("hunyuan_v1_moe", TINY | dict(attention_bias=True, head_dim=12, num_experts=5, moe_topk=[2, 3, 2, 2])),
    Case(
        "hunyuan_v1_moe",
        TINY
        | dict(
            head_dim=12,
            num_experts=5,
            moe_topk=2,
            rope_parameters=dict(rope_type="dynamic", alpha=100.0, factor=1.0, rope_theta=1e4),
        ),
        label="alpha",
    ),
    Case(
        "aria_text",
        TINY
        | dict(head_dim=12, attention_bias=True, mlp_bias=True, hidden_act="gelu", moe_num_experts=5)
        | dict(moe_num_shared_experts=2),
    ),
    Case("jetmoe", TINY | dict(kv_channels=12, num_local_experts=5, num_experts_per_tok=2, rms_norm_eps=1e-2)),
]
