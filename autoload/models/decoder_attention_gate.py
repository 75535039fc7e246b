"""Decoders that gate what attention saw: hrm_text, muse_glimmer_text.

Hierarchical reasoning: Wang et al. 2025 (arXiv:2506.21734).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autoload.keys import Rename, Split
from autoload.layers.attention import Context, Mask, causal_triangle
from autoload.layers.norms import RMSNormFP32, UnweightedRMSNorm, ZeroCentredRMSNorm
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, norm_eps


class GatedAttention(decoder.Attention):
    """What each head saw is multiplied by the sigmoid of a projection."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.gate_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=spec.qkv_bias)

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.o_proj(seen * torch.sigmoid(self.gate_proj(x)))


# -- muse_glimmer


class ScaledQueryAttention(GatedAttention):
    """Norms queries and keys without a weight, and scales the queries; the gate has no bias."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.gate_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=False)

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm, self.factor = None, config.qk_scale_factor
        self.normed = UnweightedRMSNorm(self.dim, norm_eps(config))

    def normalise(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.normed(q) * self.factor, self.normed(k)


class MuseLayer(decoder.SandwichLayer):
    """The norms after attention and MLP have a constant of their own."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.post_attention_layernorm.eps = self.post_feedforward_layernorm.eps = config.post_norm_eps


class NormedEmbedding(nn.Embedding):
    """Norms what it looks up."""

    eps = 1e-6

    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(input)
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class MuseModel(decoder.Model):
    """Its last norm is not centred at zero."""

    def make_embedding(self, config: Any, spec: Spec) -> nn.Embedding:
        table = NormedEmbedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        table.eps = norm_eps(config)
        return table

    def make_final_norm(self, norm: nn.Module) -> None:
        self.norm = RMSNormFP32(self.config.hidden_size, norm_eps(self.config))


# -- hrm_text


class Stack(nn.Module):
    """A few layers that are run again and again."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.layers = nn.ModuleList(decoder.Layer(config, spec, i) for i in range(config.num_layers_per_stack))
        self.final_norm = UnweightedRMSNorm(config.hidden_size, norm_eps(config))


class ShiftedCache:
    """A cache in which a stack's layers have other numbers."""

    def __init__(self, cache: Any, offset: int):
        self.cache, self.offset = cache, offset

    def update(self, keys: Tensor, values: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        return self.cache.update(keys, values, layer_idx + self.offset)


class TwoSpeedModel(decoder.Model):
    """A slow stack and a fast one take turns; the fast one runs several times for each turn of the slow one.

    Where `prefix_lm` is set, `forward` takes `token_type_ids` (batch, seq): tokens of type 1 see each other.
    """

    def make_layers(self, config: Any, spec: Spec) -> None:
        self.L_module = Stack(config, spec)
        self.H_module = Stack(config, spec)
        self.z_L_init = nn.Parameter(torch.zeros(config.hidden_size), requires_grad=False)

    def init_own(self, std: float) -> None:
        self.z_L_init.zero_()

    def make_final_norm(self, norm: nn.Module) -> None:
        """Each stack has its own."""

    def final_norm(self, x: Tensor) -> Tensor:
        return x

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        types, padding = kwargs.get("token_type_ids"), kwargs.get("attention_mask")
        if types is None or not self.config.prefix_lm or (padding is not None and padding.dim() != 2):
            return {}
        prefix = (types == 1) if padding is None else (types == 1) & (padding[:, -types.shape[1] :] != 0)
        return {"prefix": prefix[:, None, :, None] & prefix[:, None, None, :]}  # (batch, 1, queries, keys)

    def climb(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        config, (kind,) = self.config, context.masks
        prefix = context.extra.get("prefix")
        if prefix is not None and (context.cache is None or context.cache.get_seq_length() == 0):
            mask = context.masks[kind]
            seen_before = causal_triangle(x.shape[1], x.shape[1], x.device) if mask.causal else mask.allowed
            context = replace(context, masks={kind: Mask(seen_before | prefix)})
        with_gradients = [1] * max(0, config.H_cycles - len(config.L_bp_cycles)) + config.L_bp_cycles
        slow, fast, seen = x, self.z_L_init.to(x.dtype).expand_as(x), []
        turn = 0
        for high in range(config.H_cycles):
            for low in range(config.L_cycles):
                recorded = low >= config.L_cycles - with_gradients[high]
                with torch.set_grad_enabled(torch.is_grad_enabled() and recorded):
                    fast = self.run_stack(self.L_module, fast + slow, context, turn, seen)
                turn += 1
            slow = self.run_stack(self.H_module, slow + fast, context, turn, seen)
            turn += 1
        return slow, seen[:-1]

    def run_stack(self, stack: Stack, x: Tensor, context: Context, turn: int, seen: list[Tensor]) -> Tensor:
        """One run of a stack; adds its hidden states to those seen."""
        if context.cache is not None:
            context = replace(context, cache=ShiftedCache(context.cache, turn * len(stack.layers)))
        if not seen:
            seen.append(x)
        for layer in stack.layers:
            x = self.run(layer, x, context)
            seen.append(x)
        return stack.final_norm(x)


VARIANTS = {
    "muse_glimmer_text": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            layer=MuseLayer,
            attention=ScaledQueryAttention,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            no_rope=frozenset(i for i, theta in enumerate(c.layer_rope_theta) if not theta),
        ),
        heads={"Model": MuseModel},
    ),
    "hrm_text": Variant(
        lambda c: Spec(
            norm=UnweightedRMSNorm,
            attention=GatedAttention,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            embedding_scale=c.embedding_scale,
        ),
        heads={"Model": TwoSpeedModel},
        keys=(
            Split("mlp.gate_up_proj.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight")),
            Split(
                "attn.gqkv_proj.weight",
                tuple(f"self_attn.{name}_proj.weight" for name in ("gate", "q", "k", "v")),
            ),
            Rename("attn.o_proj", "self_attn.o_proj"),
        ),
    ),
}
TASKS = decoder.TASKS
