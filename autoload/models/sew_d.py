"""SEW-D: the shorter sequence of SEW, read by the layers of DeBERTa-v2.

Wu et al. 2021 (arXiv:2109.06870).
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert
from autoload.models import wav2vec2_heads as heads
from autoload.models.deberta import DebertaLayer, DebertaV2Encoder
from autoload.models.wav2vec2 import Spec
from autoload.models.wav2vec2_kin import SewModel, SqueezedEncoder


class Encoder(SqueezedEncoder):
    """Its layers see distances, and nothing stands before them."""

    def make_layers(self, config: Any, spec: Spec) -> None:
        inner = copy.copy(config)  # under DeBERTa's names
        inner.hidden_dropout_prob, inner.attention_probs_dropout_prob = (
            config.activation_dropout,
            config.attention_dropout,
        )
        inner.max_relative_positions = getattr(config, "max_relative_positions", -1)
        self.encoder = DebertaV2Encoder(inner, bert.Spec(layer=DebertaLayer))

    @property
    def layers(self) -> nn.ModuleList:
        return self.encoder.layer

    def begin(self, x: Tensor, context: Context) -> Tensor:
        x = self.squeeze(x, context)
        if self.encoder.relative:
            context.extra |= self.encoder.relate(x)
        return x


class Model(SewModel):
    """SEW-D without a head; no layer is ever left out."""

    def make_frontend(self, config: Any, spec: Spec) -> None:
        super().make_frontend(config, spec)
        self.layer_norm = nn.LayerNorm(config.conv_dim[-1], eps=config.feature_layer_norm_eps)

    def drops(self, layer_idx: int) -> bool:
        return False


VARIANTS = {
    "sew-d": Variant(lambda c: Spec(c.feat_extract_norm, encoder=Encoder), members={"base_model_prefix": "sew_d"}),
}
TASKS = heads.TASKS | {"Model": Model}
