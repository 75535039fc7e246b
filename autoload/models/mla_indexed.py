"""Decoders with latent attention to the few keys that an index chooses: axk2, deepseek_v32, dots3_note_text,
glm_moe_dsa.

DeepSeek-AI 2025 (DeepSeek-V3.2): the index has narrow heads, whose scores are summed with weights of the query's. Where
it may choose all keys there is nothing to score. dots3_note_text has narrow windows between such layers, with sizes of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context, Mask
from autoload.layers.norms import RMSNorm
from autoload.layers.rope import rotate, rotate_pairs
from autoload.layers.selection import explicit, index_keys, narrowed
from autoload.model import Variant
from autoload.models import decoder, mla, moe
from autoload.models.decoder import GatedMLP, Spec, norm_eps
from autoload.models.decoder_gemma import of_layer, rotary_by_kind
from autoload.models.moe_sigmoid import GroupRouter, SharedMLP


class Indexer(nn.Module):
    """The best keys of each query; dimensions (i, i + half) of what turns are a pair."""

    eps = 1e-6

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.layer_idx, self.layers = layer_idx, config.num_hidden_layers
        self.heads, self.dim, self.picks = config.index_n_heads, config.index_head_dim, config.index_topk
        rank = getattr(config, "q_lora_rank", config.hidden_size)
        self.wq_b = nn.Linear(rank, self.heads * self.dim, bias=False)
        self.wk = nn.Linear(config.hidden_size, self.dim, bias=False)
        self.k_norm = nn.LayerNorm(self.dim, eps=self.eps)
        self.weights_proj = nn.Linear(config.hidden_size, self.heads, bias=False)

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x with positions, from tables in which dimensions 2i and 2i + 1 are a pair."""
        cos, sin = (torch.cat([table[..., ::2], table[..., ::2]], -1) for table in (cos, sin))
        return rotate(x, cos, sin)

    def keys(self, x: Tensor) -> Tensor:
        return self.k_norm(self.wk(x))

    def queries(self, narrow: Tensor, context: Context) -> Tensor:
        return self.wq_b(narrow).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, queries, dim)

    @torch.no_grad()
    def forward(self, x: Tensor, narrow: Tensor, allowed: Tensor, kind: str, context: Context) -> Tensor | None:
        """True at the chosen keys, (batch, 1, queries, keys); None where all are.

        Args:
            x: (batch, queries, dim).
            narrow: what the queries are made of, (batch, queries, rank).
            allowed: the mask, (batch or 1, 1, queries, keys).
            kind: of the layer.
            context: of the forward pass.
        """
        k = self.turn(self.keys(x)[:, None], *context.rope[kind])
        k = index_keys(k, self.layer_idx, self.layers, context)  # (batch, 1, keys, dim)
        if k.shape[2] <= self.picks:
            return None
        q = self.turn(self.queries(narrow, context), *context.rope[kind])
        scores = F.relu(q.float() @ k.float().transpose(2, 3) * self.dim**-0.5).transpose(1, 2)
        weights = self.weights_proj(x.to(self.weights_proj.weight.dtype)).float() * self.heads**-0.5
        total = (weights[:, :, None] @ scores)[:, None, :, 0]  # (batch, 1, queries, keys)
        lowest = float("-inf")
        total = total.masked_fill(~allowed, lowest) if allowed.dtype == torch.bool else total + allowed
        best = total.topk(self.picks, -1).indices
        return torch.zeros_like(total, dtype=torch.bool).scatter(-1, best, True)


class PairIndexer(Indexer):
    """Dimensions 2i and 2i + 1 are a pair."""

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return rotate_pairs(x, cos, sin)


class IndexedAttention(mla.LatentAttention):
    """Looks at the keys that its index chooses, or that of an earlier layer did."""

    indexer_class: type[Indexer] = Indexer

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.make_index(config)

    def make_index(self, config: Any) -> None:
        kinds = getattr(config, "indexer_types", None) or ["full"] * config.num_hidden_layers
        self.source = max(i for i in range(self.layer_idx + 1) if kinds[i] == "full")  # the layer that chooses
        self.indexer = self.indexer_class(config, self.layer_idx) if self.source == self.layer_idx else None

    def see(self, x: Tensor, context: Context) -> Tensor:
        narrow = self.q_a_layernorm(self.q_a_proj(x))  # (batch, seq, rank)
        return self.gather(self.q_b_proj(narrow), x, self.select(x, narrow, context))

    def select(self, x: Tensor, narrow: Tensor, context: Context) -> Context:
        """The context, with a mask that hides what was not chosen."""
        queries = x.shape[1]
        keys = queries if context.cache is None else context.cache.get_mask_sizes(queries, self.layer_idx)[0]
        allowed = explicit(context.masks[self.kind], queries, keys, x.device)
        if self.indexer is not None:
            context.extra["chosen"][self.layer_idx] = self.indexer(x, narrow, allowed, self.kind, context)
        chosen = context.extra["chosen"][self.source]
        if chosen is None:
            return context
        masks = {**context.masks, self.kind: Mask(narrowed(allowed, chosen.to(x.device)))}
        return replace(context, masks=masks)


class PairIndexedAttention(IndexedAttention):
    """The index turns as the attention does."""

    indexer_class = PairIndexer


class IndexedModel(moe.Model):
    """Keeps what each index chose, for the layers that share it."""

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return super().make_extra(positions, x) | {"chosen": {}}


# -- axk2


class GatedRMSNorm(nn.Module):
    """A norm behind which a low-rank gate stands."""

    def __init__(self, config: Any):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = NarrowMLP(config.hidden_size, config.gated_norm_rank)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return (y * self.mlp(y).float().sigmoid()).to(y.dtype)


class NarrowMLP(nn.Module):
    """Down and up again."""

    def __init__(self, size: int, rank: int):
        super().__init__()
        self.fc1 = nn.Linear(size, rank, bias=False)
        self.fc2 = nn.Linear(rank, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.silu(self.fc1(x)))


class GatedNormLayer(decoder.Layer):
    """Gates its norms, but for that before a plain MLP."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.input_layernorm = GatedRMSNorm(config)
        if self.routed:
            self.post_attention_layernorm = GatedRMSNorm(config)


class GatedIndexedAttention(IndexedAttention):
    """Queries, and a gate for what they saw, come from one matrix."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        size = self.heads * (self.plain + self.turning + self.value)
        self.q_gate_proj = nn.Linear(2 * config.q_lora_rank, size, bias=False)
        del self.q_b_proj

    def forward(self, x: Tensor, context: Context) -> Tensor:
        raw = self.q_a_proj(x)
        narrow = self.q_a_layernorm(raw)  # (batch, seq, rank)
        both = self.q_gate_proj(torch.cat([narrow, raw], -1)).unflatten(-1, (self.heads, -1))
        q, gate = (part.flatten(2) for part in both.split([self.plain + self.turning, self.value], -1))
        seen = self.gather(q, x, self.select(x, narrow, context))
        return self.o_proj((seen * gate.float().sigmoid()).to(seen.dtype))


def within_groups(scores: Tensor, groups: int, kept: int) -> Tensor:
    """The scores, (tokens, experts), but zero outside of the best groups; a group counts by its two best."""
    by_group = scores.unflatten(-1, (groups, -1))  # (tokens, groups, experts of one)
    best = by_group.topk(2, -1).values.sum(-1).topk(kept, -1).indices
    out = torch.ones_like(by_group[..., 0], dtype=torch.bool).scatter(-1, best, False)
    return by_group.masked_fill(out[..., None], 0.0).flatten(-2)


class OptionalGroupRouter(GroupRouter):
    """Experts may form no groups; those outside of the chosen groups score zero."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.sigmoid()
        biased = scores + self.e_score_correction_bias
        if self.groups is not None:
            biased = within_groups(biased, self.groups, self.kept)
        chosen = biased.topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        if self.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return logits, weights * self.scale, chosen


class OptionalGroupMLP(SharedMLP):
    """A.X-K2's experts."""

    router = OptionalGroupRouter


def axk2_mlp(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (OptionalGroupMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


# -- dots3


class GatedWindowAttention(PairIndexedAttention):
    """Some layers have an index, some a window; narrow vectors are scaled up, and each head's sight passes a gate."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(of_layer(config, layer_idx), spec, layer_idx)

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        eps, rank = norm_eps(config), config.q_lora_rank
        self.scale = (self.plain + self.turning) ** -0.5
        self.q_a_layernorm, self.kv_a_layernorm = RMSNorm(rank, eps), RMSNorm(self.rank, eps)
        self.k_rope_only_layernorm = RMSNorm(self.turning, eps)
        self.q_growth, self.kv_growth = (config.hidden_size / rank) ** 0.5, (config.hidden_size / self.rank) ** 0.5
        self.g_proj = nn.Linear(config.hidden_size, self.heads, bias=False)

    def make_index(self, config: Any) -> None:
        self.source = self.layer_idx
        self.indexer = PairIndexer(config, self.layer_idx) if self.kind == "indexed_attention" else None

    def see(self, x: Tensor, context: Context) -> Tensor:
        narrow = self.q_a_layernorm(self.q_a_proj(x)) * self.q_growth  # (batch, seq, rank)
        if self.indexer is not None:
            context = self.select(x, narrow, context)
        return self.gather(self.q_b_proj(narrow), x, context)

    def norm_latent(self, latent: Tensor) -> Tensor:
        return self.kv_a_layernorm(latent) * self.kv_growth

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        return super().place(q, self.k_rope_only_layernorm(k), context)

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        gated = seen.unflatten(-1, (self.heads, -1)) * self.g_proj(x).sigmoid()[..., None]
        return self.o_proj(gated.flatten(2))


class WideShareMLP(SharedMLP):
    """The MLP for all tokens has a width of its own."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        size = config.shared_experts_intermediate_size * config.n_shared_experts
        self.shared_experts = GatedMLP(config, spec, size=size)


def dots3_mlp(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (WideShareMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class Dots3Model(IndexedModel):
    """Positions turn by another base in each kind of layer, and in fp32 where there is an index."""

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        return rotary_by_kind(config, interleaved=True)

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        exact = {"indexed_attention": torch.float32}
        return {kind: rotary(positions, exact.get(kind, x.dtype)) for kind, rotary in self.rotary_emb.items()}


FP32 = {"keep_fp32": ("e_score_correction_bias", "weights_proj")}
VARIANTS = {
    "deepseek_v32": Variant(
        lambda c: mla.latent(c, attention=IndexedAttention, mlp=mla.by_kind, interleaved=True),
        members=FP32,
        keys=moe.SEPARATE,
        ignores=decoder.next_token_layers,
    ),
    "dots3_note_text": Variant(
        lambda c: Spec(
            attention=GatedWindowAttention,
            mlp=dots3_mlp,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
        ),
        heads={"Model": Dots3Model},
        keys=moe.SEPARATE,
        ignores=lambda c: rf"{decoder.next_token_layers(c)}|(?:^|\.)mtp\.",
    ),
    "glm_moe_dsa": Variant(
        lambda c: mla.latent(c, attention=PairIndexedAttention, mlp=mla.by_kind, interleaved=True),
        members=FP32,
        keys=moe.SEPARATE,
        ignores=decoder.next_token_layers,
    ),
    "axk2": Variant(
        lambda c: mla.latent(c, attention=GatedIndexedAttention, layer=GatedNormLayer, mlp=axk2_mlp, interleaved=True),
        members=FP32,
        keys=(
            *moe.SEPARATE,
            Rename("W_down", "mlp.fc1"),
            Rename("W_up", "mlp.fc2"),
            Rename("self_attn.q_b_proj", "self_attn.q_gate_proj"),
        ),
    ),
}
TASKS = moe.TASKS | {"Model": IndexedModel}
