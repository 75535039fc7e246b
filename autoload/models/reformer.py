"""Reformer: tokens look at those in the same bucket of a hash, or at neighbours; two streams make layers reversible.

Kitaev et al. 2020 (arXiv:2001.04451).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import reformer_heads as heads
from autoload.models.reformer_heads import KINDS
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class ReformerModelOutput(ModelOutput):
    """`last_hidden_state` (batch, seq, 2 * dim)."""

    last_hidden_state: Tensor = ALWAYS
    past_buckets_states: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class Scores:
    """How much tokens see of each other, before it is known which of them are hidden."""

    dots: Tensor  # (batch, heads, [chunks,] queries, keys)
    queries: Tensor  # (batch or 1, heads or 1, [chunks,] queries), places of these in the text
    keys: Tensor

    def hide(self, real: Tensor | None, causal: bool) -> Tensor:
        """Make what is hidden impossible; real: (batch, seq)."""
        dots = self.dots
        if real is not None:
            batch, seq = torch.arange(len(real), device=real.device), self.keys
            seen = real[batch.view(-1, *[1] * (seq.dim() - 1)), seq]
            dots = dots.masked_fill(~seen.unsqueeze(-2), _value(dots, -1e9, -1e4))
        if causal:
            later = self.queries.unsqueeze(-1) < self.keys.unsqueeze(-2)
            dots = dots.masked_fill(later, _value(dots, -1e9, -1e4))
        return dots


def _value(like: Tensor, value: float, half: float) -> float:
    """A score that leaves no chance; float16 reaches less far."""
    return half if like.dtype == torch.float16 else value


def pick(x: Tensor, places: Tensor) -> Tensor:
    """The vectors (batch, heads, seq, dim) that stand at places (batch, heads, count)."""
    return x.gather(2, places[..., None].expand(-1, -1, -1, x.shape[-1]))


class Chunked(nn.Module):
    """What both kinds of attention share: heads, chunks and their neighbours."""

    def __init__(self, config: Any, kind: str):
        super().__init__()
        self.heads, self.dim, self.causal = config.num_attention_heads, config.attention_head_size, config.is_decoder
        self.chunk = getattr(config, f"{kind}_attn_chunk_length")
        self.before = getattr(config, f"{kind}_num_chunks_before")
        self.after = getattr(config, f"{kind}_num_chunks_after")
        self.dropout = getattr(config, f"{kind}_attention_probs_dropout_prob")

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def in_chunks(self, x: Tensor) -> Tensor:
        """(batch, heads, seq, ...) to (batch, heads, chunks, chunk, ...)."""
        return x.unflatten(2, (-1, self.chunk))

    def with_neighbours(self, x: Tensor) -> Tensor:
        """Each chunk with those around it; the first and the last are neighbours."""
        return torch.cat([x.roll(-i, 2) if i else x for i in range(-self.before, self.after + 1)], 3)

    def weigh(self, dots: Tensor, v: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Weighted values, and the logarithm of the sum of what the scores stand for."""
        total = dots.logsumexp(-1, keepdim=True)
        weights = (dots - total).exp()
        weights = F.dropout(weights, self.dropout, self.training)
        if context.attentions is not None:
            context.attentions.append(weights)
        return weights @ v, total


class LocalSelfAttention(Chunked):
    """A chunk and its neighbours."""

    def __init__(self, config: Any):
        super().__init__(config, "local")
        inner = self.heads * self.dim
        self.query = nn.Linear(config.hidden_size, inner, bias=False)
        self.key = nn.Linear(config.hidden_size, inner, bias=False)
        self.value = nn.Linear(config.hidden_size, inner, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)) / math.sqrt(self.dim), self.split(self.value(x))
        queries = keys = torch.arange(x.shape[1], device=x.device)[None, None]
        cut = x.shape[1] > self.chunk
        if cut:
            q, queries = self.in_chunks(q), self.in_chunks(queries)
            k, v, keys = (self.with_neighbours(self.in_chunks(t)) for t in (k, v, keys))
        dots = Scores(q @ k.transpose(-1, -2), queries, keys).hide(context.extra["real"], self.causal)
        out, _ = self.weigh(dots, v, context)
        return (out.flatten(2, 3) if cut else out).transpose(1, 2).flatten(2)


class HashSelfAttention(Chunked):
    """Tokens are sorted by the bucket that a random rotation puts them in; chunks of these see each other."""

    def __init__(self, config: Any):
        super().__init__(config, "lsh")
        inner = self.heads * self.dim
        self.query_key = nn.Linear(config.hidden_size, inner, bias=False)
        self.value = nn.Linear(config.hidden_size, inner, bias=False)
        self.hashes, self.buckets, self.seed = config.num_hashes, config.num_buckets, config.hash_seed
        self.longest = config.max_position_embeddings
        for factor in self.buckets if isinstance(self.buckets, (list, tuple)) else [self.buckets or 2]:
            if factor % 2:
                raise ConfigError("num_buckets", self.buckets, "an even number, or a list of these")

    def forward(self, x: Tensor, context: Context) -> Tensor:
        seq, hashes = x.shape[1], context.extra["num_hashes"] or self.hashes
        qk, v = self.split(self.query_key(x)), self.split(self.value(x))
        order = places = torch.arange(seq, device=x.device)[None, None]
        cut = seq > self.chunk
        if cut:
            order = self.hash(qk.detach(), hashes, context.extra["real"]).argsort(dim=-1, stable=True)
            places = order % seq
            qk, v = pick(qk, places), pick(v, places)
            qk, v, places = self.in_chunks(qk), self.in_chunks(v), self.in_chunks(places)
        k = qk * (qk.square().mean(-1, keepdim=True) + 1e-6).rsqrt() / math.sqrt(self.dim)
        queries = places
        if cut:
            k, v, places = (self.with_neighbours(t) for t in (k, v, places))
        dots = Scores(qk @ k.transpose(-1, -2), queries, places).hide(context.extra["real"], self.causal)
        # A token looks at itself only if there is nothing else to look at.
        itself = queries.unsqueeze(-1) == places.unsqueeze(-2)
        out, total = self.weigh(dots.masked_fill(itself, _value(dots, -1e5, -1e3)), v, context)
        if cut:
            places = torch.arange(order.shape[-1], device=x.device).expand_as(order)
            back = torch.empty_like(order).scatter_(-1, order, places)
            out, total = (pick(t.flatten(2, 3), back).unflatten(2, (hashes, seq)) for t in (out, total))
            # Not softmax: where a token saw only itself, the reference's rounding of -1e5 is part of the result.
            out = (out * (total - total.logsumexp(2, keepdim=True)).exp()).sum(2)
        return out.transpose(1, 2).flatten(2)

    def bucket_counts(self, seq: int) -> list[int]:
        """Number of buckets, in factors where it is large: about two for each chunk."""
        if self.buckets is not None:
            return [self.buckets] if isinstance(self.buckets, int) else list(self.buckets)
        power = (2 * (seq // self.chunk)).bit_length() - 1
        if 2**power <= 2 * max(int((self.longest // self.chunk) ** 0.5), self.chunk):
            return [2**power]
        return [2 ** (power // 2), 2 ** (power - power // 2)]

    def hash(self, x: Tensor, hashes: int, real: Tensor | None) -> Tensor:
        """Bucket of each token in each round of hashing, (batch, heads, hashes * seq); padding has its own."""
        counts = self.bucket_counts(x.shape[2])
        generator = None if self.seed is None else torch.Generator(x.device).manual_seed(self.seed)
        shape = (self.heads, self.dim, hashes, sum(counts) // 2)
        rotations = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        rotated = torch.einsum("bhtd,hdnr->bhntr", x, rotations)
        buckets, total = torch.zeros(rotated.shape[:-1], dtype=torch.long, device=x.device), 1
        for count, part in zip(counts, rotated.split([count // 2 for count in counts], -1), strict=True):
            buckets = buckets + total * torch.cat([part, -part], -1).argmax(-1)
            total *= count
        if real is not None and not bool(real.all()):
            buckets = torch.where(real[:, None, None, :], buckets, total)
            total += 1
        return (buckets + total * torch.arange(hashes, device=x.device)[:, None]).flatten(2)


class Output(nn.Module):
    """Projection and dropout."""

    def __init__(self, size: int, config: Any, bias: bool):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size, bias=bias)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.dense(x))


class AttentionBlock(nn.Module):
    """Norm, attention of the layer's kind, projection."""

    def __init__(self, config: Any, kind: str):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attention = HashSelfAttention(config) if kind == "lsh" else LocalSelfAttention(config)
        self.output = Output(config.num_attention_heads * config.attention_head_size, config, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self_attention(self.layer_norm(x), context))


class Wide(nn.Module):
    """The wide layer; dropout comes before the activation."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act_fn(self.dropout(self.dense(x)))


class FeedForward(nn.Module):
    """Norm and a wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dense = Wide(config)
        self.output = Output(config.feed_forward_size, config, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dense(self.layer_norm(x)))


class ReformerLayer(nn.Module):
    """Each part reads one stream and adds to the other."""

    def __init__(self, config: Any, kind: str):
        super().__init__()
        self.attention = AttentionBlock(config, kind)
        self.feed_forward = FeedForward(config)

    def forward(self, x: tuple[Tensor, Tensor], context: Context) -> tuple[Tensor, Tensor]:
        first, second = x
        first = first + self.attention(second, context)
        return first, second + self.feed_forward(first)


class AxialPositions(nn.Module):
    """A place is a row and a column of a table; each has a part of the vector."""

    def __init__(self, config: Any):
        super().__init__()
        self.shape, sizes = tuple(config.axial_pos_shape), config.axial_pos_embds_dim
        if sum(sizes) != config.hidden_size:
            raise ConfigError("axial_pos_embds_dim", sizes, f"sizes that add up to hidden_size ({config.hidden_size})")
        rows, columns = self.shape
        shapes = ((rows, 1, sizes[0]), (1, columns, sizes[1]))
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(shape)) for shape in shapes)
        self.dropout, self.std = config.hidden_dropout_prob, config.axial_norm_std

    def init_own(self, std: float) -> None:
        for weight in self.weights:
            weight.normal_(0.0, self.std)

    def forward(self, position_ids: Tensor) -> Tensor:
        """(batch, seq, dim)."""
        rows, columns = self.shape
        if position_ids.shape[1] > rows * columns:
            text = (
                f"forward: texts are {position_ids.shape[1]} tokens long, axial_pos_shape has {rows * columns} places."
            )
            raise ArgumentError(text, name="input_ids")
        table = torch.cat([weight.expand(*self.shape, -1) for weight in self.weights], -1)
        if not self.training:
            return table.flatten(0, 1)[position_ids]
        tables = table.expand(len(position_ids), -1, -1, -1)
        tables = F.dropout2d(tables.transpose(1, 2), self.dropout).transpose(1, 2)  # whole columns are dropped
        return tables.flatten(1, 2).take_along_dim(position_ids[..., None], 1)


class LearnedPositions(nn.Module):
    """A vector for each place."""

    def __init__(self, config: Any):
        super().__init__()
        self.embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, position_ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(position_ids))


class Embeddings(nn.Module):
    """Words and places."""

    def __init__(self, config: Any):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = AxialPositions(config) if config.axial_pos_embds else LearnedPositions(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
        return self.dropout(x) + self.position_embeddings(position_ids)


class Encoder(nn.Module):
    """The layers; a norm over both streams."""

    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(ReformerLayer(config, kind) for kind in config.attn_layers)
        self.layer_norm = nn.LayerNorm(2 * config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)


class Model(PreTrainedModel):
    """Reformer without a head; its vectors are twice as wide as its layers. No states are kept between passes."""

    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["ReformerLayer", "Embeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        kinds = config.attn_layers
        if not kinds or not set(kinds) <= set(KINDS):
            raise ConfigError("attn_layers", kinds, "a list of 'lsh' and 'local'")
        self.chunks = [getattr(config, f"{kind}_attn_chunk_length") for kind in KINDS if kind in kinds]
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        num_hashes: int | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            num_hashes: rounds of hashing, in place of the configuration's.
            use_cache: taken and ignored.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config, encoder = self.config, self.encoder
        asked = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        seq = x.shape[1]
        x, position_ids, real = self.fill_chunks(x, position_ids, attention_mask)
        x = self.embeddings(x, position_ids)
        extra = {"real": real, "num_hashes": num_hashes}
        context = Context(attentions=[] if asked else None, extra=extra)
        streams: Any = (x, x)
        seen = []
        for layer in encoder.layers:
            seen.append(streams[1])
            streams = self.run(layer, streams, context)
        seen.append(streams[1])
        x = encoder.dropout(encoder.layer_norm(torch.cat(streams, -1)))[:, :seq]
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(
            ReformerModelOutput(last_hidden_state=x, hidden_states=tuple(seen) if states else None, attentions=shown),
            return_dict,
            config,
        )

    def fill_chunks(
        self, x: Tensor, position_ids: Tensor | None, attention_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Padding up to whole chunks, where a text is longer than one."""
        seq, real = x.shape[1], None if attention_mask is None else attention_mask != 0
        short = -seq % math.lcm(*self.chunks) if seq > min(self.chunks) else 0
        if position_ids is None:
            position_ids = torch.arange(seq + short, device=x.device).expand(len(x), -1)
        elif short:
            position_ids = F.pad(position_ids, (0, short))
        if short:
            real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if real is None else real
            real = F.pad(real, (0, short))
            padding = self.embeddings.word_embeddings.weight[self.config.pad_token_id]
            x = torch.cat([x, padding.expand(len(x), short, -1)], 1)
        return x, position_ids, real


VARIANTS = {"reformer": Variant(members={"base_model_prefix": "reformer"})}
TASKS = heads.TASKS | {"Model": Model}
