"""FNet: Fourier transforms in place of attention.

Lee-Thorp et al. 2021 (arXiv:2105.03824).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Intermediate, Output, PooledModel, Spec


class FNetEmbeddings(Embeddings):
    """Projected after the norm."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.projection = nn.Linear(config.hidden_size, config.hidden_size)

    def finish(self, x: Tensor) -> Tensor:
        return self.dropout(self.projection(self.LayerNorm(x)))


class FourierOutput(nn.Module):
    """Residual and norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class Fourier(nn.Module):
    """Mixes tokens and features by the real part of a transform over both."""

    def __init__(self, config: Any):
        super().__init__()
        self.output = FourierOutput(config)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.fft.fftn(x.float(), dim=(1, 2)).real.to(x.dtype)  # half precision has no transform
        return self.output.LayerNorm(x + mixed)


class FNetLayer(nn.Module):
    """Fourier transform and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.fourier = Fourier(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config, config.intermediate_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.fourier(x)
        return self.output(self.intermediate(x), x)


class Model(PooledModel):
    """FNet without a head. It has no attention: masks are not looked at, weights cannot be shown."""

    def forward(self, *args: Any, output_attentions: bool | None = None, **kwargs: Any) -> Any:
        """As BERT's model."""
        return super().forward(*args, output_attentions=False, **kwargs)


VARIANTS = {
    "fnet": Variant(
        lambda c: Spec(embeddings=FNetEmbeddings, layer=FNetLayer, packs=False), members={"base_model_prefix": "fnet"}
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model}
