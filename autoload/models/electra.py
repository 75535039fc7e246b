"""ELECTRA, whose discriminator tells which tokens a small generator replaced.

Clark et al. 2020 (arXiv:2003.10555).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from autoload.heads import (
    EncoderCausalLM,
    EncoderHead,
    FirstTokenClassification,
    Head,
    MaskedLMHead,
    MultipleChoice,
    TwoLayerClassifier,
)
from autoload.layers.activations import Activation
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import ProjectedModel, Spec
from autoload.models.bert_heads import Summary
from autoload.outputs import DiscriminatorOutput, MaskedLMOutput


class GeneratorPredictions(nn.Module):
    """To the size of the tables."""

    def __init__(self, config: Any):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class _Generator(Head):
    """ELECTRA's scores of the vocabulary."""

    output_path = "generator_lm_head"
    base_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any):
        super().__init__(config)
        self.generator_predictions = GeneratorPredictions(config)
        self.generator_lm_head = nn.Linear(config.embedding_size, config.vocab_size)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"generator_lm_head.weight": f"{self.base_model_prefix}.embeddings.word_embeddings.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        return self.generator_lm_head(self.generator_predictions(hidden))


class ElectraMaskedLM(_Generator, MaskedLMHead):
    """ELECTRA's hidden tokens."""

    output_class = MaskedLMOutput

    def scores(self, out: Any) -> Tensor:
        return self.score(out.last_hidden_state)


class ElectraCausalLM(_Generator, EncoderCausalLM):
    """ELECTRA's next token."""


class DiscriminatorPredictions(nn.Module):
    """One score per token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = Activation(config.hidden_act)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_prediction(self.activation(self.dense(x))).squeeze(-1)  # (batch, seq)


class ElectraPreTraining(EncoderHead):
    """Which tokens were replaced."""

    output_class = DiscriminatorOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.discriminator_predictions = DiscriminatorPredictions(config)

    def scores(self, out: Any) -> Tensor:
        return self.discriminator_predictions(out.last_hidden_state)

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        if attention_mask is not None:
            real = attention_mask == 1
            logits, labels = logits[real], labels[real]
        return F.binary_cross_entropy_with_logits(logits, labels.float())


class GeluClassifier(TwoLayerClassifier):
    """With gelu in place of tanh."""

    def activation(self, x: Tensor) -> Tensor:
        return F.gelu(x)


class ElectraClassification(FirstTokenClassification):
    """ELECTRA's labels."""

    classifier_class = GeluClassifier


class ElectraMultipleChoice(MultipleChoice):
    """ELECTRA's choice: it has no pooler, so a summary stands in."""

    def __init__(self, config: Any):
        super().__init__(config)
        del self.dropout
        self.sequence_summary = Summary(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.sequence_summary(out.last_hidden_state))


VARIANTS = {
    "electra": Variant(
        lambda c: Spec(pooler=None, embedding_size=c.embedding_size), members={"base_model_prefix": "electra"}
    ),
}
TASKS = bert_heads.TASKS | {
    "Model": ProjectedModel,
    "MaskedLM": ElectraMaskedLM,
    "CausalLM": ElectraCausalLM,
    "PreTraining": ElectraPreTraining,
    "SequenceClassification": ElectraClassification,
    "MultipleChoice": ElectraMultipleChoice,
}
