"""LiLT: a stream of words and a thinner stream of boxes, which look at each other's scores.

Wang et al. 2022 (arXiv:2202.13669).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import FirstTokenClassification
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Pooler, Spec
from autoload.models.layoutlm import box_vectors
from autoload.outputs import BaseModelOutputWithPooling

Streams = tuple[Tensor, Tensor]  # of words (batch, seq, dim), of boxes (batch, seq, dim / ratio)


class LayoutEmbeddings(nn.Module):
    """The boxes of the words, and their places in the text."""

    def __init__(self, config: Any):
        super().__init__()
        part, thin = config.hidden_size // 6, config.hidden_size // config.channel_shrink_ratio
        self.x_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, part)
        self.y_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, part)
        self.h_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, part)
        self.w_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, part)
        self.box_position_embeddings = nn.Embedding(
            config.max_position_embeddings, thin, padding_idx=config.pad_token_id
        )
        self.box_linear_embeddings = nn.Linear(config.hidden_size, thin)
        self.LayerNorm = nn.LayerNorm(thin, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, bbox: Tensor, position_ids: Tensor) -> Tensor:
        x = self.box_linear_embeddings(torch.cat(box_vectors(self, bbox), -1))
        return self.dropout(self.LayerNorm(x + self.box_position_embeddings(position_ids)))


class SelfAttention(nn.Module):
    """Each stream's scores are added to the other's."""

    def __init__(self, config: Any):
        super().__init__()
        size, thin = config.hidden_size, config.hidden_size // config.channel_shrink_ratio
        self.heads = config.num_attention_heads
        self.dim, self.thin_dim = size // self.heads, size // self.heads // config.channel_shrink_ratio
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.layout_query, self.layout_key, self.layout_value = (nn.Linear(thin, thin) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, seq, dim)

    def forward(self, streams: Streams, context: Context) -> Streams:
        x, boxes = streams
        q, k, v = (self.split(project(x)) for project in (self.query, self.key, self.value))
        projections = (self.layout_query, self.layout_key, self.layout_value)
        thin_q, thin_k, thin_v = (self.split(project(boxes)) for project in projections)
        scale, thin_scale = self.dim**-0.5, self.thin_dim**-0.5
        words, layout = q @ k.transpose(2, 3) * scale, thin_q @ thin_k.transpose(2, 3) * thin_scale
        dropout, mask = self.dropout.p if self.training else 0.0, context.masks["full"]
        shown = context.attentions
        x = attend(q, k, v, mask, context, scale=scale, dropout=dropout, bias=layout, weights_to=shown)
        return x, attend(thin_q, thin_k, thin_v, mask, context, scale=thin_scale, dropout=dropout, bias=words)


class Output(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any, size_in: int, size: int):
        super().__init__()
        self.dense = nn.Linear(size_in, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    """Attention and the outputs of both streams."""

    def __init__(self, config: Any):
        super().__init__()
        size, thin = config.hidden_size, config.hidden_size // config.channel_shrink_ratio
        self.self = SelfAttention(config)
        self.output = Output(config, size, size)
        self.layout_output = Output(config, thin, thin)

    def forward(self, streams: Streams, context: Context) -> Streams:
        x, boxes = self.self(streams, context)
        return self.output(x, streams[0]), self.layout_output(boxes, streams[1])


class Intermediate(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any, size: int, wide: int):
        super().__init__()
        self.dense = nn.Linear(size, wide)
        self.intermediate_act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(x))


class LiltLayer(nn.Module):
    """Attention and a wide layer for each stream; norms after the residuals."""

    def __init__(self, config: Any):
        super().__init__()
        ratio, size, wide = config.channel_shrink_ratio, config.hidden_size, config.intermediate_size
        self.attention = Attention(config)
        self.intermediate = Intermediate(config, size, wide)
        self.output = Output(config, wide, size)
        self.layout_intermediate = Intermediate(config, size // ratio, wide // ratio)
        self.layout_output = Output(config, wide // ratio, size // ratio)

    def forward(self, streams: Streams, context: Context) -> Streams:
        x, boxes = self.attention(streams, context)
        return self.output(self.intermediate(x), x), self.layout_output(self.layout_intermediate(boxes), boxes)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(LiltLayer(config) for _ in range(config.num_hidden_layers))


class Model(PreTrainedModel):
    """LiLT without a head."""

    embeddings_path = "embeddings.word_embeddings"
    may_lack = ("pooler",)
    _no_split_modules = ["Embeddings", "LiltLayer"]

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)
        self.embeddings = Embeddings(config, Spec(padded_from=config.pad_token_id))
        self.layout_embeddings = LayoutEmbeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def forward(
        self,
        input_ids: Tensor | None = None,
        bbox: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words; bbox: (batch, seq, 4), their boxes. Other arguments as of BERT's model."""
        text = input_ids if input_ids is not None else inputs_embeds
        if text is None or (input_ids is not None and inputs_embeds is not None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        if position_ids is None:
            position_ids = self.embeddings.positions(input_ids, text.shape, 0, text.device)
        bbox = torch.zeros((*text.shape[:2], 4), dtype=torch.long, device=text.device) if bbox is None else bbox
        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, 0)
        streams: Any = (x, self.layout_embeddings(bbox, position_ids))
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        seen = [x]
        for layer in self.encoder.layer:
            streams = self.run(layer, streams, context)
            seen.append(streams[0])
        x = streams[0]
        pooled = None if self.pooler is None else self.pooler(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(
            BaseModelOutputWithPooling(x, pooled, tuple(seen) if states else None, shown), return_dict, config
        )


VARIANTS = {"lilt": Variant(members={"base_model_prefix": "lilt"})}
TASKS = bert_heads.TASKS | {"Model": Model, "SequenceClassification": FirstTokenClassification}
