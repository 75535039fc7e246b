"""ALBERT: one layer, or a few, applied again and again.

Lan et al. 2019 (arXiv:1909.11942).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.heads import MaskedLMHead
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.losses import token_loss
from autoload.model import Variant, finish
from autoload.models import bert_heads
from autoload.models.bert import Model, SelfAttention, Spec
from autoload.models.bert_heads import TiedHead
from autoload.outputs import ALWAYS, MaskedLMOutput, ModelOutput, States


@dataclass
class AlbertForPreTrainingOutput(ModelOutput):
    """ALBERT's two heads: `prediction_logits` (batch, seq, vocabulary), `sop_logits` (batch, labels)."""

    loss: Any = None
    prediction_logits: Tensor = ALWAYS
    sop_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


class Attention(SelfAttention):
    """With its output, residual and norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.output_dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.LayerNorm(x + self.output_dropout(self.dense(super().forward(x, context))))


class AlbertLayer(nn.Module):
    """Attention and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config, layer_idx)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = Activation(config.hidden_act)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(x, context)
        return self.full_layer_layer_norm(self.ffn_output(self.activation(self.ffn(x))) + x)


class LayerGroup(nn.Module):
    """Layers that are repeated together."""

    def __init__(self, config: Any):
        super().__init__()
        self.albert_layers = nn.ModuleList(AlbertLayer(config, i) for i in range(config.inner_group_num))


class Transformer(nn.Module):
    """Groups of layers, each used for an equal share of the depth."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.embedding_hidden_mapping_in = nn.Linear(config.embedding_size, config.hidden_size)
        self.albert_layer_groups = nn.ModuleList(LayerGroup(config) for _ in range(config.num_hidden_groups))
        self.depth = config.num_hidden_layers

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        return self.embedding_hidden_mapping_in(x)

    def stack(self) -> list[nn.Module]:
        """The layers in the order in which they run."""
        groups = self.albert_layer_groups
        chosen = (groups[int(i / (self.depth / len(groups)))] for i in range(self.depth))
        return [layer for group in chosen for layer in group.albert_layers]  # type: ignore[union-attr]

    def end(self, x: Tensor) -> Tensor:
        return x


class Pooler(nn.Linear):
    """Dense layer and tanh on the first token."""

    def __init__(self, config: Any):
        super().__init__(config.hidden_size, config.hidden_size)

    def forward(self, input: Tensor) -> Tensor:
        return torch.tanh(super().forward(input[:, 0]))


class Predictions(nn.Module):
    """ALBERT's scores of the vocabulary."""

    def __init__(self, config: Any):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.activation = Activation(config.hidden_act)

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.LayerNorm(self.activation(self.dense(x))))


class MaskedLM(TiedHead, MaskedLMHead):
    """ALBERT's hidden tokens."""

    output_class = MaskedLMOutput
    output_path = "predictions.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.predictions = Predictions(config)

    def scores(self, out: Any) -> Tensor:
        return self.predictions(out.last_hidden_state)


class SentenceOrder(nn.Module):
    """Whether two texts stand in their order."""

    def __init__(self, config: Any):
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.classifier(self.dropout(pooled))


class PreTraining(TiedHead):
    """Hidden tokens and the order of sentences."""

    output_path = "predictions.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.predictions = Predictions(config)
        self.sop_classifier = SentenceOrder(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq); sentence_order_label: (batch,). The loss needs both."""
        out = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        words, order = self.predictions(out.last_hidden_state), self.sop_classifier(out.pooler_output)
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = token_loss(words, labels) + token_loss(order, sentence_order_label)
        result = AlbertForPreTrainingOutput(loss, words, order, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


VARIANTS = {
    "albert": Variant(
        lambda c: Spec(embedding_size=c.embedding_size, encoder=Transformer, pooler=Pooler),
        members={"base_model_prefix": "albert"},
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model, "MaskedLM": MaskedLM, "PreTraining": PreTraining}
