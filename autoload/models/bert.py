"""BERT and the encoders that share its wiring: bert, roberta, xlm-roberta, camembert, electra.

Devlin et al. 2018 (arXiv:1810.04805), Liu et al. 2019 (arXiv:1907.11692), Clark et al. 2020 (arXiv:2003.10555).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
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
    TwoLayerClassifier,
)
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, decoder_mask, encoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    BaseModelOutputWithPoolingAndCrossAttentions,
    DiscriminatorOutput,
    ForPreTrainingOutput,
    MaskedLMOutput,
    NextSentencePredictorOutput,
)


@dataclass(frozen=True)
class Spec:
    """What tells one BERT-like encoder from another."""

    positions: Literal["absolute", "padded"] = "absolute"  # padded: counted from pad_token_id + 1, padding left out
    pooler: bool = True
    embedding_size: int | None = None  # of the tables, when it is not the model's


class Embeddings(nn.Module):
    """Sum of word, position and token type vectors, normalised."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        size = spec.embedding_size or config.hidden_size
        padding = config.pad_token_id if spec.positions == "padded" else None
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size, padding_idx=padding)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.padded_from = padding

    def positions(self, input_ids: Tensor | None, shape: torch.Size, past: int, device: Any) -> Tensor:
        """Position numbers, (batch or 1, seq)."""
        if self.padded_from is None:
            return torch.arange(past, past + shape[1], device=device)[None]
        if input_ids is None:
            return torch.arange(self.padded_from + 1, self.padded_from + 1 + shape[1], device=device)[None]
        real = (input_ids != self.padded_from).int()
        return ((real.cumsum(1) + past) * real).long() + self.padded_from

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
    ) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, size)
        if position_ids is None:
            position_ids = self.positions(input_ids, x.shape, past, x.device)
        if token_type_ids is None:
            x = x + self.token_type_embeddings.weight[0]
        else:
            x = x + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))


class SelfAttention(nn.Module):
    """Queries, keys and values; over an encoder's states where `cross` is set."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.layer_idx, self.cross = layer_idx, cross
        self.heads = config.num_attention_heads
        self.dim = config.hidden_size // self.heads
        size = self.heads * self.dim
        self.query = nn.Linear(config.hidden_size, size)
        self.key = nn.Linear(config.hidden_size, size)
        self.value = nn.Linear(config.hidden_size, size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q = self.split(self.query(x))
        if self.cross:
            k, v = self._source(context)
            mask, weights = context.encoder_mask, context.cross_attentions
        else:
            k, v = self.split(self.key(x)), self.split(self.value(x))
            mask, weights = context.masks["full"], context.attentions
            if context.cache is not None:
                k, v = context.cache.update(k, v, self.layer_idx)
        dropout = self.dropout.p if self.training else 0.0
        return attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=weights)

    def _source(self, context: Context) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states, made once per generation."""
        cache = context.cache if isinstance(context.cache, EncoderDecoderCache) else None
        if cache is not None and cache.is_updated.get(self.layer_idx):
            return cache.cross_attention_cache[self.layer_idx]  # type: ignore[return-value]
        k, v = self.split(self.key(context.encoder)), self.split(self.value(context.encoder))
        if cache is not None:
            cache.cross_attention_cache.update(k, v, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return k, v


class Output(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    """Attention and its output."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.self = SelfAttention(config, layer_idx, cross)
        self.output = Output(config, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self(x, context), x)


class Intermediate(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(x))


class Layer(nn.Module):
    """Attention, cross-attention where the configuration adds it, and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = Attention(config, layer_idx)
        if config.add_cross_attention:
            self.crossattention = Attention(config, layer_idx, cross=True)
        self.intermediate = Intermediate(config)
        self.output = Output(config, config.intermediate_size)
        self.crosses = config.add_cross_attention

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(x, context)
        if self.crosses and context.encoder is not None:
            x = self.crossattention(x, context)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))


class Pooler(nn.Module):
    """Dense layer and tanh on the first token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x[:, 0]))


class Model(PreTrainedModel):
    """A BERT-like encoder without a head.

    Args:
        config: of the model.
        add_pooling_layer: also give `pooler_output`.
    """

    embeddings_path = "embeddings.word_embeddings"
    may_lack = ("pooler",)
    options: ClassVar[tuple[str, ...]] = ("add_pooling_layer",)
    _no_split_modules = ["Layer", "Embeddings"]

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        if config.add_cross_attention and not config.is_decoder:
            raise ConfigError("add_cross_attention", True, "false, or is_decoder=true beside it")
        self.embeddings = Embeddings(config, spec)
        if spec.embedding_size not in (None, config.hidden_size):
            self.embeddings_project = nn.Linear(spec.embedding_size, config.hidden_size)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if spec.pooler and add_pooling_layer else None
        self.pools = spec.pooler

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding; or a ready mask (batch, 1, queries, keys).
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            encoder_hidden_states: (batch, source, dim), for cross-attention.
            encoder_attention_mask: (batch, source).
            past_key_values: cache of earlier steps, when `is_decoder`.
            use_cache: give a cache back, when `is_decoder`.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        caching = config.is_decoder and (config.use_cache if use_cache is None else use_cache)
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache() if encoder_hidden_states is None else EncoderDecoderCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0

        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, past)
        if hasattr(self, "embeddings_project"):
            x = self.embeddings_project(x)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks={"full": self._mask(attention_mask, x, past, past_key_values)},
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            encoder=encoder_hidden_states,
            encoder_mask=encoder_mask(encoder_attention_mask),
            cross_attentions=[] if attentions else None,
        )
        seen = [x]
        for layer in self.encoder.layer:
            x = self.run(layer, x, context)
            seen.append(x)
        kept: dict[str, Any] = dict(
            last_hidden_state=x,
            hidden_states=tuple(seen) if states else None,
            past_key_values=past_key_values if caching else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
            cross_attentions=tuple(context.cross_attentions) if context.cross_attentions is not None else None,
        )
        if not self.pools:
            return finish(BaseModelOutputWithPastAndCrossAttentions(**kept), return_dict, config)
        pooled = None if self.pooler is None else self.pooler(x)
        out = BaseModelOutputWithPoolingAndCrossAttentions(pooler_output=pooled, **kept)
        return finish(out, return_dict, config)

    def _mask(self, attention_mask: Tensor | None, x: Tensor, past: int, cache: Any) -> Any:
        if not self.config.is_decoder:
            return encoder_mask(attention_mask)
        keys, start = cache.get_mask_sizes(x.shape[1], 0) if cache is not None else (x.shape[1], 0)
        return decoder_mask(attention_mask, x.shape[1], keys, past, start, x.device)


# -- vocabulary heads


class Transform(nn.Module):
    """Dense layer, activation, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.transform_act_fn(self.dense(x)))


class Predictions(nn.Module):
    """BERT's scores of the vocabulary."""

    def __init__(self, config: Any):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.transform = Transform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x))


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

    def __init__(self, config: Any, predictions: bool = True, next_sentence: bool = False):
        super().__init__()
        if predictions:
            self.predictions = Predictions(config)
        if next_sentence:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


class _Vocabulary(Head):
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


class MaskedLM(_Vocabulary, MaskedLMHead):
    """BERT's hidden tokens."""

    output_class = MaskedLMOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config)

    def scores(self, out: Any) -> Tensor:
        return self.cls.predictions(out.last_hidden_state)


class CausalLM(_Vocabulary, EncoderCausalLM):
    """BERT's next token."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config)

    def score(self, hidden: Tensor) -> Tensor:
        return self.cls.predictions(hidden)


class NextSentencePrediction(EncoderHead):
    """Whether the second text follows the first."""

    output_class = NextSentencePredictorOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config, predictions=False, next_sentence=True)

    def scores(self, out: Any) -> Tensor:
        return self.cls.seq_relationship(out.pooler_output)

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class PreTraining(_Vocabulary):
    """Hidden tokens and next sentence."""

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
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(words, labels) + token_loss(follows, next_sentence_label)
        result = ForPreTrainingOutput(loss, words, follows, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


class RobertaMaskedLM(_Vocabulary, MaskedLMHead):
    """RoBERTa's hidden tokens."""

    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = RobertaPredictions(config)

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class RobertaCausalLM(_Vocabulary, EncoderCausalLM):
    """RoBERTa's next token."""

    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = RobertaPredictions(config)

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden)


# -- ELECTRA's heads


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
        return {"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"}

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


class Summary(nn.Module):
    """One vector for a text, as `summary_*` of the configuration describes."""

    def __init__(self, config: Any):
        super().__init__()
        self.kind = config.summary_type
        to_labels = getattr(config, "summary_proj_to_labels", False) and config.num_labels > 0
        size = config.num_labels if to_labels else config.hidden_size
        self.summary = nn.Linear(config.hidden_size, size) if config.summary_use_proj else nn.Identity()
        self.activation = Activation(config.summary_activation or "linear")
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


class ElectraMultipleChoice(MultipleChoice):
    """ELECTRA's choice: it has no pooler, so a summary stands in."""

    def __init__(self, config: Any):
        super().__init__(config)
        del self.dropout
        self.sequence_summary = Summary(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.sequence_summary(out.last_hidden_state))


ROBERTA = Variant(
    lambda c: Spec(positions="padded"),
    heads={
        "MaskedLM": RobertaMaskedLM,
        "CausalLM": RobertaCausalLM,
        "SequenceClassification": FirstTokenClassification,
    },
    members={"base_model_prefix": "roberta"},
)

VARIANTS = {
    "bert": Variant(lambda c: Spec(), members={"base_model_prefix": "bert"}),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "electra": Variant(
        lambda c: Spec(pooler=False, embedding_size=c.embedding_size),
        heads={
            "MaskedLM": ElectraMaskedLM,
            "CausalLM": ElectraCausalLM,
            "PreTraining": ElectraPreTraining,
            "SequenceClassification": ElectraClassification,
            "MultipleChoice": ElectraMultipleChoice,
        },
        members={"base_model_prefix": "electra"},
    ),
}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "CausalLM": CausalLM,
    "PreTraining": PreTraining,
    "NextSentencePrediction": NextSentencePrediction,
    "SequenceClassification": PooledClassification,
    "TokenClassification": TokenClassification,
    "QuestionAnswering": QuestionAnswering,
    "MultipleChoice": MultipleChoice,
}
