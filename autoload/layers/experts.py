"""Experts: many small MLPs of which each token passes through a few, and the rules by which it chooses them.

All experts of a layer are one module with one tensor for each matrix. Pairs of a token and its expert are sorted by
expert, so that each product is one call over groups of rows, with one of three implementations of equal results.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context

IMPLEMENTATIONS = ("grouped_mm", "batched_mm", "eager")


class Groups(NamedTuple):
    """Rows sorted by expert."""

    numbers: Tensor  # (rows,), the expert of each
    ends: Tensor  # (experts,), where each expert's rows end
    implementation: str | None  # None: the fastest that works here


class Experts(nn.Module):
    """Gated MLPs, `gate_up_proj` (experts, 2 * wide, dim) and `down_proj` (experts, dim, wide)."""

    def __init__(self, config: Any, count: int, wide: int, act: str):
        super().__init__()
        self.config, self.count, self.wide = config, count, wide
        self.make_weights(config.hidden_size)
        self.act_fn = Activation(act)

    def make_weights(self, dim: int) -> None:
        self.gate_up_proj = nn.Parameter(torch.empty(self.count, 2 * self.wide, dim))
        self.down_proj = nn.Parameter(torch.empty(self.count, dim, self.wide))

    def init_own(self, std: float) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=std)

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of what each token's experts make of it.

        Args:
            x: (tokens, dim).
            chosen: (tokens, k), numbers of experts.
            weights: (tokens, k).

        Returns:
            (tokens, dim).
        """
        picks = chosen.shape[1]
        order, groups = by_expert(chosen, self.count, self.config)
        rows = self.narrow(self.gate(self.widen(x[order // picks], groups)), groups)  # (tokens * k, dim)
        rows = rows * weights.flatten()[order, None]
        return rows[order.argsort()].unflatten(0, (-1, picks)).sum(1).to(x.dtype)

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.gate_up_proj.transpose(1, 2), groups)

    def gate(self, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, -1)
        return self.act_fn(gate) * value

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.down_proj.transpose(1, 2), groups)


class TransposedExperts(Experts):
    """Matrices (experts, in, out)."""

    def make_weights(self, dim: int) -> None:
        self.gate_up_proj = nn.Parameter(torch.empty(self.count, dim, 2 * self.wide))
        self.down_proj = nn.Parameter(torch.empty(self.count, self.wide, dim))

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.gate_up_proj, groups)

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.down_proj, groups)


def by_expert(chosen: Tensor, count: int, config: Any) -> tuple[Tensor, Groups]:
    """The pairs of a token and its expert, sorted by expert.

    Args:
        chosen: (tokens, k), numbers of experts.
        count: of experts.
        config: of the model; says how to multiply.

    Returns:
        Places of the pairs in `chosen`, flattened; what `product` wants to know of them.
    """
    order = chosen.flatten().argsort(stable=True)
    numbers = chosen.flatten()[order]
    ends = torch.searchsorted(numbers, torch.arange(count, device=chosen.device), right=True)
    return order, Groups(numbers, ends, config._experts_implementation)


class Routed(nn.Module):
    """Base of MLPs with experts: a layer hands them the context, which collects the scores of the choice."""

    def route(self, x: Tensor, router: nn.Module, experts: nn.Module, context: Context) -> Tensor:
        """The chosen experts' sum for (tokens, dim)."""
        logits, weights, chosen = router(x)
        context.extra["router_logits"].append(logits)
        return experts(x, chosen, weights)


def product(x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
    """Each row times its expert's matrix.

    Args:
        x: (rows, in), sorted by expert.
        weight: (experts, in, out).
        groups: which rows are whose.

    Returns:
        (rows, out).
    """
    name = groups.implementation or _fastest(x, weight)
    if name not in IMPLEMENTATIONS:
        raise ArgumentError(
            f"experts_implementation is {name!r}, expected one of {', '.join(IMPLEMENTATIONS)}.",
            name="experts_implementation",
        )
    if name == "grouped_mm" and _aligned(x, weight):
        grouped = getattr(F, "grouped_mm", None) or vars(torch)["_grouped_mm"]  # the public name came with PyTorch 2.10
        return grouped(x.to(weight.dtype), weight, offs=groups.ends.to(torch.int32))
    if name == "batched_mm" or torch.compiler.is_compiling():  # nothing here depends on the data: can be traced
        return torch.bmm(x[:, None], weight[groups.numbers])[:, 0]
    sizes = groups.ends.diff(prepend=groups.ends.new_zeros(1)).tolist()
    parts = [part @ w for part, w in zip(x.split(sizes), weight.unbind(), strict=True) if len(part)]
    return torch.cat(parts) if parts else x @ weight[0]


def _fastest(x: Tensor, weight: Tensor) -> str:
    """Grouped products where they have a kernel of their own: they wait for nothing. Elsewhere a loop is as fast."""
    fit = weight.is_cuda and weight.dtype == torch.bfloat16 and torch.cuda.get_device_capability(x.device) >= (8, 0)
    return "grouped_mm" if fit and (hasattr(F, "grouped_mm") or hasattr(torch, "_grouped_mm")) else "eager"


def _aligned(x: Tensor, weight: Tensor) -> bool:
    """The kernels want rows that are multiples of 16 bytes, and traced ones want bfloat16."""
    sizes = (x.shape[-1], weight.shape[-1])
    fit = all(size * weight.element_size() % 16 == 0 for size in sizes)
    return fit and (weight.dtype == torch.bfloat16 or not torch.compiler.is_compiling())


def softmax_then_top(logits: Tensor, picks: int, normalise: bool) -> tuple[Tensor, Tensor]:
    """The largest of all probabilities; made to sum to one where `normalise` is set. fp32."""
    weights, chosen = logits.softmax(-1, dtype=torch.float32).topk(picks, -1)
    return (weights / weights.sum(-1, keepdim=True) if normalise else weights), chosen


def top_then_softmax(logits: Tensor, picks: int) -> tuple[Tensor, Tensor]:
    """Probabilities among the largest scores alone."""
    best, chosen = logits.topk(picks, -1)
    return best.softmax(-1), chosen


def top_of_groups(scores: Tensor, picks: int, groups: int, kept: int) -> Tensor:
    """The best experts within the best groups of experts; a group counts by its two best (arXiv:2412.19437)."""
    if groups > 1:
        by_group = scores.unflatten(-1, (groups, -1))  # (tokens, groups, experts of one)
        best = by_group.topk(2, -1).values.sum(-1).topk(kept, -1).indices
        out = torch.ones_like(by_group[..., 0], dtype=torch.bool).scatter(-1, best, False)
        scores = by_group.masked_fill(out[..., None], float("-inf")).flatten(-2)
    return scores.topk(picks, -1).indices


def balance_loss(logits: tuple[Tensor, ...], picks: int, attention_mask: Tensor | None = None) -> Tensor:
    """How far the experts' shares are from even (arXiv:2101.03961, equations 4 to 6, over all layers together).

    Args:
        logits: of each layer's router, (tokens, experts).
        picks: experts per token.
        attention_mask: (batch, all tokens so far), 0 at tokens that do not count. Masks of other shapes say nothing of
            single tokens, and are passed over.

    Returns:
        A number, `picks` when all experts are used evenly.
    """
    experts, device = logits[0].shape[-1], logits[0].device
    probabilities = torch.cat([one.to(device) for one in logits]).softmax(-1)  # (layers * tokens, experts)
    chosen = probabilities.topk(picks, -1).indices
    counts = torch.ones(len(probabilities), device=device)
    if isinstance(attention_mask, Tensor) and attention_mask.dim() == 2:
        mask = attention_mask[:, -(len(logits[0]) // len(attention_mask)) :]  # those of this step
        counts = mask.reshape(-1).to(device, torch.float32).repeat(len(logits))
    used = counts.new_zeros(experts).index_add(0, chosen.flatten(), counts.repeat_interleave(picks)) / counts.sum()
    likely = (probabilities.float() * counts[:, None]).sum(0) / counts.sum()
    return (used * likely).sum() * experts
