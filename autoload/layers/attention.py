"""Attention as one function with interchangeable kernels, and the masks it needs, made once per forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.layers.packing import Packing


@dataclass
class Mask:
    """Which keys a query may look at. Nothing set: all of them.

    `allowed` is True where a query may look, or a float tensor that is added to the scores. `causal` says that the
    plain triangle is meant and no tensor was made.
    """

    allowed: Tensor | None = None  # (batch or 1, heads or 1, queries, keys)
    causal: bool = False

    def corner(self, length: int) -> Mask:
        """Of a sequence that is shorter than the mask was made for."""
        return self if self.allowed is None else Mask(self.allowed[..., :length, :length])


@dataclass
class Context:
    """What a forward pass makes once and hands to every layer."""

    masks: dict[Any, Mask] = field(default_factory=dict)  # by kind of layer
    rope: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict)  # by kind of layer: cos, sin
    cache: Any = None
    kernel: str = "sdpa"
    attentions: list[Tensor] | None = None  # a list asks for the weights
    states: bool = True  # whether the hidden states of all layers are asked for
    encoder: Tensor | None = None  # (batch, source, dim), for cross-attention
    encoder_mask: Mask | None = None
    cross_attentions: list[Tensor] | None = None
    packing: Packing | None = None  # the sequences stand in one row without padding
    extra: dict[str, Any] = field(default_factory=dict)  # what a single family passes on

    def packing_of(self, attention_mask: Any) -> Packing | None:
        """How to leave padding out, where that pays and nothing asks for what attention makes of it."""
        plain = self.kernel == "sdpa" and self.attentions is None and self.encoder is None and self.cache is None
        return Packing.of(attention_mask) if plain and isinstance(attention_mask, Tensor) else None

    def packed(self, packing: Packing, masks: dict[Any, Mask]) -> Context:
        """The context of a batch whose tokens stand in one row.

        Args:
            packing: how they stand.
            masks: by kind of layer, of a batch without padding; each sequence takes the upper left corner.
        """
        rope = {kind: (packing.pack(cos), packing.pack(sin)) for kind, (cos, sin) in self.rope.items()}
        return replace(self, packing=packing, masks=masks, rope=rope)

    def to(self, device: Any, non_blocking: bool = False) -> Context:
        """A copy on another device, for models that are spread over several."""

        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=non_blocking)

        return replace(
            self,
            masks={kind: replace(mask, allowed=move(mask.allowed)) for kind, mask in self.masks.items()},
            rope={kind: (cos.to(device), sin.to(device)) for kind, (cos, sin) in self.rope.items()},
            encoder=move(self.encoder),
            encoder_mask=self.encoder_mask and replace(self.encoder_mask, allowed=move(self.encoder_mask.allowed)),
            extra={k: move(v) if isinstance(v, Tensor) else v for k, v in self.extra.items()},
        )


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None,
    context: Context,
    *,
    scale: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    bias: Tensor | None = None,
    weights_to: list[Tensor] | None = None,
) -> Tensor:
    """softmax(q k' scale) v, with the kernel that the context names.

    Args:
        q: (batch, heads, queries, dim).
        k: (batch, key heads, keys, dim); heads is a multiple of key heads.
        v: (batch, key heads, keys, value dim).
        mask: which keys each query may look at; None: all.
        context: of the forward pass.
        scale: factor on the scores.
        dropout: probability, 0 outside training.
        softcap: scores are squashed into (-softcap, softcap) by tanh.
        sinks: (heads,), the score of a key that has no value.
        bias: added to the scores, (batch or 1, heads, queries or 1, keys).
        weights_to: list that receives the weights (batch, heads, queries, keys); asks for the eager kernel.

    Returns:
        (batch, queries, heads * value dim).
    """
    mask = mask or Mask()
    if context.packing is not None:
        alone = Context(kernel=context.kernel)

        def sequences(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            length = q.shape[2]
            own = None if bias is None else bias[..., :length, :length]
            rest: dict[str, Any] = dict(scale=scale, dropout=dropout, softcap=softcap, sinks=sinks, bias=own)
            return attend(q, k, v, mask.corner(length), alone, **rest)

        return context.packing.each(sequences, q, k, v)
    if weights_to is None and softcap is None and sinks is None and context.kernel != "eager":
        out = _KERNELS[context.kernel](q, k, v, mask, bias, scale, dropout)
    else:
        out, weights = _eager(q, k, v, mask, bias, scale, dropout, softcap, sinks)
        if weights_to is not None:
            weights_to.append(weights)
    return out.transpose(1, 2).flatten(2)  # (batch, queries, heads * value dim)


def _eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask,
    bias: Tensor | None,
    scale: float,
    dropout: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Step by step, in the order of operations that gives the weights; softmax in fp32."""
    if (groups := q.shape[1] // k.shape[1]) > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(2, 3) * scale  # (batch, heads, queries, keys)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if bias is not None:
        scores = scores + bias
    allowed = causal_triangle(q.shape[2], k.shape[2], q.device) if mask.causal else mask.allowed
    if allowed is not None:
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~allowed, lowest) if allowed.dtype == torch.bool else scores + allowed
    if sinks is not None:
        sink = sinks.reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        weights = torch.cat([scores, sink.to(scores.dtype)], -1).softmax(-1, dtype=torch.float32)[..., :-1].to(q.dtype)
    else:
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
    weights = F.dropout(weights, dropout) if dropout else weights
    return weights @ v, weights


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Mask, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    allowed, causal = mask.allowed, mask.causal and q.shape[2] > 1
    if bias is not None:
        if causal:
            allowed, causal = causal_triangle(q.shape[2], k.shape[2], q.device), False
        if allowed is not None:
            lowest = torch.finfo(q.dtype).min
            bias = bias.masked_fill(~allowed, lowest) if allowed.dtype == torch.bool else bias + allowed
        allowed = bias.to(q.dtype)
    if q.shape[2] == 1:
        return _one_query(q, k, v, allowed, scale, dropout)
    gqa = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, allowed, dropout, causal, scale=scale, enable_gqa=gqa)


def _one_query(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, scale: float, dropout: float) -> Tensor:
    """A decoding step: heads that share keys become the queries of one head, and each key is read once.

    The processor's kernel for half precision is several times slower than a cast and the one for fp32.
    """
    batch, heads, dtype = q.shape[0], q.shape[1], q.dtype
    if (kv_heads := k.shape[1]) != heads:
        q = q.reshape(batch, kv_heads, -1, q.shape[3])  # (batch, key heads, heads that share them, dim)
        if allowed is not None and allowed.shape[1] != 1:
            allowed = allowed.reshape(allowed.shape[0], kv_heads, -1, allowed.shape[3])
    if q.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16):
        q, k, v = q.float(), k.float(), v.float()
        if allowed is not None and allowed.dtype != torch.bool:
            allowed = allowed.float()
    out = F.scaled_dot_product_attention(q, k, v, allowed, dropout, scale=scale)
    return out.to(dtype).reshape(batch, heads, 1, -1)


def _flex(q: Tensor, k: Tensor, v: Tensor, mask: Mask, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    allowed = causal_triangle(q.shape[2], k.shape[2], q.device) if mask.causal else mask.allowed

    def score(s: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if bias is not None:
            s = s + bias[b % bias.shape[0], h % bias.shape[1], i % bias.shape[2], j]
        if allowed is None:
            return s
        entry = allowed[b % allowed.shape[0], h % allowed.shape[1], i, j]
        return torch.where(entry, s, float("-inf")) if allowed.dtype == torch.bool else s + entry

    return flex_attention(q, k, v, score_mod=score, scale=scale, enable_gqa=q.shape[1] != k.shape[1])  # type: ignore[return-value]


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Mask, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    from flash_attn import flash_attn_func  # type: ignore[import-not-found]

    if mask.allowed is not None or bias is not None:  # padding, windows: what this kernel's plain entry does not take
        return _sdpa(q, k, v, mask, bias, scale, dropout)
    out = flash_attn_func(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), dropout, softmax_scale=scale, causal=mask.causal
    )
    return out.transpose(1, 2)


_KERNELS = {"sdpa": _sdpa, "flex_attention": _flex, "flash_attention_2": _flash}
KERNELS = ("eager", *_KERNELS)


def biased(mask: Mask, bias: Tensor, queries: int) -> Mask:
    """A mask that also adds a bias, made once for all layers.

    Args:
        mask: which keys each query may look at.
        bias: (batch or 1, heads, queries or 1, keys).
        queries: number of queries.
    """
    allowed = causal_triangle(queries, bias.shape[-1], bias.device) if mask.causal else mask.allowed
    if allowed is None:
        return Mask(bias)
    if allowed.dtype != torch.bool:
        return Mask(bias + allowed)
    return Mask(bias.masked_fill(~allowed, torch.finfo(bias.dtype).min))


def causal_triangle(queries: int, keys: int, device: Any) -> Tensor:
    """True where key j <= query i, the last query being aligned with the last key; (1, 1, queries, keys)."""
    i = torch.arange(keys - queries, keys, device=device)[:, None]
    return (torch.arange(keys, device=device)[None, :] <= i)[None, None]


def band(size: int, behind: int, ahead: int, device: Any) -> Tensor:
    """True where a key is less than `behind` tokens before the query, or less than `ahead` after it; (1, 1, size, size)."""
    place = torch.arange(size, device=device)
    away = place[None, :] - place[:, None]  # (queries, keys)
    return ((away > -behind) & (away < ahead))[None, None]


def all_true(mask: Tensor | None) -> bool:
    """Whether a padding mask hides nothing. Never asked while a graph is traced: the answer would be baked in."""
    return mask is None or (not torch.compiler.is_compiling() and bool((mask != 0).all()))


def encoder_mask(attention_mask: Tensor | None, dtype: torch.dtype = torch.float32) -> Mask:
    """Mask for attention in both directions from (batch, keys), or from a ready one of four dimensions."""
    if attention_mask is None:
        return Mask()
    if attention_mask.dim() == 4:
        return Mask(attention_mask)
    if attention_mask.dim() == 3:  # one row of keys per query
        return Mask(attention_mask[:, None] != 0)
    if all_true(attention_mask):
        return Mask()
    return Mask((attention_mask != 0)[:, None, None, :])


def decoder_mask(
    attention_mask: Tensor | None,
    queries: int,
    keys: int,
    query_start: int | Tensor,
    key_start: int | Tensor,
    device: Any,
    *,
    window: int | None = None,
    chunk: int | None = None,
    bidirectional: bool = False,
    position_ids: Tensor | None = None,
) -> Mask:
    """Mask for causal attention, over a window where one is given.

    Args:
        attention_mask: (batch, all keys so far), 0 at padding; or a ready mask of four dimensions.
        queries: number of queries; the first has position `query_start`.
        keys: number of keys; the first has position `key_start`.
        device: of the result.
        window: a query sees itself and the `window - 1` tokens before it.
        chunk: a query sees its own block of that many tokens.
        bidirectional: a query also sees what follows it.
        position_ids: (batch, queries); where they start again within a row, several sequences are packed in it.
    """
    if attention_mask is not None and attention_mask.dim() == 4:
        return Mask(attention_mask)
    # A static cache: keys that are not written yet must be hidden.
    beyond = isinstance(query_start, Tensor) or query_start + queries < key_start + keys
    narrow = window is not None and (beyond or keys > window)
    if chunk is not None:
        narrow = beyond or key_start // chunk != (key_start + keys - 1) // chunk
    padding = None if all_true(attention_mask) else attention_mask
    packed = _packed(position_ids, queries) if attention_mask is None and not beyond and query_start == 0 else None
    if padding is None and packed is None and not narrow and not beyond:
        if bidirectional or queries == 1:
            return Mask()
        if queries == keys:
            return Mask(causal=True)
    i = query_start + torch.arange(queries, device=device)[:, None]  # (queries, 1)
    j = key_start + torch.arange(keys, device=device)[None, :]  # (1, keys)
    allowed = (j < keys + key_start) if bidirectional else j <= i
    if isinstance(key_start, Tensor):  # a static window that is not full begins before the first token
        allowed = allowed & (j >= 0)
    if window is not None:
        allowed = allowed & (j > i - window)
        if bidirectional:
            allowed = allowed & (j < i + window)
    allowed = allowed[None, None]
    if chunk is not None:
        shift = 0 if padding is None else (padding != 0).int().argmax(-1)[:, None, None, None]  # left padding
        allowed = allowed & ((i - shift) // chunk == (j - shift) // chunk)
    if packed is not None:
        allowed = allowed & (packed[:, None, :, None] == packed[:, None, None, :])
    if padding is not None:
        if isinstance(key_start, Tensor):
            seen = (padding != 0)[:, None, None].index_select(-1, j[0].clamp(0, padding.shape[1] - 1))
        else:
            seen = (padding != 0)[:, None, None, key_start : key_start + keys]
        if seen.shape[-1] < keys:  # a static cache has room beyond the mask
            seen = F.pad(seen, (0, keys - seen.shape[-1]))
        allowed = allowed & seen
    return Mask(allowed)


def _packed(position_ids: Tensor | None, queries: int) -> Tensor | None:
    """Number of the sequence that each token belongs to, when a row packs several; (batch, queries)."""
    if position_ids is None or queries == 1 or torch.compiler.is_compiling():
        return None
    starts = position_ids.diff(dim=-1) != 1  # (batch, queries - 1)
    if position_ids.dim() != 2 or not bool(starts.any()):
        return None
    return F.pad(starts.cumsum(-1), (1, 0))


def kernel_of(config: Any) -> str:
    """The kernel that a configuration asks for, checked."""
    name = config._attn_implementation or "sdpa"
    if name not in KERNELS:
        from autoload.errors import ArgumentError

        raise ArgumentError(
            f"attn_implementation is {name!r}, expected one of {', '.join(KERNELS)}.", name="attn_implementation"
        )
    return name
