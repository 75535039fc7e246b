"""CPM-Ant: cpmant. A text follows a learned prompt, and both are read in both directions.

OpenBMB 2022.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.attention import Context, Mask, biased, kernel_of
from autoload.layers.cache import DynamicCache
from autoload.layers.norms import RMSNorm
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.gpt_decoder import Attention
from autoload.outputs import BaseModelOutputWithPast

TEXT, PROMPT = 2, 0  # numbers of segments
PROMPT_TYPE = 2  # the one of the learned prompts that texts are given


class SelfAttention(Attention):
    """Heads of any size, no biases; what stands at padding is nothing."""

    def __init__(self, config: Any, layer_idx: int):
        size, inner = config.hidden_size, config.num_attention_heads * config.dim_head
        super().__init__(inner, config.num_attention_heads, layer_idx, dropout=config.dropout_p or 0.0)
        self.project_q = nn.Linear(size, inner, bias=False)
        self.project_k = nn.Linear(size, inner, bias=False)
        self.project_v = nn.Linear(size, inner, bias=False)
        self.attention_out = nn.Linear(inner, size, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.split(self.project_q(x)), self.split(self.project_k(x)), self.split(self.project_v(x))

    def output(self, x: Tensor) -> Tensor:
        return self.attention_out(x)


class AttentionBlock(nn.Module):
    """Attention after a norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.layernorm_before_attention = RMSNorm(config.hidden_size, config.eps)
        self.self_attention = SelfAttention(config, layer_idx)
        self.dropout = nn.Dropout(config.dropout_p or 0.0)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        looked = self.self_attention(self.layernorm_before_attention(x), context)
        return x + self.dropout(looked * context.extra["real"])


class GatedUp(nn.Module):
    """Up, times a gate."""

    def __init__(self, config: Any):
        super().__init__()
        self.w_0 = nn.Linear(config.hidden_size, config.dim_ff, bias=False)
        self.w_1 = nn.Linear(config.hidden_size, config.dim_ff, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.w_0(x)) * self.w_1(x)


class FeedForward(nn.Module):
    """Up and down again."""

    def __init__(self, config: Any):
        super().__init__()
        self.w_in = GatedUp(config)
        self.dropout = nn.Dropout(config.dropout_p or 0.0)
        self.w_out = nn.Linear(config.dim_ff, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_out(self.dropout(self.w_in(x)))


class FeedForwardBlock(nn.Module):
    """MLP after a norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.layernorm_before_ffn = RMSNorm(config.hidden_size, config.eps)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout_p or 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.ffn(self.layernorm_before_ffn(x)))


class Layer(nn.Module):
    """Attention and MLP."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_att = AttentionBlock(config, layer_idx)
        self.ffn = FeedForwardBlock(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.ffn(self.self_att(x, context))


class Encoder(nn.Module):
    """The layers and the last norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.output_layernorm = RMSNorm(config.hidden_size, config.eps)


class PositionBias(nn.Module):
    """A bias per head for each pair of segments, and within a segment for each bucket of distances."""

    def __init__(self, config: Any):
        super().__init__()
        self.buckets, self.furthest = config.position_bias_num_buckets, config.position_bias_max_distance
        self.segments, self.std = config.segment_types, config.init_std
        rows = self.segments**2 + self.buckets
        self.relative_attention_bias = nn.Parameter(torch.empty(rows, config.num_attention_heads))

    def init_own(self, std: float) -> None:
        self.relative_attention_bias.normal_(0.0, self.std)

    def forward(self, segment: Tensor) -> Tensor:
        """(batch, seq) numbers of segments to (batch, heads, seq, seq)."""
        places = torch.arange(segment.shape[1], device=segment.device)
        within = self.bucket(places[None, :] - places[:, None])  # (queries, keys)
        query, key = segment[:, :, None], segment[:, None, :]
        numbers = torch.where(query == key, within, query * self.segments + key + self.buckets)
        return F.embedding(numbers, self.relative_attention_bias).permute(0, 3, 1, 2)

    def bucket(self, distance: Tensor) -> Tensor:
        """Half of the buckets for each direction; near distances have one each, far ones share, by their logarithm."""
        half = self.buckets // 2
        exact, size = half // 2, distance.abs()
        ratio = torch.log(size.float() / exact) / math.log(self.furthest / exact)
        far = (exact + (ratio * (half - exact)).int()).clamp(max=half - 1)
        return torch.where(size < exact, size, far.long()) + (distance > 0).long() * half


class Model(PreTrainedModel):
    """CPM-Ant without a head. It reads the whole text in each step, also with a cache."""

    embeddings_path = "input_embedding"
    _no_split_modules = ["Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.encoder = Encoder(config)
        self.segment_embedding = nn.Embedding(config.segment_types, config.hidden_size)
        prompts = config.prompt_types * config.prompt_length
        self.input_embedding = nn.Embedding(config.vocab_size + prompts, config.hidden_size)
        self.position_bias = PositionBias(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, of the text alone in the first step.

        Args:
            input_ids: (batch, seq), all tokens so far; 0 is padding, on the left.
            output_attentions, output_hidden_states: also give these, of every layer.
            past_key_values: cache of earlier steps.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
        """
        config, cache = self.config, past_key_values
        if input_ids is None:
            raise ArgumentError("forward: pass input_ids; this model reads nothing else.", name="input_ids")
        caching = config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and cache is None:
            cache = DynamicCache()
        past = cache.get_seq_length() if cache is not None else 0
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x, context = self.begin(input_ids, past)
        context.cache, context.attentions = cache, [] if attentions else None
        seen = []
        for layer in self.encoder.layers:
            seen.append(x)
            x = self.run(layer, x, context)
        x = self.encoder.output_layernorm(x)
        weights, cut = context.attentions, 0 if past else config.prompt_length
        out = BaseModelOutputWithPast(
            x[:, cut:],
            cache if caching else None,
            tuple(s[:, cut:] for s in (*seen, x)) if states else None,
            tuple(w[:, :, cut:, cut:] for w in weights) if weights is not None else None,
        )
        return finish(out, return_dict, config)

    def begin(self, input_ids: Tensor, past: int) -> tuple[Tensor, Context]:
        """What the first layer reads, from position `past` on, and what all layers need."""
        config, batch = self.config, input_ids.shape[0]
        length = config.prompt_length
        first = config.vocab_size + PROMPT_TYPE * length
        prompt = torch.arange(first, first + length, device=input_ids.device).expand(batch, -1)
        segment = F.pad(torch.where(input_ids != 0, TEXT, 0), (length, 0), value=PROMPT)
        x = self.input_embedding(torch.cat([prompt, input_ids], 1)) + self.segment_embedding(segment)
        count = (input_ids != 0).sum(-1, keepdim=True)  # (batch, 1)
        from_end = torch.arange(input_ids.shape[1] - 1, -1, -1, device=input_ids.device)
        real = F.pad(from_end < count, (length, 0), value=True)  # (batch, prompt + seq)
        bias = self.position_bias(segment)[:, :, past:]
        context = Context(
            masks={"full": biased(Mask(real[:, None, None, :]), bias, bias.shape[2])},
            kernel=kernel_of(config),
            extra={"real": real[:, past:, None].to(x.dtype)},
        )
        return x[:, past:], context


class CausalLM(heads.CausalLM):
    """Scores of tokens; a label stands where its token is to be said, not one place before."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {}  # the table also holds the prompts

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        attention_mask: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> Any:
        """As the base model, with labels (batch, seq); the attention mask is not looked at."""
        out = self.base_model(
            input_ids, output_attentions, output_hidden_states, past_key_values, use_cache, return_dict=True
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.score(out.last_hidden_state[:, kept])
        loss = None if labels is None else token_loss(logits, labels)
        return finish(self.output(loss, logits, out), return_dict, self.config)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, next_sequence_length: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The whole text in each step."""
        return super().prepare_inputs_for_generation(input_ids, None, **kwargs)


VARIANTS = {"cpmant": Variant(members={"base_model_prefix": "cpmant"})}
TASKS = {"Model": Model, "CausalLM": CausalLM}
