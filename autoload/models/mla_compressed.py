"""Decoders that see far-off tokens only as one entry for each window of them: deepseek_v4.

DeepSeek-AI 2026 (DeepSeek-V4): every layer looks at a narrow window; most also at entries, each the weighted mean of a
window of tokens. With long windows a query sees all entries, with short ones those that an index chooses. One vector is
key and value at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.keys import Prefix, Rename, Stack
from autoload.layers.activations import activation
from autoload.layers.attention import Context, Mask, decoder_mask
from autoload.layers.experts import Routed
from autoload.layers.norms import RMSNormFP32, UnweightedRMSNorm
from autoload.layers.rope import Rotary, rotate_pairs
from autoload.layers.selection import explicit, index_keys
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import GatedMLP, Spec, hidden_act, norm_eps
from autoload.models.mla_streams import ClampedExperts, MeanHead, MixingLayer, StreamModel
from autoload.models.moe import expert_count

SHORT, LONG = "compressed_sparse_attention", "heavily_compressed_attention"


def turn_tail(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the last dimensions of each head, in fp32; (batch, heads, seq, dim)."""
    plain, turning = x.split([x.shape[-1] - cos.shape[-1], cos.shape[-1]], -1)
    return torch.cat([plain, rotate_pairs(turning.float(), cos.float(), sin.float()).to(x.dtype)], -1)


class Compressor(nn.Module):
    """One entry for each window of tokens: their mean, with weights of their own in every dimension."""

    series = 1  # vectors that a token gives
    store, name = 0, "window"  # where the cache holds the entries, and tokens whose window is not full

    def __init__(self, config: Any, kind: str, dim: int, layer_idx: int):
        super().__init__()
        self.layer_idx, self.layers, self.rate = layer_idx, config.num_hidden_layers, config.compress_rates[kind]
        self.kv_proj = nn.Linear(config.hidden_size, self.series * dim, bias=False)
        self.gate_proj = nn.Linear(config.hidden_size, self.series * dim, bias=False)
        self.position_bias = nn.Parameter(torch.zeros(self.rate, self.series * dim))
        self.kv_norm = RMSNormFP32(dim, norm_eps(config))
        rope, size = config.rope_parameters["compress"], config.head_dim
        self.rotary_emb = Rotary(rope, size, config.max_position_embeddings, interleaved=True)

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.position_bias)

    def entries(self, x: Tensor, past: Any, context: Context) -> Tensor:
        """All entries so far, (batch, 1, entries, dim).

        Args:
            x: (batch, seq, dim).
            past: tokens before these.
            context: of the forward pass.
        """
        rows = torch.cat([self.kv_proj(x), self.gate_proj(x)], -1)  # (batch, seq, 2 * series * dim)
        if context.cache is not None and (kept := context.cache.state(self.layer_idx, self.name)) is not None:
            rows = torch.cat([kept, rows], 1)
        begun = rows.shape[1] - x.shape[1] >= self.rate  # whether the first window has its entry already
        count = rows.shape[1] // self.rate
        if context.cache is not None:
            rest = rows[:, max(0, count + 1 - self.series) * self.rate :]
            context.cache.keep_state(self.layer_idx, self.name, rest.clone())
        windows = rows[:, : count * self.rate].unflatten(1, (count, self.rate))  # (batch, windows, rate, ...)
        new = self.close(windows, begun)  # (batch, new entries, dim)
        first = past // self.rate
        positions = (first + torch.arange(new.shape[1], device=x.device)) * self.rate
        new = turn_tail(new[:, None], *self.rotary_emb(positions[None], x.dtype))
        return index_keys(new, 2 * self.layer_idx + self.store, self.layers, context)

    def close(self, windows: Tensor, begun: bool) -> Tensor:
        """The entries of whole windows; with `begun` but for the first of them."""
        kv, gate = windows.chunk(2, -1)
        return self.mean(kv, gate + self.position_bias)

    def mean(self, kv: Tensor, gate: Tensor) -> Tensor:
        """Over the tokens of each window; (batch, windows, tokens, dim)."""
        return self.kv_norm((kv * gate.softmax(2, dtype=torch.float32).to(kv.dtype)).sum(2))

    def forward(self, x: Tensor, narrow: Tensor, past: Any, context: Context) -> tuple[Tensor, Tensor]:
        """All entries so far, and which a query may look at: (batch or 1, 1, queries, entries).

        Args:
            x: (batch, seq, dim).
            narrow: what the queries are made of, (batch, seq, rank).
            past: tokens before these.
            context: of the forward pass.
        """
        entries = self.entries(x, past, context)
        if x.shape[1] > 1:
            return entries, self.closed(entries.shape[2], context)
        numbers = torch.arange(entries.shape[2], device=x.device)  # a single query sees all, whatever its position
        return entries, (numbers < (past + 1) // self.rate)[None, None, None]

    def closed(self, count: int, context: Context) -> Tensor:
        """True at the windows that end before a query or with it; (batch or 1, 1, queries, entries)."""
        ready = (context.extra["positions"] + 1) // self.rate
        return torch.arange(count, device=ready.device) < ready[:, None, :, None]


class OverlapCompressor(Compressor):
    """Windows reach back into the one before, whose tokens give another vector for it."""

    series = 2

    def close(self, windows: Tensor, begun: bool) -> Tensor:
        kv, gate = windows.chunk(2, -1)
        (early, own), (early_gate, own_gate) = kv.chunk(2, -1), (gate + self.position_bias).chunk(2, -1)
        early, early_gate = early[:, :-1], early_gate[:, :-1]
        if begun:
            own, own_gate = own[:, 1:], own_gate[:, 1:]
        elif len(own[0]):  # nothing stands before the first window
            ahead = (0, 0, 0, 0, 1, 0)
            early, early_gate = F.pad(early, ahead), F.pad(early_gate, ahead, value=float("-inf"))
        return self.mean(torch.cat([early, own], 2), torch.cat([early_gate, own_gate], 2))


class Scorer(nn.Module):
    """How much an index wants each entry: the sum over its heads, with weights of the query's."""

    def __init__(self, config: Any):
        super().__init__()
        self.scale, self.share = config.index_head_dim**-0.5, config.index_n_heads**-0.5
        self.weights_proj = nn.Linear(config.hidden_size, config.index_n_heads, bias=False)

    def forward(self, q: Tensor, k: Tensor, x: Tensor) -> Tensor:
        """(batch, 1, queries, entries) from queries (batch, heads, queries, dim), keys and the stream."""
        scores = F.relu(q.float() @ k.float().transpose(2, 3)) * self.scale
        weights = self.weights_proj(x).float() * self.share  # (batch, queries, heads)
        return (weights[:, :, None] @ scores.transpose(1, 2))[:, None, :, 0]


class Index(OverlapCompressor):
    """Chooses entries by narrow ones of its own."""

    store, name = 1, "index window"

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, SHORT, config.index_head_dim, layer_idx)
        self.heads, self.picks = config.index_n_heads, config.index_topk
        self.q_b_proj = nn.Linear(config.q_lora_rank, self.heads * config.index_head_dim, bias=False)
        self.scorer = Scorer(config)

    @torch.no_grad()
    def forward(self, x: Tensor, narrow: Tensor, past: Any, context: Context) -> tuple[Tensor, Tensor]:
        k = self.entries(x, past, context)
        closed = self.closed(k.shape[2], context)
        if k.shape[2] <= self.picks:
            return k, closed
        q = self.q_b_proj(narrow).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, queries, dim)
        scores = self.scorer(turn_tail(q, *context.rope[SHORT]), k, x).masked_fill(~closed, float("-inf"))
        best = scores.topk(self.picks, -1).indices
        return k, torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True) & closed


class IndexedCompressor(OverlapCompressor):
    """A query sees the entries that an index chooses."""

    def __init__(self, config: Any, kind: str, dim: int, layer_idx: int):
        super().__init__(config, kind, dim, layer_idx)
        self.indexer = Index(config, layer_idx)

    def forward(self, x: Tensor, narrow: Tensor, past: Any, context: Context) -> tuple[Tensor, Tensor]:
        return self.entries(x, past, context), self.indexer(x, narrow, past, context)[1]


class GroupedLinear(nn.Linear):
    """Groups of dimensions, each with a matrix of its own; all of these in one."""

    def __init__(self, dim: int, rank: int, groups: int):
        super().__init__(dim // groups, groups * rank, bias=False)
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (self.groups, -1)).transpose(1, 2)  # (groups, in, rank)
        parts = input.unflatten(-1, (self.groups, -1)).transpose(1, 2)  # (batch, groups, seq, in)
        return (parts @ weight).transpose(1, 2).flatten(2)  # (batch, seq, groups * rank)


class CompressedAttention(decoder.Attention):
    """A window of tokens and the entries before it, in one softmax; each head may look at nothing."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        rank, eps = config.q_lora_rank, norm_eps(config)
        self.q_a_proj = nn.Linear(config.hidden_size, rank, bias=False)
        self.q_a_norm = RMSNormFP32(rank, eps)
        self.q_b_proj = nn.Linear(rank, self.heads * self.dim, bias=False)
        self.q_b_norm = UnweightedRMSNorm(eps=eps)
        self.kv_proj = nn.Linear(config.hidden_size, self.dim, bias=False)
        self.kv_norm = RMSNormFP32(self.dim, eps)
        self.o_a_proj = GroupedLinear(self.heads * self.dim, config.o_lora_rank, config.o_groups)
        self.o_b_proj = nn.Linear(config.o_groups * config.o_lora_rank, config.hidden_size, bias=False)
        self.sinks = nn.Parameter(torch.zeros(self.heads))
        compressor = {SHORT: IndexedCompressor, LONG: Compressor}.get(self.kind)
        self.compressor = compressor and compressor(config, self.kind, self.dim, self.layer_idx)

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.sinks)

    def see(self, x: Tensor, context: Context) -> Tensor:
        cos, sin = context.rope[self.kind]
        narrow = self.q_a_norm(self.q_a_proj(x))  # (batch, seq, rank)
        q = self.q_b_norm(self.q_b_proj(narrow).unflatten(-1, (self.heads, -1))).transpose(1, 2)
        q = turn_tail(q, cos, sin)  # (batch, heads, seq, dim)
        kv = turn_tail(self.kv_norm(self.kv_proj(x))[:, None], cos, sin)  # (batch, 1, seq, dim)
        entries = None
        if self.compressor is not None:
            past = 0 if context.cache is None else context.cache.get_seq_length(self.layer_idx)
            entries, chosen = self.compressor(x, narrow, past, context)
        if context.cache is not None:
            kv = context.cache.update(kv, kv[..., :0], self.layer_idx)[0]
        if entries is not None and entries.shape[2]:
            near = explicit(context.masks[self.kind], x.shape[1], kv.shape[2], x.device)
            context = replace(context, masks={**context.masks, self.kind: beside(near, chosen)})
            kv = torch.cat([kv, entries], 2)
        seen = self.look(q, kv, kv, context, self.sinks).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return turn_tail(seen, cos, -sin).transpose(1, 2).flatten(2)  # values, too, had turned with their positions

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.o_b_proj(self.o_a_proj(seen))


def beside(near: Tensor, far: Tensor) -> Mask:
    """One mask for keys that stand behind each other; `near` may be numbers to add, `far` is True at what is seen."""
    if near.dtype != torch.bool:
        far = torch.zeros_like(far, dtype=near.dtype).masked_fill(~far, torch.finfo(near.dtype).min)
    batch = max(len(near), len(far))
    return Mask(torch.cat([near.expand(batch, -1, -1, -1), far.expand(batch, near.shape[1], -1, -1)], -1))


class ScoreRouter(moe.Router):
    """The best experts by score plus a bias that only the choice sees."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.scale, self.score = config.routed_scaling_factor, activation(config.scoring_func)
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight)
        scores = self.score(logits)
        chosen = (scores + self.e_score_correction_bias).topk(self.picks, -1).indices
        return logits, shares(scores, chosen) * self.scale, chosen


class TableRouter(moe.Router):
    """A table says which experts a token passes through; how much each counts is scored."""

    tid2eid: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.scale, self.score = config.routed_scaling_factor, activation(config.scoring_func)
        self.register_buffer("tid2eid", torch.zeros(config.vocab_size, self.picks, dtype=torch.int64))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.tid2eid.zero_()

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        chosen = self.tid2eid[ids].long()
        return shares(self.score(F.linear(x, self.weight)), chosen) * self.scale, chosen


def shares(scores: Tensor, chosen: Tensor) -> Tensor:
    """The scores of the chosen experts, which sum to one; (tokens, k)."""
    weights = scores.gather(-1, chosen)
    return weights / (weights.sum(-1, keepdim=True) + 1e-20)


class ClampedGatedMLP(GatedMLP):
    """Gate and value are clamped."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec, size=config.moe_intermediate_size)
        self.limit = config.swiglu_limit

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_proj(x).clamp(max=self.limit), self.up_proj(x).clamp(-self.limit, self.limit)
        return self.down_proj(self.act_fn(gate) * value)


class TableOrScoreMLP(Routed):
    """Experts, and one MLP that all tokens pass through; the first layers choose by table."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.by_table = config.mlp_layer_types[layer_idx] == "hash_moe"
        self.gate = (TableRouter if self.by_table else ScoreRouter)(config)
        self.experts = ClampedExperts(config, expert_count(config), config.moe_intermediate_size, hidden_act(config))
        self.shared_experts = ClampedGatedMLP(config, spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)
        if self.by_table:
            weights, chosen = self.gate(flat, context.extra["input_ids"].flatten())
            out = self.experts(flat, chosen, weights)
        else:
            out = self.route(flat, self.gate, self.experts, context)
        return out.view_as(x) + self.shared_experts(x)


class CompressedModel(StreamModel):
    """Every layer has the window; those with entries turn by another base."""

    head_class = MeanHead

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        rope, size, length = config.rope_parameters, config.head_dim, config.max_position_embeddings
        return nn.ModuleDict({name: Rotary(rope[name], size, length, True) for name in ("main", "compress")})

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        main, compress = (self.rotary_emb[name](positions, x.dtype) for name in ("main", "compress"))
        return {"sliding_attention": main, SHORT: compress, LONG: compress}

    def make_masks(self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Any) -> dict[str, Mask]:
        if isinstance(attention_mask, dict):
            return super().make_masks(attention_mask, x, past, cache, position_ids)
        queries, window = x.shape[1], self.config.sliding_window
        keys, start = (queries, 0) if cache is None else cache.get_mask_sizes(queries)
        sizes = (queries, keys, past, start, x.device)
        mask = decoder_mask(attention_mask, *sizes, window=window, position_ids=position_ids)
        return dict.fromkeys(self.kinds, mask)

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return super().make_extra(positions, x) | {"positions": positions}

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        if input_ids is None and "hash_moe" in self.config.mlp_layer_types:
            raise ArgumentError("forward: experts are chosen by token here; pass input_ids.", name="inputs_embeds")
        return {"input_ids": input_ids}


NAMES = ("fn", "base", "scale")
LEAVES = {
    **dict(attn_sink="sinks", ape="position_bias", attn_norm="input_layernorm", ffn_norm="post_attention_layernorm"),
    **dict(wq_a="q_a_proj", wq_b="q_b_proj", wkv="kv_proj", wgate="gate_proj", wo_a="o_a_proj", wo_b="o_b_proj"),
    **{f"hc_{part}_{name}": f"{part}_hc.{name}" for part in ("attn", "ffn") for name in NAMES},
}
KEYS = (
    *(Prefix("embed.", "embed_tokens."), Prefix("head.", "lm_head."), Prefix("hc_head_", "hc_head.hc_")),
    Rename("attn.indexer.compressor", "attn.compressor.indexer"),
    Rename("attn.indexer.weights_proj", "attn.compressor.indexer.scorer.weights_proj"),
    Rename("attn.indexer.wq_b", "attn.compressor.indexer.wq_b"),
    *(Rename("attn", "self_attn"), Rename("ffn", "mlp"), Rename("gate.bias", "gate.e_score_correction_bias")),
    *(Rename(hub, ours) for hub, ours in LEAVES.items()),
    *(Rename(f"{part}.norm", f"{part}.kv_norm") for part in ("self_attn", "compressor", "indexer")),
    Rename("self_attn.q_norm", "self_attn.q_a_norm"),
    *(
        Rename(f"shared_experts.w{i}", f"shared_experts.{name}_proj")
        for i, name in ((1, "gate"), (2, "down"), (3, "up"))
    ),
    Stack(("experts.#.w1.weight", "experts.#.w3.weight"), "experts.gate_up_proj"),
    Stack(("experts.#.w2.weight",), "experts.down_proj"),
)
VARIANTS = {
    "deepseek_v4": Variant(
        lambda c: Spec(norm=RMSNormFP32, layer=MixingLayer, attention=CompressedAttention, mlp=TableOrScoreMLP),
        members={
            "keep_fp32": (
                *("attn_hc", "ffn_hc", "hc_head", "sinks", "position_bias", "e_score_correction_bias", "q_a_norm"),
                *("kv_norm", "input_layernorm", "post_attention_layernorm", "norm"),
            )
        },
        keys=KEYS,
        ignores=lambda c: r"(?:^|\.)mtp\.",
    ),
}
TASKS = moe.TASKS | {"Model": CompressedModel}
