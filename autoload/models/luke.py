"""LUKE: words and the entities they speak of in one sequence.

Yamada et al. 2020 (arXiv:2010.01057).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask
from autoload.losses import token_loss
from autoload.model import Variant, finish
from autoload.models import bert_heads
from autoload.models.bert import Attention, Layer, Model, SelfAttention, Spec
from autoload.outputs import ModelOutput, States


@dataclass
class BaseLukeModelOutputWithPooling(ModelOutput):
    """LUKE's hidden states: of words, and of entities (batch, entities, dim)."""

    last_hidden_state: Any = None
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None
    entity_last_hidden_state: Tensor | None = None
    entity_hidden_states: Any = None  # one per layer, None without entities


@dataclass
class LukeMaskedLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary) and `entity_logits` (batch, entities, entity vocabulary) of LUKE."""

    loss: Any = None
    mlm_loss: Tensor | None = None
    mep_loss: Tensor | None = None
    logits: Tensor | None = None
    entity_logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeTokenClassifierOutput(ModelOutput):
    """`logits` (batch, seq, labels) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeMultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of LUKE."""

    loss: Any = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


ENTITY_INPUTS = ("entity_ids", "entity_attention_mask", "entity_token_type_ids", "entity_position_ids")


class EntityEmbeddings(nn.Module):
    """An entity's vector, the mean of the positions of its words, and its type."""

    def __init__(self, config: Any):
        super().__init__()
        size, own = config.hidden_size, config.entity_emb_size
        self.entity_embeddings = nn.Embedding(config.entity_vocab_size, own, padding_idx=0)
        self.entity_embedding_dense = nn.Linear(own, size, bias=False) if own != size else None
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """ids: (batch, entities); position_ids: (batch, entities, words), filled up with -1."""
        x = self.entity_embeddings(ids)
        x = x if self.entity_embedding_dense is None else self.entity_embedding_dense(x)
        real = (position_ids != -1)[..., None].to(x.dtype)
        places = (self.position_embeddings(position_ids.clamp(min=0)) * real).sum(-2) / real.sum(-2).clamp(min=1e-7)
        types = self.token_type_embeddings(torch.zeros_like(ids) if token_type_ids is None else token_type_ids)
        return self.dropout(self.LayerNorm(x + places + types))


class LukeSelfAttention(SelfAttention):
    """Asks differently from words to words, words to entities, entities to words, entities to entities."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.aware = config.use_entity_aware_attention
        if self.aware:
            self.w2e_query = nn.Linear(config.hidden_size, config.hidden_size)
            self.e2w_query = nn.Linear(config.hidden_size, config.hidden_size)
            self.e2e_query = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        words = context.extra["words"]
        if not self.aware or words == x.shape[1]:
            return super().forward(x, context)
        word, entity = x[:, :words], x[:, words:]
        to_words = self.split(torch.cat([self.query(word), self.e2w_query(entity)], 1))
        to_entities = self.split(torch.cat([self.w2e_query(word), self.e2e_query(entity)], 1))
        k, v = self.split(self.key(x)), self.split(self.value(x))
        # Keys of words have zeros where those of entities have features: one product gives all four kinds of scores.
        q, nothing = torch.cat([to_words, to_entities], -1), torch.zeros_like(k)
        is_word = (torch.arange(x.shape[1], device=x.device) < words)[:, None]
        k = torch.cat([torch.where(is_word, k, nothing), torch.where(is_word, nothing, k)], -1)
        dropout, mask = self.dropout.p if self.training else 0.0, context.masks["full"]
        return attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)


class LukeAttention(Attention):
    """With LUKE's queries."""

    self_class = LukeSelfAttention


class LukeLayer(Layer):
    """With LUKE's queries."""

    attention_class = LukeAttention


class LukeModel(Model):
    """LUKE without a head.

    Further inputs: entity_ids, entity_attention_mask, entity_token_type_ids (batch, entities), and
    entity_position_ids (batch, entities, words), the places of an entity's words, filled up with -1.
    """

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        self.entity_embeddings = EntityEmbeddings(config)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        extra, words = context.extra, x.shape[1]
        extra["words"] = words
        if extra["entity_ids"] is None:
            return x
        if extra["entity_position_ids"] is None:
            text = "forward: pass entity_position_ids, (batch, entities, words), with entity_ids."
            raise ArgumentError(text, name="entity_position_ids")
        entities = self.entity_embeddings(
            extra["entity_ids"], extra["entity_position_ids"], extra["entity_token_type_ids"]
        )
        masks = (extra["attention_mask"], extra["entity_attention_mask"])
        if any(mask is not None for mask in masks):
            shapes = (x.shape[:2], entities.shape[:2])
            ones = (torch.ones(shape, device=x.device) for shape in shapes)
            both = [one if mask is None else mask.to(one.dtype) for mask, one in zip(masks, ones, strict=True)]
            context.masks["full"] = encoder_mask(torch.cat(both, 1))
        return torch.cat([x, entities], 1)

    def make_output(self, kept: dict[str, Any], pooled: Tensor | None, context: Context) -> Any:
        words, x, states = context.extra["words"], kept["last_hidden_state"], kept["hidden_states"]
        some = x.shape[1] > words
        return BaseLukeModelOutputWithPooling(
            x[:, :words],
            pooled,
            None if states is None else tuple(state[:, :words] for state in states),
            kept["attentions"],
            x[:, words:] if some else None,
            None if states is None else tuple(state[:, words:] if some else None for state in states),
        )


class EntityTransform(nn.Module):
    """Dense layer, activation, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.entity_emb_size)
        self.transform_act_fn = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.entity_emb_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.transform_act_fn(self.dense(x)))


class EntityPredictions(nn.Module):
    """Scores of the entities."""

    def __init__(self, config: Any):
        super().__init__()
        self.transform = EntityTransform(config)
        self.decoder = nn.Linear(config.entity_emb_size, config.entity_vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.entity_vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x)) + self.bias


class MaskedLM(heads.Head):
    """Hidden words and hidden entities."""

    output_path = "lm_head.decoder"
    further_outputs = ("entity_hidden_states",)

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = bert_heads.RobertaPredictions(config)
        self.entity_predictions = EntityPredictions(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        entities = "luke.entity_embeddings.entity_embeddings.weight"
        return {"entity_predictions.decoder.weight": entities, "lm_head.bias": "lm_head.decoder.bias"}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        entity_labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq); entity_labels: (batch, entities)."""
        out = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits, entities = self.lm_head(out.last_hidden_state), None
        words_loss = None if labels is None else token_loss(logits, labels)
        entities_loss = None
        if out.entity_last_hidden_state is not None:
            entities = self.entity_predictions(out.entity_last_hidden_state)
            entities_loss = None if entity_labels is None else token_loss(entities, entity_labels)
        losses = [loss for loss in (words_loss, entities_loss) if loss is not None]
        result = self.hand_on(
            LukeMaskedLMOutput,
            out,
            loss=sum(losses) if losses else None,
            mlm_loss=words_loss,
            mep_loss=entities_loss,
            logits=logits,
            entity_logits=entities,
        )
        return finish(result, return_dict, self.config)


class Classification(heads.PooledClassification):
    """LUKE's labels."""

    output_class = LukeSequenceClassifierOutput
    further_outputs = ("entity_hidden_states",)


class TokenLabels(heads.TokenClassification):
    """LUKE's label for each token."""

    output_class = LukeTokenClassifierOutput
    further_outputs = ("entity_hidden_states",)


class Answer(heads.QuestionAnswering):
    """LUKE's answer."""

    output_class = LukeQuestionAnsweringModelOutput
    further_outputs = ("entity_hidden_states",)


class Choice(heads.MultipleChoice):
    """LUKE's choice."""

    output_class = LukeMultipleChoiceModelOutput
    further_outputs = ("entity_hidden_states",)
    further_inputs = ENTITY_INPUTS


VARIANTS = {
    "luke": Variant(
        lambda c: Spec(
            padded_from=c.pad_token_id, inputs=("attention_mask", *ENTITY_INPUTS), layer=LukeLayer, packs=False
        ),
        members={"base_model_prefix": "luke"},
    ),
}
TASKS = {
    "Model": LukeModel,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}
