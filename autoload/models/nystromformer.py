"""Nystromformer: attention through landmarks, the means of segments.

Xiong et al. 2021 (arXiv:2102.03902).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import MultipleChoice
from autoload.layers.attention import Context, attend
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Embeddings, Layer, Model, SelfAttention, Spec
from autoload.models.bert_kin import RoFormerClassification

OFFSET = 2  # positions start here


class NystromEmbeddings(Embeddings):
    """Positions start at two."""

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        self.position_embeddings = nn.Embedding(config.max_position_embeddings + OFFSET, size)

    def positions(self, input_ids: Tensor | None, shape: torch.Size, past: int, device: Any) -> Tensor:
        return super().positions(input_ids, shape, past, device) + OFFSET


class NystromSelfAttention(SelfAttention):
    """Queries see landmarks, landmarks see keys; between them an inverse, by iteration."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        if config.inv_coeff_init_option:
            raise ConfigError("inv_coeff_init_option", config.inv_coeff_init_option, "false")
        self.landmarks, self.seq_len = config.num_landmarks, config.segment_means_seq_len
        kernel = config.conv_kernel_size
        if kernel is not None:
            pad = (kernel // 2, 0)
            self.conv = nn.Conv2d(self.heads, self.heads, (kernel, 1), padding=pad, bias=False, groups=self.heads)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.project(x, context)
        out = self.plain(q, k, v, context) if self.landmarks == self.seq_len else self.nystrom(q, k, v, context)
        if hasattr(self, "conv"):
            out = out + self.conv(v).transpose(1, 2).flatten(2)
        return out

    def plain(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        """Without landmarks; (batch, seq, heads * dim)."""
        mask = context.masks["full"]
        return attend(q, k, v, mask, context, scale=self.dim**-0.5, weights_to=context.attentions)

    def nystrom(self, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
        if q.shape[2] != self.seq_len:
            text = f"forward: texts are {q.shape[2]} tokens long, expected {self.seq_len} (segment_means_seq_len); pad them."
            raise ArgumentError(text, name="input_ids")
        q, k = q * self.dim**-0.25, k * self.dim**-0.25
        q_mean, k_mean = (t.unflatten(2, (self.landmarks, -1)).mean(3) for t in (q, k))
        to_landmarks = (q @ k_mean.transpose(2, 3)).softmax(-1)
        between = (q_mean @ k_mean.transpose(2, 3)).softmax(-1)
        scores, allowed = q_mean @ k.transpose(2, 3), context.masks["full"].allowed
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        weights = to_landmarks @ pseudo_inverse(between)
        if context.attentions is not None:
            context.attentions.append(weights)
        return (weights @ (scores.softmax(-1) @ v)).transpose(1, 2).flatten(2)


def pseudo_inverse(x: Tensor, steps: int = 6) -> Tensor:
    """Moore-Penrose inverse of matrices with rows that sum to one, by the iteration of arXiv:2102.03902, section 3.3."""
    one = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)
    y = x.transpose(-1, -2) / x.sum(-2).max()
    for _ in range(steps):
        xy = x @ y
        y = 0.25 * y @ (13 * one - xy @ (15 * one - xy @ (7 * one - xy)))
    return y


class NystromAttention(Attention):
    """With landmarks."""

    self_class = NystromSelfAttention


class NystromLayer(Layer):
    """With landmarks."""

    attention_class = NystromAttention


class Choice(MultipleChoice):
    """Nystromformer's choice, from the first token."""

    def __init__(self, config: Any):
        super(MultipleChoice, self).__init__(config)
        self.pre_classifier = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(F.relu(self.pre_classifier(out.last_hidden_state[:, 0])))


VARIANTS = {
    "nystromformer": Variant(
        lambda c: Spec(pooler=None, embeddings=NystromEmbeddings, layer=NystromLayer, packs=False),
        members={"base_model_prefix": "nystromformer", "empty_cross_attentions": False},
    ),
}
TASKS = bert_heads.TASKS | {
    "Model": Model,
    "SequenceClassification": RoFormerClassification,
    "MultipleChoice": Choice,
}
