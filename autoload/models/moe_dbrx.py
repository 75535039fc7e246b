"""Decoders with experts under MPT's names: dbrx."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Groups, Routed, product
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import Spec


class ClippedAttention(decoder.Attention):
    """Queries, keys and values in one matrix, kept within a bound."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        own = config.attn_config
        self.sizes = [self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim]
        self.bound, self.dropout = float("inf") if own.clip_qkv is None else own.clip_qkv, own.attn_pdrop
        self.Wqkv = nn.Linear(config.hidden_size, sum(self.sizes), bias=False)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.Wqkv(x).clamp(-self.bound, self.bound).split(self.sizes, -1)
        return q, k, v

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.out_proj(seen)


class Weights(nn.Module):
    """The matrices of all experts, one below the other."""

    def __init__(self, rows: int, dim: int):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(rows, dim))
        self.v1 = nn.Parameter(torch.empty(rows, dim))
        self.w2 = nn.Parameter(torch.empty(rows, dim))

    def init_own(self, std: float) -> None:
        for weight in self.parameters():
            nn.init.normal_(weight, std=std)


class DbrxExperts(Experts):
    """Holds gate and value apart."""

    def make_weights(self, dim: int) -> None:
        self.mlp = Weights(self.count * self.wide, dim)

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        matrices = (w.unflatten(0, (self.count, -1)).transpose(1, 2) for w in (self.mlp.w1, self.mlp.v1))
        return torch.cat([product(x, w, groups) for w in matrices], -1)

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.mlp.w2.unflatten(0, (self.count, -1)), groups)


class DbrxRouter(nn.Module):
    """The largest probabilities, by a norm of the configuration's choice."""

    def __init__(self, config: Any):
        super().__init__()
        own = config.ffn_config
        self.picks, self.power = own.moe_top_k, own.moe_normalize_expert_weights
        self.layer = nn.Linear(config.hidden_size, own.moe_num_experts, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.layer(x)
        weights, chosen = logits.softmax(-1).topk(self.picks, -1)
        if self.power is not None:
            weights = weights / torch.linalg.vector_norm(weights, self.power, -1, keepdim=True)
        return logits, weights, chosen


class DbrxMLP(Routed):
    """Shakes its inputs in training."""

    def __init__(self, config: Any):
        super().__init__()
        own = config.ffn_config
        self.router, self.jitter = DbrxRouter(config), own.moe_jitter_eps
        self.experts = DbrxExperts(config, own.moe_num_experts, own.ffn_hidden_size, own.ffn_act_fn.get("name", "silu"))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.training and self.jitter is not None:
            x = x * torch.empty_like(x).uniform_(1.0 - self.jitter, 1.0 + self.jitter)
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class NormedAttention(nn.Module):
    """Attention, and the norms before it and after it."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.hidden_size, bias=False)
        self.attn = ClippedAttention(config, spec, layer_idx)
        self.norm_2 = nn.LayerNorm(config.hidden_size, bias=False)


class DbrxLayer(nn.Module):
    """The wiring of other decoders, in MPT's modules."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.norm_attn_norm = NormedAttention(config, spec, layer_idx)
        self.ffn = DbrxMLP(config)
        self.dropout = nn.Dropout(spec.residual_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        first = self.norm_attn_norm
        x = x + self.dropout(first.attn(first.norm_1(x), context))
        return x + self.dropout(self.ffn(first.norm_2(x), context))


class DbrxModel(moe.Model):
    """A decoder in MPT's modules, without a head."""

    embeddings_path = "wte"

    def make_layers(self, config: Any, spec: Spec) -> None:
        self.blocks = nn.ModuleList(DbrxLayer(config, spec, i) for i in range(config.num_hidden_layers))
        self._no_split_modules = ["DbrxLayer"]

    @property
    def layers(self) -> nn.ModuleList:
        return self.blocks

    def make_final_norm(self, norm: nn.Module) -> None:
        self.norm_f = nn.LayerNorm(self.config.hidden_size, bias=False)

    def final_norm(self, x: Tensor) -> Tensor:
        return self.norm_f(x)


class DbrxCausalLM(moe.CausalLM):
    """Reads what concerns its experts from a configuration of their own."""

    def balancing(self, config: Any) -> tuple[float | None, int]:
        return config.ffn_config.moe_loss_weight, config.ffn_config.moe_top_k


VARIANTS = {
    "dbrx": Variant(
        lambda c: Spec(residual_dropout=c.resid_pdrop),
        heads={"Model": DbrxModel, "CausalLM": DbrxCausalLM},
        members={"base_model_prefix": "transformer"},
    ),
}
TASKS = moe.TASKS
