"""The text part with experts in a narrower stream."""

from tests.parity.cases.decoder import WINDOW
from tests.parity.cases.moe import BIASED
from tests.parity.harness import Case

SPARK = (
    BIASED
    | dict(
        head_dim=12,
        qk_scale_factor=1.5,
        post_norm_eps=1e-3,
        moe_intermediate_size=24,
        moe_hidden_size=16,
        num_local_experts=5,
        routed_scaling_factor=1.7,
        output_multiplier=0.8,
        mlp_layer_types=["dense", "sparse", "sparse", "sparse"],
        residual_gate_temperature=0.5,
    )
    | WINDOW
)

CASES = [Case("muse_spark_text", SPARK)]
