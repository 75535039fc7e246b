"""Decoders with experts and a wiring of their own: aria_text, hunyuan_v1_moe, jetmoe, phimoe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend
from autoload.layers.experts import (
    Experts,
    Groups,
    Routed,
    TransposedExperts,
    by_expert,
    product,
    softmax_then_top,
    top_then_softmax,
)
from autoload.layers.norms import RMSNorm
from autoload.layers.rope import Rotary, rotate
from autoload.model import Variant
from autoload.models import decoder, decoder_gated, moe
from autoload.models.decoder import GatedMLP, Spec

# -- aria_text


class AriaRouter(moe.Router):
    """Softmax among the chosen experts, in the dtype of the stream."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = nn.functional.linear(x, self.weight)
        return logits, *top_then_softmax(logits, self.picks)


class AriaMLP(Routed):
    """Its experts use silu whatever the configuration says; an MLP for all tokens is as wide as several of them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.router = AriaRouter(config)
        self.experts = TransposedExperts(config, config.moe_num_experts, config.intermediate_size, "silu")
        self.shared_experts = GatedMLP(config, spec, size=config.intermediate_size * config.moe_num_shared_experts)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x) + self.shared_experts(x)


# -- hunyuan_v1_moe


class HunyuanRouter(nn.Module):
    """Holds its matrix as `wg`, which some checkpoints keep in fp32."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.picks = config.moe_topk if isinstance(config.moe_topk, int) else config.moe_topk[layer_idx]
        self.wg = nn.Linear(config.hidden_size, config.num_experts, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.wg(x.float() if self.wg.weight.dtype == torch.float32 else x)
        weights, chosen = softmax_then_top(logits, self.picks, normalise=True)
        return logits, weights.to(logits.dtype), chosen


class HunyuanMLP(Routed):
    """Experts, and one as wide for all tokens."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.gate = HunyuanRouter(config, layer_idx)
        self.experts = Experts(config, config.num_experts, config.intermediate_size, config.hidden_act)
        self.shared_mlp = GatedMLP(config, spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x) + self.shared_mlp(x)


class HunyuanModel(decoder_gated.AlphaModel, moe.Model):
    """Experts, and a base that `alpha` may stretch."""


# -- jetmoe


class ParallelLinear(nn.Module):
    """One matrix for each expert, (experts, out, in)."""

    def __init__(self, count: int, size: int, out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, out, size))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.weight, std=std)

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.weight.transpose(1, 2), groups)


class JetRouter(nn.Module):
    """Softmax among the chosen experts, in fp32; holds its matrix as `layer`."""

    def __init__(self, config: Any):
        super().__init__()
        self.picks = config.num_experts_per_tok
        self.layer = nn.Linear(config.hidden_size, config.num_local_experts, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.layer(x).float()
        weights, chosen = top_then_softmax(logits, self.picks)
        return logits, weights.to(x.dtype), chosen


class JetExperts(Routed):
    """Two matrices for each expert, a router, and a bias on the sum; what is between the matrices is the caller's."""

    def __init__(self, config: Any, wide: int, narrow: int):
        super().__init__()
        count, dim = config.num_local_experts, config.hidden_size
        self.config, self.count, self.picks = config, count, config.num_experts_per_tok
        self.bias = nn.Parameter(torch.zeros(dim))
        self.input_linear = ParallelLinear(count, dim, wide)
        self.output_linear = ParallelLinear(count, narrow, dim)
        self.router = JetRouter(config)

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.bias)

    def total(self, rows: Tensor, weights: Tensor, order: Tensor, groups: Groups) -> Tensor:
        """The weighted sum of the experts' second products; rows are sorted by expert."""
        rows = self.output_linear(rows, groups) * weights.flatten()[order, None]
        return rows[order.argsort()].unflatten(0, (-1, self.picks)).sum(1) + self.bias


class JetMLP(JetExperts):
    """Gated MLPs between them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, 2 * config.intermediate_size, config.intermediate_size)
        self.activation = Activation(config.activation_function)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)
        logits, weights, chosen = self.router(flat)
        context.extra["router_logits"].append(logits)
        order, groups = by_expert(chosen, self.count, self.config)
        gate, value = self.input_linear(flat[order // self.picks], groups).chunk(2, -1)
        return self.total(self.activation(gate) * value, weights, order, groups).view_as(x)


class JetAttention(nn.Module):
    """Experts make the queries and read what was seen; all look at the same keys and values."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.layer_idx, self.dim, self.kv_heads = layer_idx, config.kv_channels, config.num_key_value_heads
        self.scale, self.dropout, self.picks = self.dim**-0.5, config.attention_dropout, config.num_experts_per_tok
        size = self.kv_heads * self.dim
        self.experts = JetExperts(config, size, size)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * size, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat, held = x.flatten(0, -2), self.experts
        logits, weights, chosen = held.router(flat)
        context.extra["router_logits"] += [logits, logits]  # the reference shows them twice
        order, groups = by_expert(chosen, held.count, held.config)
        q = held.input_linear(flat[order // self.picks], groups)[order.argsort()]  # (tokens * k, key heads * dim)
        q = q.view(*x.shape[:-1], -1, self.dim).transpose(1, 2)  # (batch, k * key heads, seq, dim)
        k, v = (t.unflatten(-1, (-1, self.dim)).transpose(1, 2) for t in self.kv_proj(x).chunk(2, -1))
        cos, sin = context.rope["full_attention"]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        out = attend(
            q,
            k.repeat(1, self.picks, 1, 1),
            v.repeat(1, self.picks, 1, 1),
            context.masks["full_attention"],
            context,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            weights_to=context.attentions,
        )
        rows = out.view(-1, self.kv_heads * self.dim)[order]
        return held.total(rows, weights, order, groups).view_as(x)


class JetLayer(decoder.Layer):
    """Calls its attention `self_attention`; the constant of its norms is fixed."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.self_attention = self.self_attn
        del self.self_attn
        self.input_layernorm = RMSNorm(config.hidden_size, 1e-6)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, 1e-6)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.self_attention(self.input_layernorm(x), context))
        return self.add(x, self.feed(self.post_attention_layernorm(x), context))


# -- phimoe


class HeunMultiplier(torch.autograd.Function):
    """In training, the gradient that a sampled choice would have (Heun's third order method, arXiv:2409.12136)."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, weight: Tensor, chosen: Tensor, probabilities: Tensor, factor: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weight, chosen, probabilities)
        return weight * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        weight, chosen, probabilities = ctx.saved_tensors
        grad = grads[0] * weight
        return (-probabilities * grad).scatter_add(-1, chosen, grad), None, None, None, None


def mix_one(scores: Tensor, left: Tensor, noise: float, training: bool, draws: int = 1) -> tuple[Tensor, Tensor]:
    """One round of SparseMixer: a weight and an expert.

    Args:
        scores: (tokens, experts).
        left: the same, -inf at experts that are taken.
        noise: experts whose score is further than that below the best do not take part.
        training: sample among them; else take the best.
        draws: how often the numbers for the midpoint are drawn; the last count.
    """
    best, top = left.max(-1, keepdim=True)
    far = (best - left) / scores.abs().clamp(min=best) > 2 * noise
    near = left.masked_fill(far.detach(), float("-inf"))
    probabilities = near.softmax(-1)
    if not training:
        return probabilities.gather(-1, top), top
    chosen = (near - torch.empty_like(near).exponential_().log()).argmax(-1, keepdim=True)  # Gumbel
    weight = probabilities.gather(-1, chosen)
    likeliest = probabilities.argmax(-1, keepdim=True)
    midpoint = [torch.rand_like(weight) for _ in range(draws)][-1]
    whole = (chosen == likeliest) | (midpoint > 0.75)
    factor = (0.3333 + 0.6667 * whole).to(weight.dtype)
    return HeunMultiplier.apply(scores, weight, chosen, probabilities, factor), chosen  # type: ignore[return-value]


class MixerRouter(moe.Router):
    """SparseMixer's two choices, one after the other."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.noise = config.router_jitter_noise

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = nn.functional.linear(x, self.weight)
        first, one = mix_one(logits, logits, self.noise, self.training)
        # Two draws, so that a seed gives the choices that it gives in the reference.
        second, two = mix_one(logits, logits.scatter(-1, one, float("-inf")), self.noise, self.training, draws=2)
        return logits, torch.cat([first, second], -1), torch.cat([one, two], -1)


class MixerMLP(Routed):
    """Phi's experts, which shake their inputs twice in training."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.noise = config.input_jitter_noise
        self.router = MixerRouter(config)
        self.experts = moe.make_experts(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.training and self.noise > 0:
            for _ in range(2):
                x = x * torch.empty_like(x).uniform_(1.0 - self.noise, 1.0 + self.noise)
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class PhiModel(moe.Model):
    """Its long rotary tables differ in their size alone: the short frequencies serve all lengths."""

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        rope = config.rope_parameters
        self.sizes = rope["rope_type"] != "default"
        if not self.sizes:
            return super().make_rotary(config, spec)
        fixed = rope | {"attention_factor": 1.0}
        if "short_factor" in rope:
            fixed["long_factor"] = rope["short_factor"]
        return nn.ModuleDict({"all": Rotary(fixed, decoder.head_dim(config), config.max_position_embeddings)})

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        if not self.sizes:
            return super().make_rope(positions, x)
        rope = self.config.rope_parameters
        long = positions.max() + 1 > rope["original_max_position_embeddings"]
        size = torch.where(long, rope["long_mscale"], rope["short_mscale"])
        cos, sin = self.rotary_emb["all"](positions, torch.float32)
        table = (cos * size).to(x.dtype), (sin * size).to(x.dtype)
        return dict.fromkeys(self.kinds, table)


class PhiCausalLM(moe.CausalLM):
    """Its head may have a bias."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.lm_head_bias)


VARIANTS = {
    "phimoe": Variant(
        lambda c: Spec(norm=nn.LayerNorm, mlp=MixerMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        heads={"Model": PhiModel, "CausalLM": PhiCausalLM},
        keys=(
            Rename("block_sparse_moe", "mlp"),
            Rename("mlp.gate.weight", "mlp.router.weight"),
            *moe.MIXTRAL_KEYS[1:],
        ),
    ),
    "hunyuan_v1_moe": Variant(
        lambda c: Spec(
            attention=decoder_gated.NormAfterRotation,
            mlp=HunyuanMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
        ),
        heads={"Model": HunyuanModel},
        keys=moe.SEPARATE,
    ),
    "aria_text": Variant(
        lambda c: Spec(mlp=AriaMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias),
        keys=(
            Rename("mlp.experts.fc1.weight", "mlp.experts.gate_up_proj"),
            Rename("mlp.experts.fc2.weight", "mlp.experts.down_proj"),
        ),
    ),
    "jetmoe": Variant(lambda c: Spec(layer=JetLayer, attention=JetAttention, mlp=JetMLP)),
}
TASKS = moe.TASKS
