"""CANINE: reads characters, thinks in groups of them.

Clark et al. 2021 (arXiv:2103.06874).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, all_true, attend, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert_heads
from autoload.models.bert import Attention, Layer, Pooler, SelfAttention
from autoload.outputs import BaseModelOutputWithPooling

HASHES = (31, 43, 59, 61, 73, 97, 103, 113, 137, 149, 157, 173, 181, 193, 211, 223)  # one prime for each function


class CharacterEmbeddings(nn.Module):
    """Slices of a vector from several hashes of the code point; position and type added."""

    def __init__(self, config: Any):
        super().__init__()
        self.hashes, self.buckets = config.num_hash_functions, config.num_hash_buckets
        if self.hashes > len(HASHES) or config.hidden_size % self.hashes:
            raise ConfigError("num_hash_functions", self.hashes, f"a divisor of hidden_size, at most {len(HASHES)}")
        for i in range(self.hashes):
            table = nn.Embedding(self.buckets, config.hidden_size // self.hashes)
            self.add_module(f"HashBucketCodepointEmbedder_{i}", table)
        self.char_position_embeddings = nn.Embedding(self.buckets, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def embed(self, ids: Tensor) -> Tensor:
        tables = (self.get_submodule(f"HashBucketCodepointEmbedder_{i}") for i in range(self.hashes))
        slices = [table((ids + 1) * prime % self.buckets) for table, prime in zip(tables, HASHES, strict=False)]
        return torch.cat(slices, -1)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> Tensor:
        x = inputs_embeds if input_ids is None else self.embed(input_ids)
        assert x is not None
        places = torch.arange(x.shape[1], device=x.device)[None] if position_ids is None else position_ids
        if token_type_ids is None:
            token_type_ids = torch.zeros(1, 1, dtype=torch.int64, device=x.device)
        x = x + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x + self.char_position_embeddings(places)))


class LocalSelfAttention(SelfAttention):
    """Each character sees its own block."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.block = config.local_transformer_stride

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out, hidden = [], context.masks["full"].allowed
        for start in range(0, x.shape[1], self.block):
            part = x[:, start : start + self.block]
            mask = Mask() if hidden is None else Mask(hidden[..., start : start + self.block])
            q, k, v = self.project(part, context)
            weights = context.attentions if start == 0 else None  # those of the first block are shown
            dropout = self.dropout.p if self.training else 0.0
            out.append(attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=weights))
        return torch.cat(out, 1)


class LocalAttention(Attention):
    """In blocks."""

    self_class = LocalSelfAttention


class LocalLayer(Layer):
    """In blocks."""

    attention_class = LocalAttention


class Stack(nn.Module):
    """Layers."""

    def __init__(self, config: Any, layer: type, count: int):
        super().__init__()
        self.layer = nn.ModuleList(layer(config, i) for i in range(count))


class CharactersToMolecules(nn.Module):
    """A convolution with steps; the first character keeps its place, the last group gives way."""

    def __init__(self, config: Any):
        super().__init__()
        rate = config.downsampling_rate
        self.conv = nn.Conv1d(config.hidden_size, config.hidden_size, rate, stride=rate)
        self.activation = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.activation(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return self.LayerNorm(torch.cat([x[:, :1], groups[:, :-1]], 1))


class ConvProjection(nn.Module):
    """Characters and their groups side by side, mixed with their neighbours."""

    def __init__(self, config: Any):
        super().__init__()
        self.kernel = config.upsampling_kernel_size
        self.conv = nn.Conv1d(2 * config.hidden_size, config.hidden_size, self.kernel)
        self.activation = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        before = (self.kernel - 1) // 2
        x = self.conv(F.pad(x.transpose(1, 2), (before, self.kernel - 1 - before))).transpose(1, 2)
        return self.dropout(self.LayerNorm(self.activation(x)))


def key_mask(attention_mask: Tensor | None, dtype: torch.dtype) -> Mask:
    """As numbers that are added: a block of nothing but padding must still have finite weights."""
    if attention_mask is None or all_true(attention_mask):
        return Mask()
    hidden = (attention_mask == 0)[:, None, None, :]
    return Mask(
        torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, torch.finfo(dtype).min)
    )


class Model(PreTrainedModel):
    """CANINE without a head."""

    embeddings_path = "char_embeddings.HashBucketCodepointEmbedder_0"
    may_lack = ("pooler",)
    _no_split_modules = ["Layer", "LocalLayer", "CharacterEmbeddings"]

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)
        self.char_embeddings = CharacterEmbeddings(config)
        self.initial_char_encoder = Stack(config, LocalLayer, 1)
        self.chars_to_molecules = CharactersToMolecules(config)
        self.encoder = Stack(config, Layer, config.num_hidden_layers)
        self.projection = ConvProjection(config)
        self.final_char_encoder = Stack(config, Layer, 1)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the characters; those of the stacks in turn with `output_hidden_states`.

        Args:
            input_ids: (batch, seq), code points.
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config, rate = self.config, self.config.downsampling_rate
        chars = self.char_embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        seq = chars.shape[1]
        if seq < rate:
            text = f"forward: texts have {seq} characters, expected at least {rate} (downsampling_rate); pad them."
            raise ArgumentError(text, name="input_ids")
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(kernel=kernel_of(config), attentions=[] if attentions else None)
        seen: list[Tensor] = []
        char_mask = key_mask(attention_mask, chars.dtype)
        groups_mask = None
        if attention_mask is not None:
            groups_mask = F.max_pool1d(attention_mask[:, None].float(), rate, rate)[:, 0]
        chars = self.through(self.initial_char_encoder, chars, char_mask, context, seen)
        groups = self.chars_to_molecules(chars)
        groups = self.through(self.encoder, groups, key_mask(groups_mask, chars.dtype), context, seen)
        pooled = None if self.pooler is None else self.pooler(groups)
        spread = groups[:, 1:].repeat_interleave(rate, 1)
        last = groups[:, -1:].expand(-1, seq - spread.shape[1], -1)
        x = self.projection(torch.cat([chars, torch.cat([spread, last], 1)], -1))
        x = self.through(self.final_char_encoder, x, char_mask, context, seen)
        shown = None if context.attentions is None else tuple(context.attentions)
        out = BaseModelOutputWithPooling(x, pooled, tuple(seen) if states else None, shown)
        return finish(out, return_dict, config)

    def through(self, stack: Stack, x: Tensor, mask: Mask, context: Context, seen: list[Tensor]) -> Tensor:
        context.masks["full"] = mask
        for layer in stack.layer:
            seen.append(x)
            x = self.run(layer, x, context)
        seen.append(x)
        return x


class PooledModel(Model):
    """Always has its pooler."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)


VARIANTS = {"canine": Variant(members={"base_model_prefix": "canine"})}
TASKS = bert_heads.TASKS | {"Model": PooledModel}
