"""ELECTRA, whose discriminator tells which tokens a small generator replaced, and ConvBERT, which convolves: electra, convbert.

Clark et al. 2020 (arXiv:2003.10555); Jiang et al. 2020 (arXiv:2008.02496).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
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
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Intermediate, Layer, Output, ProjectedModel, SelfAttention, Spec
from autoload.models.bert_heads import Summary
from autoload.outputs import ALWAYS, MaskedLMOutput, ModelOutput, States


@dataclass
class DiscriminatorOutput(ModelOutput):
    """ELECTRA's discriminator: `logits` (batch, seq), positive where a token was replaced."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


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


# -- ConvBERT


class SeparableConv1D(nn.Module):
    """A convolution of each channel, then one across them."""

    def __init__(self, channels: int, out: int, kernel: int):
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel, groups=channels, padding=kernel // 2, bias=False)
        self.pointwise = nn.Conv1d(channels, out, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(out, 1))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x)) + self.bias  # (batch, out, seq)


class GroupedLinear(nn.Module):
    """A linear layer for each of several groups of features."""

    def __init__(self, size: int, out: int, groups: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, size // groups, out // groups))
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.normal_(self.weight, std=0.02)

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, std)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, self.weight.shape[:2])  # (batch, seq, groups, features)
        return torch.einsum("bsgi,gio->bsgo", groups, self.weight).flatten(-2) + self.bias


def linear(size: int, out: int, groups: int) -> nn.Module:
    return nn.Linear(size, out) if groups == 1 else GroupedLinear(size, out, groups)


class ConvSelfAttention(SelfAttention):
    """Half of the features come from attention, half from a convolution whose kernel depends on the token."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        nn.Module.__init__(self)
        size, self.layer_idx, self.cross = config.hidden_size, layer_idx, cross
        self.heads = max(config.num_attention_heads // config.head_ratio, 1)
        self.dim, self.kernel = size // self.heads // 2, config.conv_kernel_size
        half = self.heads * self.dim
        self.make_projections(config, half)
        self.key_conv_attn_layer = SeparableConv1D(size, half, self.kernel)
        self.conv_kernel_layer = nn.Linear(half, self.heads * self.kernel)
        self.conv_out_layer = nn.Linear(size, half)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return torch.cat([super().forward(x, context), self.convolve(x)], -1)

    def convolve(self, x: Tensor) -> Tensor:
        """(batch, seq, heads * dim)."""
        near = self.key_conv_attn_layer(x.transpose(1, 2)).transpose(1, 2) * self.query(x)
        kernels = self.conv_kernel_layer(near).unflatten(-1, (self.heads, self.kernel)).softmax(-1)
        before = (self.kernel - 1) // 2
        values = F.pad(self.conv_out_layer(x), (0, 0, before, before)).unfold(1, self.kernel, 1)
        values = values.unflatten(2, (self.heads, self.dim))  # (batch, seq, heads, dim, kernel)
        return torch.einsum("bshdk,bshk->bshd", values, kernels).flatten(2)


class ConvAttention(Attention):
    """With ConvBERT's mixture."""

    self_class = ConvSelfAttention


class ConvIntermediate(Intermediate):
    """The wide layer, in groups."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dense = linear(config.hidden_size, config.intermediate_size, config.num_groups)


class ConvOutput(Output):
    """Projection in groups, dropout, residual, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__(config, size)
        self.dense = linear(size, config.hidden_size, config.num_groups)


class ConvLayer(Layer):
    """ConvBERT's."""

    attention_class = ConvAttention
    intermediate_class = ConvIntermediate
    output_class = ConvOutput


class ConvClassifier(TwoLayerClassifier):
    """With the model's activation."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.act = Activation(config.hidden_act)

    def activation(self, x: Tensor) -> Tensor:
        return self.act(x)


class ConvClassification(FirstTokenClassification):
    """ConvBERT's labels."""

    classifier_class = ConvClassifier


VARIANTS = {
    "electra": Variant(
        lambda c: Spec(pooler=None, embedding_size=c.embedding_size), members={"base_model_prefix": "electra"}
    ),
    "convbert": Variant(
        lambda c: Spec(pooler=None, embedding_size=c.embedding_size, layer=ConvLayer, packs=False),
        heads={"SequenceClassification": ConvClassification},
        members={"base_model_prefix": "convbert", "empty_cross_attentions": False},
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
