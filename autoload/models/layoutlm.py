"""Encoders that know where on a page, or in a web page, a word stands: layoutlm, bros, markuplm.

Xu et al. 2019 (arXiv:1912.13318); Hong et al. 2021 (arXiv:2108.04539); Li et al. 2021 (arXiv:2110.08518).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import TokenClassification
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Embeddings, Layer, Model, PooledModel, SelfAttention, Spec


def box_vectors(tables: Any, bbox: Tensor, clip: bool = False) -> list[Tensor]:
    """Vectors of the left, upper, right and lower edge of each word's box, of its height and of its width.

    Args:
        tables: what holds the four tables, `x_position_embeddings` and so on.
        bbox: (batch, seq, 4), whole numbers from 0 to 1000: left, upper, right, lower.
        clip: heights and widths beyond the tables count as the nearest that is in them.
    """
    left, upper, right, lower = bbox.unbind(-1)
    height, width = lower - upper, right - left
    if clip:
        last = tables.h_position_embeddings.num_embeddings - 1
        height, width = height.clamp(0, last), width.clamp(0, last)
    x, y = tables.x_position_embeddings, tables.y_position_embeddings
    try:
        edges = [x(left), y(upper), x(right), y(lower)]
        return edges + [tables.h_position_embeddings(height), tables.w_position_embeddings(width)]
    except IndexError as e:
        text = "forward: bbox holds numbers beyond the tables of positions; bring boxes to a page of 1000 by 1000."
        raise ArgumentError(text, name="bbox") from e


class LayoutLMEmbeddings(Embeddings):
    """Adds the box of each word."""

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        super().make_positions(config, spec, size)
        self.x_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, size)
        self.y_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, size)
        self.h_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, size)
        self.w_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, size)

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        bbox = inputs["bbox"]
        if bbox is None:
            bbox = torch.zeros((*x.shape[:2], 4), dtype=torch.long, device=x.device)
        return sum(box_vectors(self, bbox), super().place(x, position_ids))


# -- BROS: attention to the distance of two boxes


class Sinusoid(nn.Module):
    """Sines and cosines of a number; its frequencies are among the saved tensors."""

    inv_freq: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("inv_freq", 10000 ** -(torch.arange(0.0, size, 2.0, device="cpu") / size))

    def forward(self, x: Tensor) -> Tensor:
        angles = x[..., None] * self.inv_freq
        return torch.cat([angles.sin(), angles.cos()], -1)


class BoxSinusoid(nn.Module):
    """Horizontal and vertical coordinates in turn."""

    def __init__(self, config: Any):
        super().__init__()
        self.x_pos_emb = Sinusoid(config.dim_bbox_sinusoid_emb_1d)
        self.y_pos_emb = Sinusoid(config.dim_bbox_sinusoid_emb_1d)

    def forward(self, boxes: Tensor) -> Tensor:
        both = (self.x_pos_emb, self.y_pos_emb)
        return torch.cat([both[i % 2](boxes[..., i]) for i in range(boxes.shape[-1])], -1)


class BoxEmbeddings(nn.Module):
    """A vector for how one box lies to another."""

    def __init__(self, config: Any):
        super().__init__()
        self.bbox_sinusoid_emb = BoxSinusoid(config)
        self.bbox_projection = nn.Linear(config.dim_bbox_sinusoid_emb_2d, config.dim_bbox_projection, bias=False)

    def forward(self, boxes: Tensor) -> Tensor:
        """boxes: (batch, seq, 8), the corners; gives (batch, queries, keys, dim)."""
        apart = boxes[:, None] - boxes[:, :, None]
        return self.bbox_projection(self.bbox_sinusoid_emb(apart))


class BrosEmbeddings(Embeddings):
    """BERT's; the position numbers are among the saved tensors."""

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        super().make_positions(config, spec, size)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings, device="cpu")[None])


class BrosSelfAttention(SelfAttention):
    """Queries also look at how the boxes lie."""

    def bias(self, q: Tensor, k: Tensor, context: Context) -> Tensor:
        return torch.einsum("bhid,bijd->bhij", q, context.extra["apart"]) * self.dim**-0.5


class BrosAttention(Attention):
    """With BROS's scores."""

    self_class = BrosSelfAttention


class BrosLayer(Layer):
    """With BROS's attention."""

    attention_class = BrosAttention


class BrosModel(Model):
    """BROS without a head; it needs boxes."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        self.bbox_embeddings = BoxEmbeddings(config)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        bbox = context.extra["bbox"]
        if bbox is None:
            raise ArgumentError("forward: pass bbox, (batch, seq, 4 or 8), the boxes of the words.", name="bbox")
        if bbox.shape[-1] == 4:  # two corners; the other two follow
            bbox = bbox[..., [0, 1, 2, 1, 2, 3, 0, 3]]
        context.extra["apart"] = self.bbox_embeddings(bbox * self.config.bbox_scale)
        return super().begin(x, context, past)


class BrosTokenClassification(TokenClassification):
    """BROS's label for each token; `bbox_first_token_mask` (batch, seq) says which labels count."""

    base_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        *args: Any,
        labels: Tensor | None = None,
        bbox_first_token_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if labels is not None and bbox_first_token_mask is not None:
            labels = labels.masked_fill(~bbox_first_token_mask.view(labels.shape).bool(), -100)
        return super().forward(*args, labels=labels, **kwargs)


# -- MarkupLM: the path of tags to a word


class XPathEmbeddings(nn.Module):
    """A vector for the path of tags, and of their numbers among their siblings."""

    def __init__(self, config: Any):
        super().__init__()
        depth, unit = config.max_depth, config.xpath_unit_hidden_size
        # Files have the weights of this layer, though nothing uses it.
        self.xpath_unitseq2_embeddings = nn.Linear(unit * depth, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.xpath_unitseq2_inner = nn.Linear(unit * depth, 4 * config.hidden_size)
        self.inner2emb = nn.Linear(4 * config.hidden_size, config.hidden_size)
        tags, numbers = config.max_xpath_tag_unit_embeddings, config.max_xpath_subs_unit_embeddings
        self.xpath_tag_sub_embeddings = nn.ModuleList(nn.Embedding(tags, unit) for _ in range(depth))
        self.xpath_subs_sub_embeddings = nn.ModuleList(nn.Embedding(numbers, unit) for _ in range(depth))

    def forward(self, tags: Tensor, numbers: Tensor) -> Tensor:
        """tags, numbers: (batch, seq, depth)."""
        x = torch.cat([table(tags[..., i]) for i, table in enumerate(self.xpath_tag_sub_embeddings)], -1)
        x = x + torch.cat([table(numbers[..., i]) for i, table in enumerate(self.xpath_subs_sub_embeddings)], -1)
        return self.inner2emb(self.dropout(F.relu(self.xpath_unitseq2_inner(x))))


class MarkupLMEmbeddings(Embeddings):
    """Adds the path to each word."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.xpath_embeddings = XPathEmbeddings(config)
        self.depth, self.tag_pad, self.number_pad = config.max_depth, config.tag_pad_id, config.subs_pad_id

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        tags, numbers = inputs["xpath_tags_seq"], inputs["xpath_subs_seq"]
        shape = (*x.shape[:2], self.depth)
        tags = torch.full(shape, self.tag_pad, device=x.device) if tags is None else tags
        numbers = torch.full(shape, self.number_pad, device=x.device) if numbers is None else numbers
        return super().place(x, position_ids) + self.xpath_embeddings(tags, numbers)


VARIANTS = {
    "layoutlm": Variant(
        lambda c: Spec(embeddings=LayoutLMEmbeddings, inputs=("bbox",)),
        heads={"Model": PooledModel},
        members={"base_model_prefix": "layoutlm"},
    ),
    "bros": Variant(
        lambda c: Spec(embeddings=BrosEmbeddings, layer=BrosLayer, inputs=("bbox",), packs=False),
        heads={"Model": BrosModel, "TokenClassification": BrosTokenClassification},
        members={"base_model_prefix": "bros"},
    ),
    "markuplm": Variant(
        lambda c: Spec(
            padded_from=c.pad_token_id, embeddings=MarkupLMEmbeddings, inputs=("xpath_tags_seq", "xpath_subs_seq")
        ),
        members={"base_model_prefix": "markuplm"},
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model, "DocumentQuestionAnswering": bert_heads.TASKS["QuestionAnswering"]}
