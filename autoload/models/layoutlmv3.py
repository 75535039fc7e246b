"""LayoutLMv3: the words of a page, their boxes and its picture in one sequence.

Huang et al. 2022 (arXiv:2204.08387).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import FirstTokenClassification, Head, QuestionAnswering, classifier_dropout
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.layers.relative import relative_buckets
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert import Attention, Embeddings, Encoder, Layer, SelfAttention, Spec
from autoload.models.layoutlm import box_vectors
from autoload.outputs import BaseModelOutput, TokenClassifierOutput

PAGE = 1000  # boxes are measured in thousandths of it


class TextEmbeddings(Embeddings):
    """Adds the box of each word, its six vectors side by side."""

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        super().make_positions(config, spec, size)
        count, edge, shape = config.max_2d_position_embeddings, config.coordinate_size, config.shape_size
        self.x_position_embeddings = nn.Embedding(count, edge)
        self.y_position_embeddings = nn.Embedding(count, edge)
        self.h_position_embeddings = nn.Embedding(count, shape)
        self.w_position_embeddings = nn.Embedding(count, shape)

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        bbox = inputs["bbox"]
        assert bbox is not None
        return super().place(x, position_ids) + torch.cat(box_vectors(self, bbox, clip=True), -1)


class PatchEmbeddings(nn.Module):
    """Vectors for the patches of the picture."""

    def __init__(self, config: Any):
        super().__init__()
        self.proj = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, config.patch_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.proj(pixel_values).flatten(2).transpose(1, 2)  # (batch, patches, dim)


class BiasedSelfAttention(SelfAttention):
    """Adds the bias that the encoder made."""

    def bias(self, q: Tensor, k: Tensor, context: Context) -> Tensor | None:
        return context.extra["bias"]


class LayoutAttention(Attention):
    """With the encoder's bias."""

    self_class = BiasedSelfAttention


class LayoutLayer(Layer):
    """With the encoder's bias."""

    attention_class = LayoutAttention


class LayoutEncoder(Encoder):
    """Holds the biases for distances in the text and on the page."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        heads = config.num_attention_heads
        self.scale = (config.hidden_size // heads) ** -0.5
        self.in_text = (config.rel_pos_bins, config.max_rel_pos) if config.has_relative_attention_bias else None
        self.on_page = (config.rel_2d_pos_bins, config.max_rel_2d_pos) if config.has_spatial_attention_bias else None
        if self.in_text:
            self.rel_pos_bias = nn.Linear(config.rel_pos_bins, heads, bias=False)
        if self.on_page:
            self.rel_pos_x_bias = nn.Linear(config.rel_2d_pos_bins, heads, bias=False)
            self.rel_pos_y_bias = nn.Linear(config.rel_2d_pos_bins, heads, bias=False)

    def make_bias(self, position_ids: Tensor, bbox: Tensor) -> Tensor | None:
        """(batch, heads, queries, keys). The page counts only where the text does. Nothing here is trained."""
        if self.in_text is None:
            return None
        out = self.bucketed(position_ids, self.rel_pos_bias, *self.in_text)
        if self.on_page is not None:
            out = out + self.bucketed(bbox[..., 0], self.rel_pos_x_bias, *self.on_page)
            out = out + self.bucketed(bbox[..., 3], self.rel_pos_y_bias, *self.on_page)
        return out * self.scale

    def bucketed(self, places: Tensor, table: nn.Linear, buckets: int, furthest: int) -> Tensor:
        numbers = relative_buckets(places[:, None, :] - places[:, :, None], buckets, furthest)
        return table.weight.detach().T[numbers].permute(0, 3, 1, 2)


class Model(PreTrainedModel):
    """LayoutLMv3 without a head."""

    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["LayoutLayer", "TextEmbeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec = Spec(padded_from=config.pad_token_id, layer=LayoutLayer, inputs=("bbox",))
        if config.text_embed:
            self.embeddings = TextEmbeddings(config, spec)
        if config.visual_embed:
            self.side = config.input_size // config.patch_size
            self.patch_embed = PatchEmbeddings(config)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
            self.pos_embed = nn.Parameter(torch.zeros(1, self.side**2 + 1, config.hidden_size))
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
            self.dropout = nn.Dropout(config.hidden_dropout_prob)
            self.norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.encoder = LayoutEncoder(config, spec)

    def init_own(self, std: float) -> None:
        if self.config.visual_embed:
            self.cls_token.zero_()
            self.pos_embed.zero_()

    def forward(
        self,
        input_ids: Tensor | None = None,
        bbox: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words, and after them of the picture's patches.

        Args:
            input_ids: (batch, seq).
            bbox: (batch, seq, 4), the boxes of the words in thousandths of the page.
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids, position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            pixel_values: (batch, channels, height, width), the picture of the page.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config = self.config
        if input_ids is None and inputs_embeds is None and pixel_values is None:
            raise ArgumentError("forward: pass input_ids, inputs_embeds or pixel_values.", name="input_ids")
        text = input_ids if input_ids is not None else inputs_embeds
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # vectors, mask, places in the text, boxes
        if text is not None:
            shape = text.shape[:2]
            bbox = torch.zeros((*shape, 4), dtype=torch.long, device=text.device) if bbox is None else bbox
            x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, 0, bbox=bbox)
            mask = torch.ones(shape, device=x.device) if attention_mask is None else attention_mask
            parts.append((x, mask, self._places(x), bbox))
        if pixel_values is not None:
            x = self.embed_image(pixel_values)
            boxes = self.patch_boxes(x.device).expand(len(x), -1, -1)
            parts.append((x, torch.ones(x.shape[:2], device=x.device), self._places(x), boxes))
        x, mask, places, boxes = (torch.cat(pieces, 1) for pieces in zip(*parts, strict=True))
        if pixel_values is not None:
            x = self.dropout(self.LayerNorm(x))
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        context.extra["bias"] = self.encoder.make_bias(places, boxes)
        seen = [x]
        for layer in self.encoder.stack():
            x = self.run(layer, x, context)
            seen.append(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(BaseModelOutput(x, tuple(seen) if states else None, shown), return_dict, config)

    @staticmethod
    def _places(x: Tensor) -> Tensor:
        return torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])

    def embed_image(self, pixel_values: Tensor) -> Tensor:
        """(batch, 1 + patches, dim)."""
        patches = self.patch_embed(pixel_values)
        if patches.shape[1] != self.side**2:
            size, found = self.config.input_size, tuple(pixel_values.shape[-2:])
            text = f"forward: pixel_values are {found[0]} by {found[1]}, expected {size} by {size} (input_size)."
            raise ArgumentError(text, name="pixel_values")
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1)
        return self.norm(x + self.pos_embed)

    def patch_boxes(self, device: torch.device) -> Tensor:
        """Boxes of the whole picture, which is a margin smaller than the page, and of its patches; (1 + patches, 4)."""
        edges = torch.arange(0, PAGE * (self.side + 1), PAGE, device=device) // self.side
        x, y = edges.expand(self.side, -1), edges[:, None].expand(-1, self.side)
        patches = torch.stack([x[:, :-1], y[:-1], x[:, 1:], y[1:]], -1).flatten(0, 1)
        return torch.cat([torch.tensor([[1, 1, PAGE - 1, PAGE - 1]], device=device), patches])


class Classifier(nn.Module):
    """Dense layer, tanh and projection."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(x)))))


class Classification(FirstTokenClassification):
    """LayoutLMv3's labels."""

    base_options = {}


class Answer(QuestionAnswering):
    """LayoutLMv3's answer."""

    base_options = {}

    def __init__(self, config: Any):
        super().__init__(config)
        self.qa_outputs = Classifier(config)


class TokenLabels(Head):
    """A label for each word; patches have none."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        few = config.num_labels < 10
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if few else Classifier(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        bbox: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq)."""
        text = input_ids if input_ids is not None else inputs_embeds
        if text is None:
            raise ArgumentError("forward: pass input_ids or inputs_embeds.", name="input_ids")
        out = self.base_model(
            input_ids, bbox, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits = self.classifier(self.dropout(out.last_hidden_state[:, : text.shape[1]]))
        loss = None if labels is None else token_loss(logits, labels)
        return finish(TokenClassifierOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)


VARIANTS = {"layoutlmv3": Variant(members={"base_model_prefix": "layoutlmv3"})}
TASKS = {
    "Model": Model,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
}
