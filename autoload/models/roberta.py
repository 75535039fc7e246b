"""RoBERTa and its relatives: BERT's wiring with positions that leave padding out, and another head.

roberta, xlm-roberta, camembert, data2vec-text, xlm-roberta-xl, roberta-prelayernorm, xmod.

Liu et al. 2019 (arXiv:1907.11692); Goyal et al. 2021 (arXiv:2105.00572); Pfeiffer et al. 2022 (arXiv:2205.06266).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Encoder, Intermediate, Layer, Model, PlainOutput, Spec


class XLAttention(Attention):
    """Normalises first."""

    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self(self.self_attn_layer_norm(x), context), x)


class XLLayer(Layer):
    """XLM-RoBERTa-XL's: norms before both parts."""

    attention_class = XLAttention
    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.output.dropout.p = 0.0  # the reference has none here

    def feed_forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.intermediate(self.LayerNorm(x)), x)


class XLEncoder(Encoder):
    """Ends with a norm."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor) -> Tensor:
        return self.LayerNorm(x)


class PreNormAttention(Attention):
    """Normalises first."""

    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self(self.LayerNorm(x), context), x)


class PreNormIntermediate(Intermediate):
    """Normalises first."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.LayerNorm(x))


class PreNormLayer(Layer):
    """Norms before both parts, each within its part."""

    attention_class = PreNormAttention
    intermediate_class = PreNormIntermediate
    output_class = PlainOutput


class PreNormModel(Model):
    """Ends with a norm beside the encoder."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor) -> Tensor:
        return self.LayerNorm(x)


ROBERTA = Variant(lambda c: Spec(padded_from=c.pad_token_id), members={"base_model_prefix": "roberta"})

VARIANTS = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "data2vec-text": Variant(
        lambda c: Spec(padded_from=c.pad_token_id), members={"base_model_prefix": "data2vec_text"}
    ),
    "xlm-roberta-xl": Variant(
        lambda c: Spec(padded_from=c.pad_token_id, embedding_norm=False, layer=XLLayer, encoder=XLEncoder),
        members={"base_model_prefix": "roberta"},
    ),
    "roberta-prelayernorm": Variant(
        lambda c: Spec(padded_from=c.pad_token_id, layer=PreNormLayer),
        heads={"Model": PreNormModel},
        members={"base_model_prefix": "roberta_prelayernorm"},
    ),
}
TASKS = bert_heads.ROBERTA_TASKS | {"Model": Model}
