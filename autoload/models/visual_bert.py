"""VisualBERT: the words of a text and the regions of an image in one sequence.

Li et al. 2019 (arXiv:1908.03557).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context, encoder_mask
from autoload.losses import token_loss
from autoload.model import Variant, finish
from autoload.models.bert import Embeddings, Model, Spec
from autoload.models.bert_heads import ClsHeads, TiedHead
from autoload.outputs import ModelOutput, States


@dataclass
class VisualBertForPreTrainingOutput(ModelOutput):
    """`prediction_logits` (batch, words + regions, vocabulary), `seq_relationship_logits` (batch, 2)."""

    loss: Any = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


VISUAL_INPUTS = ("visual_embeds", "visual_token_type_ids", "image_text_alignment")


class VisualBertEmbeddings(Embeddings):
    """Regions follow the words; a region may stand where the words stand that it shows."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.visual_token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.visual_position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.visual_projection = nn.Linear(config.visual_embedding_dim, config.hidden_size)

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        x = super().place(x, position_ids)
        visual, types, alignment = (inputs[name] for name in VISUAL_INPUTS)
        if visual is None:
            return x
        if types is None:
            types = torch.ones(visual.shape[:2], dtype=torch.long, device=x.device)
        first = torch.zeros(1, 1, dtype=torch.int64, device=x.device)
        regions = self.visual_projection(visual) + self.visual_position_embeddings(first)
        if alignment is not None:
            regions = regions + self.where_words_are(alignment, visual.shape[1])
        return torch.cat([x, regions + self.visual_token_type_embeddings(types)], 1)

    def where_words_are(self, alignment: Tensor, regions: int) -> Tensor:
        """Mean of the words' positions; alignment: (batch, regions, words), filled up with -1."""
        if alignment.shape[1] < regions:
            text = f"forward: image_text_alignment has {alignment.shape[1]} regions, visual_embeds {regions}."
            raise ArgumentError(text, name="image_text_alignment")
        real = (alignment != -1)[..., None].to(self.position_embeddings.weight.dtype)
        places = (self.position_embeddings(alignment.clamp(min=0)) * real).sum(2) / real.sum(2).clamp(min=1)
        return places[:, :regions]


class VisualBertModel(Model):
    """VisualBERT without a head.

    Further inputs: visual_embeds (batch, regions, visual dim), visual_attention_mask and visual_token_type_ids
    (batch, regions), image_text_alignment (batch, regions, words), the words that a region shows, filled up with -1.
    """

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        if config.bypass_transformer:
            raise ConfigError("bypass_transformer", True, "false: a layer beside the encoder is not implemented")

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        extra = context.extra
        words, regions = extra["attention_mask"], extra["visual_attention_mask"]
        visual = extra["visual_embeds"]
        if visual is not None and (words is not None or regions is not None):
            shapes = ((len(x), x.shape[1] - visual.shape[1]), visual.shape[:2])
            ones = (torch.ones(shape, device=x.device) for shape in shapes)
            both = [o if mask is None else mask.to(o.dtype) for mask, o in zip((words, regions), ones, strict=True)]
            context.masks["full"] = encoder_mask(torch.cat(both, 1))
        return super().begin(x, context, past)


class PreTraining(TiedHead):
    """Hidden words, and whether text and image belong together."""

    base_options = {"add_pooling_layer": True}

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, next_sentence=True)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        sentence_image_labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, words + regions); sentence_image_labels: (batch,), 0 where text and image belong together."""
        out = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        words, fits = self.cls.predictions(out.last_hidden_state), self.cls.seq_relationship(out.pooler_output)
        loss = None
        if labels is not None:
            if labels.shape != words.shape[:2]:
                found, expected = tuple(labels.shape), tuple(words.shape[:2])
                raise ArgumentError(f"forward: labels are {found}, expected {expected}.", name="labels")
            loss = token_loss(words, labels)
            if sentence_image_labels is not None:
                loss = loss + token_loss(fits, sentence_image_labels)
        result = VisualBertForPreTrainingOutput(loss, words, fits, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


VARIANTS = {
    "visual_bert": Variant(
        lambda c: Spec(
            embeddings=VisualBertEmbeddings,
            inputs=("attention_mask", "visual_attention_mask", *VISUAL_INPUTS),
            packs=False,
        ),
        members={"base_model_prefix": "visual_bert"},
    ),
}
TASKS = {"Model": VisualBertModel, "PreTraining": PreTraining}
