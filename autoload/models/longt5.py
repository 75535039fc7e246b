"""LongT5: T5 whose encoder looks at the tokens nearby, and, where asked for, at sums of all blocks of tokens.

Guo et al. 2021 (arXiv:2112.07916).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.attention import Context, Mask, attend, biased
from autoload.layers.relative import distances, relative_buckets
from autoload.model import Variant
from autoload.models import t5


def blocks(x: Tensor, length: int, axis: int = 1) -> Tensor:
    """(..., seq, ...) to (..., blocks, length, ...), with zeros at the end."""
    missing = -x.shape[axis] % length
    padding = [0, 0] * (x.dim() - axis - 1) + [0, missing]
    return F.pad(x, padding).unflatten(axis, (-1, length)) if missing else x.unflatten(axis, (-1, length))


def with_neighbours(x: Tensor) -> Tensor:
    """Each block with the one before and the one after it: (batch, blocks, length, ...) to three times the length."""
    around = F.pad(x, [0, 0] * (x.dim() - 2) + [1, 1])
    return torch.cat([around[:, :-2], x, around[:, 2:]], 2)


class LocalAttention(t5.Attention):
    """Each block of tokens looks at itself and at its neighbours."""

    def __init__(self, config: Any, layer_idx: int, *, table: bool = False):
        super().__init__(config, layer_idx, table=table)
        self.length = config.local_radius + 1

    def split_blocks(self, x: Tensor) -> Tensor:
        return blocks(x, self.length).unflatten(-1, (self.heads, -1))  # (batch, blocks, length, heads, dim)

    def beside(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor] | None:
        """Keys and values that every block looks at too, (batch, heads, count, dim)."""
        return None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q = self.split_blocks(self.q(x))
        k, v = (with_neighbours(self.split_blocks(projection(x))) for projection in (self.k, self.v))
        count = q.shape[1]
        q, k, v = (t.flatten(0, 1).transpose(1, 2) for t in (q, k, v))  # (batch * blocks, heads, length, dim)
        if (beside := self.beside(x, context)) is not None:
            k, v = (torch.cat([t, more.repeat_interleave(count, 0)], 2) for t, more in zip((k, v), beside, strict=True))
        weights = [] if context.attentions is not None else None
        dropout = self.attn_dropout.p if self.training else 0.0
        out = attend(q, k, v, context.masks["full"], context, scale=1.0, dropout=dropout, weights_to=weights)
        if context.attentions is not None and weights is not None:
            context.attentions.append(weights[0].unflatten(0, (-1, count)))  # (batch, blocks, heads, length, keys)
        return self.o(out.unflatten(0, (-1, count)).flatten(1, 2)[:, : x.shape[1]])


class TransientGlobalAttention(LocalAttention):
    """Each token also looks at the sums of all blocks of tokens, made anew in each layer."""

    def __init__(self, config: Any, layer_idx: int, *, table: bool = False):
        super().__init__(config, layer_idx, table=table)
        if table:
            self.global_relative_attention_bias = self.make_table(config)
        self.global_input_layer_norm = t5.Norm(config.d_model, config.layer_norm_epsilon)

    def beside(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        summed = context.masks["global"].allowed
        assert summed is not None
        return self.keys_values(self.global_input_layer_norm(summed.to(x.dtype) @ x))


KINDS = {
    "local": ("LocalSelfAttention", LocalAttention),
    "transient-global": ("TransientGlobalSelfAttention", TransientGlobalAttention),
}


class EncoderBlock(t5.Block):
    """With the attention that `encoder_attention_type` names."""

    def make_attention(self, config: Any, layer_idx: int, table: bool) -> t5.Part:
        if config.encoder_attention_type not in KINDS:
            raise ConfigError("encoder_attention_type", config.encoder_attention_type, f"one of {', '.join(KINDS)}")
        name, kind = KINDS[config.encoder_attention_type]
        return t5.Part(config, name, kind(config, layer_idx, table=table))


class Encoder(t5.Encoder):
    """Reads the source in blocks."""

    block_class = EncoderBlock
    packs = False  # blocks are counted by place

    def make_masks(self, attention_mask: Tensor | None, x: Tensor) -> dict[Any, Mask]:
        """Of the blocks; under "global" which tokens each sum is made of."""
        real = torch.ones(x.shape[:2], device=x.device) if attention_mask is None else attention_mask
        real, length = real != 0, self.config.local_radius + 1
        place = torch.arange(length, device=x.device)
        distance = distances(length, 3 * length, x.device) - length  # (length, 3 * length)
        near = (distance.abs() < length) & with_neighbours(blocks(real, length))[:, :, None]
        near = near & blocks(real, length)[..., None]  # (batch, blocks, length, 3 * length)
        table = self.attentions()[0]
        mask = biased(
            Mask(near.flatten(0, 1)[:, None]), self.bias(table.relative_attention_bias, distance, x), len(place)
        )
        if self.config.encoder_attention_type == "local":
            return {"full": mask}
        member, members = block_numbers(real, self.config.global_block_size)
        distance = torch.arange(members.shape[1], device=x.device) - member[..., None]  # (batch, seq, sums)
        # On the left of a padded text stand blocks of padding, which are looked at as empty sums.
        exists = torch.arange(members.shape[1], device=x.device) <= member.amax(1, keepdim=True)  # (batch, sums)
        side = self.bias(table.global_relative_attention_bias, distance, x)  # (batch, heads, seq, sums)
        hidden = (real[:, :, None] != exists[:, None])[:, None]
        side = blocks(side.masked_fill(hidden, torch.finfo(x.dtype).min), length, 2).transpose(1, 2).flatten(0, 1)
        assert mask.allowed is not None
        return {"full": Mask(torch.cat([mask.allowed, side], -1)), "global": Mask(members)}

    def bias(self, table: nn.Embedding, distance: Tensor, x: Tensor) -> Tensor:
        """(batch or none, queries, keys) to (batch or 1, heads, queries, keys)."""
        buckets = relative_buckets(distance, table.num_embeddings, self.config.relative_attention_max_distance)
        return table(buckets if distance.dim() == 3 else buckets[None]).permute(0, 3, 1, 2).to(x.dtype)


def block_numbers(real: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which block each token is part of; tokens after the last whole block are part of that one.

    Args:
        real: (batch, seq), False at padding.
        size: tokens of a block.

    Returns:
        Numbers (batch, seq), -1 for none; and as a matrix (batch, blocks, seq).
    """
    place = torch.arange(real.shape[1], device=real.device)
    ends = real & (place % size == size - 1)
    number = torch.where(real, place // size, -1).minimum(ends.sum(1, keepdim=True) - 1)
    wanted = torch.arange(real.shape[1] // size, device=real.device)
    return number, number[:, None] == wanted[:, None]


class Model(t5.Model):
    """LongT5 without a head."""

    encoder_class = Encoder


class LM(t5.LM):
    """Scores of the target's next token."""

    encoder_class = Encoder


VARIANTS = {"longt5": Variant(lambda c: t5.Spec(t5.output_scale(c)))}
TASKS = {"Model": Model, "Seq2SeqLM": LM}
