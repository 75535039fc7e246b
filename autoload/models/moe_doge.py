"""Doge: attention weighs keys by their values, and its many small experts are found by product keys.

Product keys: He 2024 (arXiv:2407.04153).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, biased
from autoload.layers.experts import Routed
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import GatedMLP, Spec, hidden_act


class DynamicMaskAttention(decoder.Attention):
    """Adds to the scores what the values say of their keys; beyond a length, only the best of these are seen."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.kept = config.keep_window_size
        self.A = nn.Parameter(torch.zeros(self.kv_heads))
        self.dt_proj = nn.Linear(self.kv_heads * self.dim, self.kv_heads, bias=spec.qkv_bias)

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.A)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        steps = F.softplus(self.dt_proj(v.transpose(1, 2).flatten(2)))  # (batch, keys, key heads)
        importance = torch.exp(self.A * steps).transpose(1, 2)[:, :, None]  # (batch, key heads, 1, keys)
        added: Any = biased(context.masks[self.kind], importance, q.shape[2]).allowed
        if added.shape[-1] > self.kept:
            best = added.topk(self.kept, -1).indices
            out = torch.ones_like(added, dtype=torch.bool).scatter(-1, best, False)
            added = added.masked_fill(out, torch.finfo(added.dtype).min)
        mask = Mask(added.repeat_interleave(self.heads // self.kv_heads, 1))
        dropout = self.dropout if self.training else 0.0
        return attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, weights_to=context.attentions)


def best_pairs(scores: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """The largest sums of a number of the first row and one of the second; scores and numbers of their experts.

    Args:
        scores: (2, tokens, keys).
        picks: pairs per token.

    Returns:
        Two tensors (tokens, picks).
    """
    keys = scores.shape[-1]
    (first, second), (i, j) = scores.topk(keys, -1)
    sums = (first[..., None] + second[..., None, :]).flatten(-2)  # (tokens, keys * keys)
    numbers = (i[..., None] * keys + j[..., None, :]).flatten(-2)
    best, places = sums.topk(picks, -1)
    return best, numbers.gather(-1, places)


class ProductKeyMLP(Routed):
    """A gated MLP, and experts of one row and one column each.

    The checkpoints were trained with the scores of all tokens read as two halves, so which experts a token has depends
    on the others.
    """

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        size, wide = config.hidden_size, config.intermediate_size
        self.picks, self.normalise = config.num_experts_per_tok, config.norm_topk_prob
        self.gate_proj = nn.Linear(size, wide, bias=spec.mlp_bias)
        self.up_proj = nn.Linear(size, wide, bias=spec.mlp_bias)
        self.down_proj = nn.Linear(wide, size, bias=spec.mlp_bias)
        self.router_gate = nn.Linear(size, 2 * math.isqrt(config.num_experts), bias=False)
        self.down_embed = nn.Embedding(config.num_experts, size)
        self.up_embed = nn.Embedding(config.num_experts, size)
        self.act_fn = Activation(hidden_act(config))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)  # (tokens, dim)
        scores = self.router_gate(flat).view(2, len(flat), -1)
        context.extra["router_logits"].append(scores)
        best, chosen = best_pairs(scores, self.picks)  # (tokens, picks)
        shares = best.softmax(-1)
        if self.normalise:
            shares = shares / shares.sum(-1, keepdim=True)
        inner = self.act_fn((self.down_embed(chosen) @ flat[..., None])[..., 0]) * shares  # (tokens, picks)
        found = (inner[:, None] @ self.up_embed(chosen))[:, 0]
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)) + found.view_as(x)


def doge_mlp(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (ProductKeyMLP if config.is_moe else GatedMLP)(config, spec, layer_idx)


class DogeLayer(decoder.Layer):
    """Weighs what passes by attention and MLP."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.input_residual = nn.Parameter(torch.ones(config.hidden_size))
        self.post_attention_residual = nn.Parameter(torch.ones(config.hidden_size))

    def init_own(self, std: float) -> None:
        nn.init.ones_(self.input_residual)
        nn.init.ones_(self.post_attention_residual)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(self.input_residual * x, self.self_attn(self.input_layernorm(x), context))
        return self.add(self.post_attention_residual * x, self.feed(self.post_attention_layernorm(x), context))


class DogeModel(moe.Model):
    """Has scores of experts where it has experts."""

    def result(self, out: Any, context: Context, output_router_logits: bool | None = None, **kwargs: Any) -> Any:
        return super().result(out, context, output_router_logits if self.config.is_moe else False)


class DogeCausalLM(moe.CausalLM):
    """Its loss counts pairs of keys."""

    def balance(self, scores: tuple[Tensor, ...], attention_mask: Tensor | None) -> Tensor:
        keys, picks = scores[0].shape[-1], self.picks
        chosen = torch.stack([best_pairs(one, picks)[1] for one in scores])  # (layers, tokens, picks)
        pairs = torch.stack([(one[0][..., None] + one[1][..., None, :]).flatten(-2) for one in scores])
        counts = torch.ones(chosen.shape[1], device=chosen.device)
        if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
            mask = attention_mask[:, -(chosen.shape[1] // len(attention_mask)) :]  # those of this step
            counts = mask.reshape(-1).to(chosen.device, torch.float32)
        total = counts.sum() * len(scores)
        used = counts.new_zeros(keys * keys)
        used = used.index_add(0, chosen.flatten(), counts[None, :, None].expand_as(chosen).flatten()) / (total * picks)
        likely = (pairs.softmax(-1) * counts[:, None]).sum((0, 1)) / total
        return (used * likely).sum() * keys * keys


VARIANTS = {
    "doge": Variant(
        lambda c: Spec(
            layer=DogeLayer,
            attention=DynamicMaskAttention,
            mlp=doge_mlp,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            residual_dropout=c.hidden_dropout,
        ),
        heads={"Model": DogeModel, "CausalLM": DogeCausalLM},
    ),
}
TASKS = moe.TASKS
