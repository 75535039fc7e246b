"""Text parts of models that see."""

from tests.parity.cases.decoder import BIASED, TINY, WINDOW
from tests.parity.harness import Case


def sections(*sizes: int, **more: object) -> dict:
    return dict(rope_parameters=dict(rope_type="default", rope_theta=500.0, mrope_section=list(sizes), **more))


COMPASS = (
    BIASED
    | dict(
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=500.0, mrope_section=[2, 1, 1]), full_attention=None
        ),
    )
    | WINDOW
)

CASES = [
    Case("qwen2_vl_text", TINY | sections(2, 1, 1) | dict(use_sliding_window=True, max_window_layers=2) | WINDOW),
    Case("qwen2_5_vl_text", TINY | sections(1, 2, 1) | dict(use_sliding_window=True, max_window_layers=2) | WINDOW),
    Case("qwen3_vl_text", BIASED | sections(3, 2, 1) | dict(head_dim=12)),
    Case("glm4v_text", TINY | sections(1, 1, 1, partial_rotary_factor=0.75)),
    Case("glm_image_text", TINY | sections(2, 1, 1) | dict(attention_bias=False)),
    Case("glm_ocr_text", TINY | sections(1, 2, 1)),
    Case("cosmos3_edge_text", BIASED | sections(2, 2, 2) | dict(head_dim=12, mlp_bias=True)),
    Case("hunyuan_vl_text", BIASED | sections(2, 2, 2) | dict(head_dim=12)),
    Case(
        "hunyuan_vl_text",
        TINY
        | dict(
            head_dim=8,
            rope_parameters=dict(
                rope_type="dynamic", rope_theta=1e3, factor=1.0, alpha=50.0, mrope_section=[1, 1, 1, 1]
            ),
        ),
        label="alpha",
    ),
    Case(
        "granite_docling_text",
        BIASED | dict(mlp_bias=True, embedding_multiplier=3.0, residual_multiplier=0.7, attention_multiplier=0.3),
    ),
    Case("cohere_compass_text", COMPASS | dict(logit_scale=0.3)),
    Case("cohere_compass_text", COMPASS | dict(pooling="mean"), label="mean"),
    Case("cohere_compass_text", COMPASS | dict(pooling="bos"), label="first"),
]
