"""YOSO: attention whose weights are chances that two vectors fall into one bucket of a hash; taken as expectations.

Zeng et al. 2021 (arXiv:2111.09714).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import nystromformer
from autoload.models.bert import Attention, Layer, SelfAttention, Spec
from autoload.models.nystromformer import NystromEmbeddings


class HashSelfAttention(SelfAttention):
    """The chance that two vectors share a bucket, for each pair. What it shows is what it gives."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        if not config.use_expectation:
            expected = "true: drawing hashes takes kernels that are not implemented"
            raise ConfigError("use_expectation", config.use_expectation, expected)
        self.length = config.hash_code_len
        if (window := config.conv_window) is not None:
            pad = (window // 2, 0)
            self.conv = nn.Conv2d(self.heads, self.heads, (window, 1), padding=pad, bias=False, groups=self.heads)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.project(x, context)
        allowed = context.masks["full"].allowed
        if allowed is not None:
            v = v * allowed.transpose(2, 3)
        out = F.normalize(self.chances(F.normalize(q, dim=-1), F.normalize(k, dim=-1)) @ v, dim=-1)
        if hasattr(self, "conv"):
            out = out + self.conv(v)
        out = out.transpose(1, 2).flatten(2)
        if context.attentions is not None:
            context.attentions.append(out)
        return out

    def chances(self, q: Tensor, k: Tensor) -> Tensor:
        """(batch, heads, queries, keys); the gradient is the paper's lower bound, finite where vectors agree."""
        cosine = q @ k.transpose(2, 3)
        chance = (1 - torch.acos(cosine.detach().clamp(-1, 1)) / math.pi) ** self.length
        return chance + (cosine - cosine.detach()) * (self.length / 2 * chance)


class HashAttention(Attention):
    """With YOSO's attention."""

    self_class = HashSelfAttention


class HashLayer(Layer):
    """With YOSO's attention."""

    attention_class = HashAttention


VARIANTS = {
    "yoso": Variant(
        lambda c: Spec(pooler=None, embeddings=NystromEmbeddings, layer=HashLayer, packs=False),
        members={"base_model_prefix": "yoso", "empty_cross_attentions": False},
    ),
}
TASKS = nystromformer.TASKS
