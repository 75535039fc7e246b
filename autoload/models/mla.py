"""Decoders with latent attention: axk1, deepseek_v2, deepseek_v3, glm4_moe_lite, minicpm3, youtu.

DeepSeek-AI 2024 (arXiv:2405.04434): keys and values are made of one narrow vector per token, which is all that the
cache holds, beside one key that knows its position and that all heads share.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context
from autoload.layers.norms import RMSNorm
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import GatedMLP, Spec
from autoload.models.moe_sigmoid import FP32, SharedMLP, after_first


class LatentAttention(decoder.Attention):
    """Expands queries, keys and values from narrow vectors; a part of each head rotates, the rest does not."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.plain, self.turning, self.value = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
        self.rank, dim = config.kv_lora_rank, config.hidden_size
        queries = self.heads * (self.plain + self.turning)
        self.narrow = config.q_lora_rank is not None
        if self.narrow:
            self.q_a_proj = nn.Linear(dim, config.q_lora_rank, bias=spec.qkv_bias)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank)
            self.q_b_proj = nn.Linear(config.q_lora_rank, queries, bias=False)
        else:
            self.q_proj = nn.Linear(dim, queries, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(dim, self.rank + self.turning, bias=spec.qkv_bias)
        self.kv_a_layernorm = RMSNorm(self.rank)
        self.kv_b_proj = nn.Linear(self.rank, self.heads * (self.plain + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, dim, bias=spec.o_bias)

    def queries(self, x: Tensor) -> Tensor:
        return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))) if self.narrow else self.q_proj(x)

    def norm_latent(self, latent: Tensor) -> Tensor:
        return self.kv_a_layernorm(latent)

    def see(self, x: Tensor, context: Context) -> Tensor:
        return self.gather(self.queries(x), x, context)

    def gather(self, q: Tensor, x: Tensor, context: Context) -> Tensor:
        """What queries (batch, seq, heads * (plain + turning)) find in the stream x; (batch, seq, heads * value)."""
        q = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, seq, plain + turning)
        q_plain, q_turning = q.split([self.plain, self.turning], -1)
        latent, k_turning = self.kv_a_proj_with_mqa(x)[:, None].split([self.rank, self.turning], -1)
        latent = self.norm_latent(latent)  # (batch, 1, seq, rank)
        q_turning, k_turning = self.place(q_turning, k_turning, context)
        if context.cache is not None:
            latent, k_turning = context.cache.update(latent, k_turning, self.layer_idx)
        kv = self.kv_b_proj(latent[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k_plain, v = kv.split([self.plain, self.value], -1)  # (batch, heads, keys, dim)
        k = torch.cat([k_plain, k_turning.expand(-1, self.heads, -1, -1)], -1)
        return self.look(torch.cat([q_plain, q_turning], -1), k, v, context)


def score_scale(config: Any) -> float:
    """Of the whole head, sharpened as YaRN asks (arXiv:2309.00071)."""
    scale = (config.qk_nope_head_dim + config.qk_rope_head_dim) ** -0.5
    rope = config.rope_parameters
    weight = rope.get("mscale_all_dim", 0)
    if rope["rope_type"] != "default" and weight and rope["factor"] > 1:
        scale *= (0.1 * weight * math.log(rope["factor"]) + 1.0) ** 2
    return scale


class SoftmaxGroupRouter(moe.Router):
    """Probabilities in fp32; where experts form groups, a group counts by its best."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.grouped = config.topk_method == "group_limited_greedy"
        self.groups, self.kept, self.scale = config.n_group, config.topk_group, config.routed_scaling_factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.softmax(-1)
        if self.grouped:
            by_group = scores.unflatten(-1, (self.groups, -1))  # (tokens, groups, experts of one)
            best = by_group.amax(-1).topk(self.kept, -1).indices
            out = torch.ones_like(by_group[..., 0], dtype=torch.bool).scatter(-1, best, False)
            scores = by_group.masked_fill(out[..., None], 0.0).flatten(-2)
        weights, chosen = scores.topk(self.picks, -1)
        return logits, weights * self.scale, chosen


class SoftmaxMLP(SharedMLP):
    """DeepSeek-V2's experts."""

    router = SoftmaxGroupRouter


def softmax_after_first(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (SoftmaxMLP if layer_idx >= config.first_k_dense_replace else GatedMLP)(config, spec, layer_idx)


class NormedMLP(SharedMLP):
    """A norm after its experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.post_mlp_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.post_mlp_layernorm(super().forward(x, context))


def by_kind(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (SharedMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


def normed_by_kind(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (NormedMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class MiniCPM3CausalLM(decoder.CausalLM):
    """Divides the states before they are scored."""

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden / (self.config.hidden_size / self.config.dim_model_base))


def latent(c: Any, **settings: Any) -> Spec:
    """What all have in common."""
    settings = dict(attention=LatentAttention, interleaved=getattr(c, "rope_interleave", False)) | settings
    return Spec(
        qkv_bias=c.attention_bias,
        o_bias=c.attention_bias,
        scale=score_scale(c),
        **settings,
    )


DENSE = {"Model": decoder.Model, "CausalLM": decoder.CausalLM}
VARIANTS = {
    "deepseek_v3": Variant(
        lambda c: latent(c, mlp=after_first), members=FP32, keys=moe.SEPARATE, ignores=decoder.next_token_layers
    ),
    "deepseek_v2": Variant(
        lambda c: latent(c, mlp=softmax_after_first, mlp_bias=c.mlp_bias, interleaved=True, rope_fp32=True),
        keys=moe.SEPARATE,
    ),
    "glm4_moe_lite": Variant(
        lambda c: latent(c, mlp=by_kind), members=FP32, keys=moe.SEPARATE, ignores=decoder.next_token_layers
    ),
    "axk1": Variant(
        lambda c: latent(c, mlp=normed_by_kind),
        members=FP32,
        keys=(*moe.SEPARATE, Rename("post_mlp_layernorm", "mlp.post_mlp_layernorm")),
    ),
    "youtu": Variant(lambda c: latent(c), heads=DENSE),
    "minicpm3": Variant(
        lambda c: latent(
            c,
            mlp_bias=c.mlp_bias,
            embedding_scale=c.scale_emb,
            residual_scale=c.scale_depth / math.sqrt(c.num_hidden_layers),
        ),
        heads=DENSE | {"CausalLM": MiniCPM3CausalLM},
    ),
}
TASKS = moe.TASKS
