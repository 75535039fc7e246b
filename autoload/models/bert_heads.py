"""The heads of BERT-like encoders: hidden and next tokens, pre-training, and what the smaller relatives change."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.heads import (
    EncoderCausalLM,
    EncoderHead,
    FirstTokenClassification,
    Head,
    MaskedLMHead,
    MultipleChoice,
    PooledClassification,
    QuestionAnswering,
    TokenClassification,
)
from autoload.layers.activations import Activation
from autoload.losses import token_loss
from autoload.model import finish
from autoload.outputs import ForPreTrainingOutput, MaskedLMOutput, NextSentencePredictorOutput


class Transform(nn.Module):
    """Dense layer, activation, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, size)
        self.transform_act_fn = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.transform_act_fn(self.dense(x)))


class Predictions(nn.Module):
    """BERT's scores of the vocabulary."""

    transform_class: ClassVar[type] = Transform

    def __init__(self, config: Any):
        super().__init__()
        size = self.table_size(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.transform = self.transform_class(config, size)
        self.decoder = nn.Linear(size, config.vocab_size)

    def table_size(self, config: Any) -> int:
        """Width of the table of words, which the decoder shares."""
        return config.hidden_size

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x))


class SizedPredictions(Predictions):
    """For tables of their own size."""

    def table_size(self, config: Any) -> int:
        return getattr(config, "embedding_size", config.hidden_size)


class RobertaPredictions(nn.Module):
    """RoBERTa's scores of the vocabulary."""

    def __init__(self, config: Any):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(F.gelu(self.dense(x))))


class ClsHeads(nn.Module):
    """BERT's pre-training heads, those that are asked for."""

    def __init__(self, config: Any, predictions: type | None = Predictions, next_sentence: bool = False):
        super().__init__()
        if predictions is not None:
            self.predictions = predictions(config)
        if next_sentence:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


def resized(bias: nn.Parameter, count: int) -> nn.Parameter:
    """The bias for another number of tokens; new ones get the mean."""
    with torch.no_grad():
        new = bias.float().mean().to(bias.dtype).repeat(count)
        new[: len(bias)] = bias[:count]
    return nn.Parameter(new, bias.requires_grad)


class TiedHead(Head):
    """Ties a decoder and its bias, wherever they are."""

    output_path: ClassVar[str] = "cls.predictions.decoder"

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        table = f"{self.base_model_prefix}.{self.base_model.embeddings_path}.weight"
        part = self.output_path.rpartition(".")[0]
        return {f"{self.output_path}.weight": table, f"{part}.decoder.bias": f"{part}.bias"}

    def after_resize(self, count: int) -> None:
        part: Any = self.get_submodule(self.output_path.rpartition(".")[0])
        part.bias = part.decoder.bias


class MaskedLM(TiedHead, MaskedLMHead):
    """BERT's hidden tokens."""

    output_class = MaskedLMOutput
    predictions_class: ClassVar[type] = Predictions

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, self.predictions_class)

    def scores(self, out: Any) -> Tensor:
        return self.cls.predictions(out.last_hidden_state)


class CausalLM(TiedHead, EncoderCausalLM):
    """BERT's next token."""

    predictions_class: ClassVar[type] = Predictions

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, self.predictions_class)

    def score(self, hidden: Tensor) -> Tensor:
        return self.cls.predictions(hidden)


class NextSentencePrediction(EncoderHead):
    """Whether the second text follows the first."""

    output_class = NextSentencePredictorOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, predictions=None, next_sentence=True)

    def scores(self, out: Any) -> Tensor:
        return self.cls.seq_relationship(out.pooler_output)

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class PreTraining(TiedHead):
    """Hidden tokens and next sentence."""

    predictions_class: ClassVar[type] = Predictions

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, self.predictions_class, next_sentence=True)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq); next_sentence_label: (batch,). The loss needs both."""
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        words, follows = self.cls.predictions(out.last_hidden_state), self.cls.seq_relationship(out.pooler_output)
        loss = self.loss(words, follows, labels, next_sentence_label)
        result = ForPreTrainingOutput(loss, words, follows, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)

    def loss(self, words: Tensor, follows: Tensor, labels: Tensor | None, next_label: Tensor | None) -> Tensor | None:
        if labels is None or next_label is None:
            return None
        return token_loss(words, labels) + token_loss(follows, next_label)


class RobertaMaskedLM(TiedHead, MaskedLMHead):
    """RoBERTa's hidden tokens."""

    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = RobertaPredictions(config)

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class RobertaCausalLM(TiedHead, EncoderCausalLM):
    """RoBERTa's next token."""

    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = RobertaPredictions(config)

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden)


class Summary(nn.Module):
    """One vector for a text, as `summary_*` of the configuration describes."""

    def __init__(self, config: Any):
        super().__init__()
        self.kind = getattr(config, "summary_type", "last")
        to_labels = getattr(config, "summary_proj_to_labels", False) and config.num_labels > 0
        size = config.num_labels if to_labels else config.hidden_size
        projects = getattr(config, "summary_use_proj", False)
        self.summary = nn.Linear(config.hidden_size, size) if projects else nn.Identity()
        self.activation = Activation(getattr(config, "summary_activation", None) or "linear")
        self.first_dropout = nn.Dropout(getattr(config, "summary_first_dropout", 0.0))
        self.last_dropout = nn.Dropout(getattr(config, "summary_last_dropout", 0.0))
        if self.kind not in ("first", "last", "mean", "cls_index"):
            raise ConfigError("summary_type", self.kind, "'first', 'last', 'mean' or 'cls_index'")

    def forward(self, x: Tensor, cls_index: Tensor | None = None) -> Tensor:
        if self.kind == "mean":
            x = x.mean(1)
        elif self.kind == "cls_index" and cls_index is not None:
            x = x.take_along_dim(cls_index[..., None, None], -2).squeeze(-2)
        else:
            x = x[..., 0 if self.kind == "first" else -1, :]
        return self.last_dropout(self.activation(self.summary(self.first_dropout(x))))


# What a type with BERT's heads has, and what a type with RoBERTa's puts in their place.
TASKS: dict[str, type] = {
    "MaskedLM": MaskedLM,
    "CausalLM": CausalLM,
    "PreTraining": PreTraining,
    "NextSentencePrediction": NextSentencePrediction,
    "SequenceClassification": PooledClassification,
    "TokenClassification": TokenClassification,
    "QuestionAnswering": QuestionAnswering,
    "MultipleChoice": MultipleChoice,
}
ROBERTA_TASKS: dict[str, type] = TASKS | {
    "MaskedLM": RobertaMaskedLM,
    "CausalLM": RobertaCausalLM,
    "SequenceClassification": FirstTokenClassification,
}
