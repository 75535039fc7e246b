"""Decoders whose layers lend each other their narrow vectors: mistral_large4_text.

Scalable softmax: Nakanishi 2025 (arXiv:2501.19399).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename, Stack
from autoload.layers.attention import Context
from autoload.layers.norms import RMSNorm
from autoload.layers.rope import Rotary
from autoload.model import Variant
from autoload.models import mla, moe
from autoload.models.decoder import GatedMLP, Spec, norm_eps
from autoload.models.mla_indexed import IndexedAttention, IndexedModel, PairIndexer, within_groups
from autoload.models.moe_sigmoid import SharedMLP


class SoftmaxScaling(nn.Module):
    """Queries grow with the logarithm of their position, each head at a rate of its own."""

    def __init__(self, heads: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(heads))
        self.bias = nn.Parameter(torch.ones(heads))

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.scale)
        nn.init.ones_(self.bias)

    def forward(self, q: Tensor, positions: Tensor) -> Tensor:
        """q: (batch, heads, seq, dim); positions: (batch or 1, seq)."""
        logs = (positions + 1).float().log().to(q.dtype)[:, None]  # (batch or 1, 1, seq)
        scale, bias = self.scale.to(q.dtype)[:, None], self.bias.to(q.dtype)[:, None]
        return q * (scale * logs + bias)[..., None]


class ScaledIndexer(PairIndexer):
    """Reads the stream itself, normed; scales its queries, and does not turn where its layer does not."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.turns = bool(config.no_rope_layers[layer_idx])
        self.q_input_norm = nn.LayerNorm(config.hidden_size, eps=self.eps)
        self.softmax_scaling = SoftmaxScaling(self.heads)

    def queries(self, narrow: Tensor, context: Context) -> Tensor:
        q = super().queries(self.q_input_norm(narrow), context)
        return self.softmax_scaling(q, context.extra["positions"])

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return super().turn(x, cos, sin) if self.turns else x


class LendingAttention(IndexedAttention):
    """Scales its queries; may expand the narrow vectors of an earlier layer. Without positions all of a head is plain."""

    indexer_class = ScaledIndexer

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.lender = config.kv_source_layers[self.layer_idx]
        self.turning = config.qk_rope_head_dim if self.rotates else 0
        self.plain = config.qk_nope_head_dim + config.qk_rope_head_dim - self.turning
        self.value, self.rank, dim = config.v_head_dim, config.kv_lora_rank, config.hidden_size
        self.q_proj = nn.Linear(dim, self.heads * (self.plain + self.turning), bias=False)
        if self.lender == self.layer_idx:
            self.kv_a_proj_with_mqa = nn.Linear(dim, self.rank + self.turning, bias=spec.qkv_bias)
            self.kv_a_layernorm = RMSNorm(self.rank, norm_eps(config))
        self.kv_b_proj = nn.Linear(self.rank, self.heads * (self.plain + self.value), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value, dim, bias=spec.o_bias)
        self.softmax_scaling = SoftmaxScaling(self.heads)
        self.make_index(config)

    def see(self, x: Tensor, context: Context) -> Tensor:
        context = self.select(x, x, context)
        q = self.q_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, seq, plain + turning)
        q_plain, q_turning = q.split([self.plain, self.turning], -1)
        cos, sin = context.rope[self.kind]
        if self.lender == self.layer_idx:
            latent, k_turning = self.kv_a_proj_with_mqa(x)[:, None].split([self.rank, self.turning], -1)
            latent = self.norm_latent(latent)  # (batch, 1, seq, rank)
            k_turning = self.turn(k_turning, cos, sin) if self.rotates else k_turning
            if context.cache is not None:
                latent, k_turning = context.cache.update(latent, k_turning, self.layer_idx)
            context.extra["lent"][self.layer_idx] = latent, k_turning
        latent, k_turning = (t.to(x.device) for t in context.extra["lent"][self.lender])
        q = torch.cat([q_plain, self.turn(q_turning, cos, sin) if self.rotates else q_turning], -1)
        q = self.softmax_scaling(q, context.extra["positions"])
        kv = self.kv_b_proj(latent[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k_plain, v = kv.split([self.plain, self.value], -1)  # (batch, heads, keys, dim)
        k = torch.cat([k_plain, k_turning.expand(-1, self.heads, -1, -1)], -1)
        return self.look(q, k, v, context)


class SoftmaxGroupRouter(moe.Router):
    """Probabilities in fp32; a group of experts counts by its two best."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.groups, self.kept, self.scale = config.n_group, config.topk_group, config.routed_scaling_factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.softmax(-1)
        chosen = within_groups(scores, self.groups, self.kept).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scale, chosen


class MistralMLP(SharedMLP):
    """Mistral's experts."""

    router = SoftmaxGroupRouter


def mistral(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (MistralMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class LearntRotary(Rotary):
    """Its frequencies have learnt factors, held as logarithms."""

    alpha: Tensor

    def __init__(self, rope: Mapping[str, Any], head_dim: int, max_positions: int):
        super().__init__(rope, head_dim, max_positions, interleaved=True)
        self.register_buffer("alpha", torch.zeros(len(self.inv_freq)))

    def _apply(self, fn: Any, recurse: bool = True) -> LearntRotary:
        super()._apply(fn, recurse)
        self.alpha = fn(self.alpha)
        return self

    def init_own(self, std: float) -> None:
        self.alpha.zero_()

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        freqs = self.inv_freq.to(positions.device) * self.alpha.float().exp()
        angles = (positions[..., None].float() * freqs).repeat_interleave(2, -1)  # (batch, seq, rotated dims)
        return (angles.cos() * self.scale).to(dtype), (angles.sin() * self.scale).to(dtype)


class LendingModel(IndexedModel):
    """One rotary table with learnt frequencies; queries ask where they stand."""

    def make_rotary(self, config: Any, spec: Spec) -> Any:
        return LearntRotary(config.rope_parameters, config.qk_rope_head_dim, config.max_position_embeddings)

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return dict.fromkeys(self.kinds, self.rotary_emb(positions, x.dtype))

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return super().make_extra(positions, x) | {"positions": positions, "lent": {}}


VARIANTS = {
    "mistral_large4_text": Variant(
        lambda c: mla.latent(
            c,
            attention=LendingAttention,
            mlp=mistral,
            interleaved=True,
            no_rope=frozenset(i for i, turns in enumerate(c.no_rope_layers) if not turns),
        ),
        members={"keep_fp32": ("rotary_emb", "gate")},
        keys=(
            Rename("feed_forward", "mlp"),
            Rename("layers.*.gate", "layers.*.mlp.gate"),
            Rename("layers.*.shared_experts", "layers.*.mlp.shared_experts"),
            Stack(("experts.#.w1.weight", "experts.#.w3.weight"), "mlp.experts.gate_up_proj"),
            Stack(("experts.#.w2.weight",), "mlp.experts.down_proj"),
            Rename("attention", "self_attn"),
            Rename("wq", "q_proj"),
            Rename("wkv_a_with_mqa", "kv_a_proj_with_mqa"),
            Rename("wkv_b", "kv_b_proj"),
            Rename("kv_a_norm", "kv_a_layernorm"),
            Rename("attention_norm", "input_layernorm"),
            Rename("ffn_norm", "post_attention_layernorm"),
            Rename("ssmax_scaling.s", "softmax_scaling.scale"),
            Rename("ssmax_scaling.b", "softmax_scaling.bias"),
        ),
    ),
}
TASKS = moe.TASKS | {"Model": LendingModel}
