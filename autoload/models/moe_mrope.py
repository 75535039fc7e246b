"""Text parts of models that see and have experts: glm4v_moe_text, qwen3_vl_moe_text."""

from __future__ import annotations

from autoload.model import Variant
from autoload.models import decoder_mrope, moe
from autoload.models.decoder import Spec, next_token_layers
from autoload.models.moe_sigmoid import FP32, after_first


class AxisModel(decoder_mrope.GlmImageModel, moe.Model):
    """Positions of several axes."""


class DeepstackModel(decoder_mrope.DeepstackModel, moe.Model):
    """The same, and visual features for the first layers."""


VARIANTS = {
    "qwen3_vl_moe_text": Variant(
        lambda c: Spec(mlp=moe.sparse, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        heads={"Model": DeepstackModel},
    ),
    "glm4v_moe_text": Variant(
        lambda c: Spec(mlp=after_first, qkv_bias=c.attention_bias),
        heads={"Model": AxisModel},
        members=FP32,
        ignores=next_token_layers,
    ),
}
TASKS = moe.TASKS
