"""LayoutLMv2: the words of a page, their boxes, and a coarse grid of its picture in one sequence.

Xu et al. 2021 (arXiv:2012.14740).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head, QuestionAnswering, TokenClassification
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.losses import classification_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import layoutlmv3
from autoload.models.bert import Embeddings, Pooler, Spec
from autoload.models.layoutlm import box_vectors
from autoload.models.layoutlmv2_pyramid import Tower
from autoload.models.layoutlmv3 import PAGE, BiasedSelfAttention, LayoutAttention, LayoutEncoder, LayoutLayer
from autoload.outputs import BaseModelOutputWithPooling, SequenceClassifierOutput


class TextEmbeddings(layoutlmv3.TextEmbeddings):
    """Boxes must be on the page."""

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        bbox = inputs["bbox"]
        assert bbox is not None
        return Embeddings.place(self, x, position_ids) + torch.cat(box_vectors(self, bbox), -1)


class FusedSelfAttention(BiasedSelfAttention):
    """One matrix for queries, keys and values; keys have no bias."""

    def make_projections(self, config: Any, size: int) -> None:
        self.qkv_linear = nn.Linear(config.hidden_size, 3 * size, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(1, 1, size))
        self.v_bias = nn.Parameter(torch.zeros(1, 1, size))

    def init_own(self, std: float) -> None:
        self.q_bias.zero_()
        self.v_bias.zero_()

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv_linear(x).chunk(3, -1)
        return self.split(q + self.q_bias), self.split(k), self.split(v + self.v_bias)


class FusedAttention(LayoutAttention):
    """With one matrix."""

    self_class = FusedSelfAttention


class FusedLayer(LayoutLayer):
    """With one matrix."""

    attention_class = FusedAttention


class PageEncoder(LayoutEncoder):
    """Its biases are added to the scores as they are, each where the configuration asks for it."""

    def make_bias(self, position_ids: Tensor, bbox: Tensor) -> Tensor | None:
        parts = []
        if self.in_text is not None:
            parts.append(self.bucketed(position_ids, self.rel_pos_bias, *self.in_text))
        if self.on_page is not None:
            parts.append(self.bucketed(bbox[..., 0], self.rel_pos_x_bias, *self.on_page))
            parts.append(self.bucketed(bbox[..., 3], self.rel_pos_y_bias, *self.on_page))
        return sum(parts[1:], parts[0]) if parts else None


class Model(PreTrainedModel):
    """LayoutLMv2 without a head."""

    input_modalities = ("image", "text")
    embeddings_path = "embeddings.word_embeddings"
    may_lack = ("visual_segment_embedding",)
    _no_split_modules = ["LayoutLayer", "FusedLayer", "TextEmbeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec = Spec(layer=FusedLayer if config.fast_qkv else LayoutLayer, inputs=("bbox",))
        self.embeddings = TextEmbeddings(config, spec)
        self.visual = Tower(config)
        self.visual_proj = nn.Linear(self.visual.channels, config.hidden_size)
        if config.has_visual_segment_embedding:
            self.visual_segment_embedding = nn.Parameter(torch.zeros(config.hidden_size))
        self.visual_LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.visual_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = PageEncoder(config, spec)
        self.pooler = Pooler(config)

    def init_own(self, std: float) -> None:
        if self.config.has_visual_segment_embedding:
            self.visual_segment_embedding.normal_(0.0, std)

    def forward(
        self,
        input_ids: Tensor | None = None,
        bbox: Tensor | None = None,
        image: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words, and after them of the fields of the picture.

        Args:
            input_ids: (batch, seq).
            bbox: (batch, seq, 4), the boxes of the words in thousandths of the page.
            image: (batch, 3, height, width), the picture of the page: blue, green and red from 0 to 255.
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids, position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            image_embeds: (batch, fields, dim), what `see` gives, in place of image.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        given: Any = input_ids if input_ids is not None else inputs_embeds
        (batch, seq), device, config = given.shape[:2], given.device, self.config
        if bbox is None:
            bbox = torch.zeros((batch, seq, 4), dtype=torch.long, device=device)
        if position_ids is None:
            position_ids = torch.arange(seq, device=device)[None]
        if attention_mask is None:
            attention_mask = torch.ones((batch, seq), dtype=torch.long, device=device)
        words = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, 0, bbox=bbox)
        picture = self.see(image) if image_embeds is None else image_embeds
        if len(picture) != batch:
            text = f"forward: {batch} texts and {len(picture)} images, expected as many."
            raise ArgumentError(text, name="image")
        x = torch.cat([words, picture], 1)
        fields = self.fields(device)
        boxes = torch.cat([bbox, fields.to(bbox.dtype).expand(batch, -1, -1)], 1)
        places = torch.arange(len(fields), device=device).expand(batch, -1)
        shown = torch.cat([attention_mask, attention_mask.new_ones(places.shape)], 1)

        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(shown)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        places = torch.cat([position_ids.expand(batch, -1), places], 1)
        context.extra["bias"] = self.encoder.make_bias(places, boxes)
        seen = [x]
        for layer in self.encoder.stack():
            x = self.run(layer, x, context)
            seen.append(x)
        weights = None if context.attentions is None else tuple(context.attentions)
        out = BaseModelOutputWithPooling(x, self.pooler(x), tuple(seen) if states else None, weights)
        return finish(out, return_dict, config)

    def see(self, image: Tensor | None) -> Tensor:
        """Vectors for the fields of the picture; (batch, fields, dim)."""
        if image is None:
            raise ArgumentError("forward: image is missing; a picture of the page belongs to every text.", name="image")
        x = self.visual_proj(self.visual(image))
        boxes = self.fields(x.device)[None]
        x = self.embeddings.place(x, torch.arange(x.shape[1], device=x.device)[None], bbox=boxes)
        if self.config.has_visual_segment_embedding:
            x = x + self.visual_segment_embedding
        return self.visual_dropout(self.visual_LayerNorm(x))

    def fields(self, device: torch.device) -> Tensor:
        """Boxes of the fields of the picture, row by row; (fields, 4)."""
        rows, columns = self.visual.grid
        x, y = (torch.arange(0, PAGE * (count + 1), PAGE, device=device) // count for count in (columns, rows))
        x, y = x.expand(rows, -1), y[:, None].expand(-1, columns)
        return torch.stack([x[:, :-1], y[:-1], x[:, 1:], y[1:]], -1).flatten(0, 1)

    def words(self, x: Tensor) -> Tensor:
        """The part of (batch, seq + fields, dim) that belongs to the words."""
        rows, columns = self.visual.grid
        return x[:, : x.shape[1] - rows * columns]


class Classification(Head):
    """A label for a page: from its first token, its picture as it came in, and its picture as it went out."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(3 * config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        bbox: Tensor | None = None,
        image: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        image_embeds: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        picture = self.base_model.see(image) if image_embeds is None else image_embeds
        text = (attention_mask, token_type_ids, position_ids, inputs_embeds)
        out = self.base_model(input_ids, bbox, None, *text, image_embeds=picture, return_dict=True, **kwargs)
        after = out.last_hidden_state[:, -picture.shape[1] :]
        pooled = torch.cat([out.last_hidden_state[:, 0], picture.mean(1), after.mean(1)], 1)
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return finish(self.hand_on(SequenceClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)


class TokenLabels(TokenClassification):
    """A label for each word; the picture has none."""

    base_options = {}

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(self.base_model.words(out.last_hidden_state)))


class Answer(QuestionAnswering):
    """Where among the words an answer begins and ends; the picture always has a vector of its own."""

    base_options = {}

    def __init__(self, config: Any):
        config.has_visual_segment_embedding = True
        super().__init__(config)

    def scores(self, out: Any) -> Tensor:
        return self.qa_outputs(self.base_model.words(out.last_hidden_state))


VARIANTS = {
    "layoutlmv2": Variant(
        members={"base_model_prefix": "layoutlmv2"}, ignores=lambda c: r"(^|\.)visual\.pixel_(mean|std)$"
    )
}
TASKS = {
    "Model": Model,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
}
