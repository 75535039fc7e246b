"""DistilBERT: BERT's computation without token types and pooler, under names of its own.

Sanh et al. 2019 (arXiv:1910.01108).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import EncoderHead, MaskedLMHead, MultipleChoice, QuestionAnswering, TokenClassification
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, encoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutput, MaskedLMOutput


class Embeddings(nn.Module):
    """Sum of word and position vectors, normalised."""

    def __init__(self, config: Any):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=1e-12)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, position_ids: Tensor | None) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        return self.dropout(self.LayerNorm(x + self.position_embeddings(position_ids)))


class Attention(nn.Module):
    """Self-attention with its output projection."""

    def __init__(self, config: Any):
        super().__init__()
        self.heads, self.dim = config.n_heads, config.dim // config.n_heads
        self.q_lin = nn.Linear(config.dim, config.dim)
        self.k_lin = nn.Linear(config.dim, config.dim)
        self.v_lin = nn.Linear(config.dim, config.dim)
        self.out_lin = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.attention_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = (
            project(x).unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)
            for project in (self.q_lin, self.k_lin, self.v_lin)
        )
        dropout = self.dropout.p if self.training else 0.0
        mask = context.masks["full"]
        out = attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)
        return self.out_lin(out)


class FFN(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.lin1 = nn.Linear(config.dim, config.hidden_dim)
        self.lin2 = nn.Linear(config.hidden_dim, config.dim)
        self.activation = Activation(config.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.lin2(self.activation(self.lin1(x))))


class TransformerBlock(nn.Module):
    """Attention and a wide layer; norms after the residuals."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = Attention(config)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=1e-12)
        self.ffn = FFN(config)
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=1e-12)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.sa_layer_norm(self.attention(x, context) + x)
        return self.output_layer_norm(self.ffn(x) + x)


class Transformer(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))


class Model(PreTrainedModel):
    """DistilBERT without a head."""

    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["TransformerBlock"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states; arguments as of BERT's model."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        x = self.embeddings(input_ids, inputs_embeds, position_ids)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        packing = context.packing_of(attention_mask)
        if packing is not None:
            x, context = packing.pack(x), context.packed(packing, {"full": Mask()})
        seen = [x]
        for layer in self.transformer.layer:
            x = self.run(layer, x, context)
            if states:
                seen.append(x)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        out = BaseModelOutput(
            x, tuple(seen) if states else None, tuple(context.attentions) if context.attentions is not None else None
        )
        return finish(out, return_dict, config)


class MaskedLM(MaskedLMHead):
    """DistilBERT's hidden tokens."""

    base_options: ClassVar[dict[str, Any]] = {}
    output_class = MaskedLMOutput
    output_path = "vocab_projector"

    def __init__(self, config: Any):
        super().__init__(config)
        self.activation = Activation(config.activation)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, eps=1e-12)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"}

    def scores(self, out: Any) -> Tensor:
        x = self.activation(self.vocab_transform(out.last_hidden_state))
        return self.vocab_projector(self.vocab_layer_norm(x))


class SequenceClassification(EncoderHead):
    """DistilBERT's labels, from the first token."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(F.relu(self.pre_classifier(out.last_hidden_state[:, 0]))))


class DistilTokenClassification(TokenClassification):
    """DistilBERT's label for each token."""

    base_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any):
        super(TokenClassification, self).__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)


class DistilQuestionAnswering(QuestionAnswering):
    """DistilBERT's answer, with dropout before the scores."""

    base_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any):
        super().__init__(config)
        if config.num_labels != 2:
            raise ConfigError("num_labels", config.num_labels, "2, the ends of an answer")
        self.dropout = nn.Dropout(config.qa_dropout)

    def scores(self, out: Any) -> Tensor:
        return self.qa_outputs(self.dropout(out.last_hidden_state))


class DistilMultipleChoice(MultipleChoice):
    """DistilBERT's choice, from the first token."""

    def __init__(self, config: Any):
        super(MultipleChoice, self).__init__(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, 1)
        self.dropout = nn.Dropout(config.seq_classif_dropout)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(F.relu(self.pre_classifier(out.last_hidden_state[:, 0]))))


VARIANTS = {"distilbert": Variant(members={"base_model_prefix": "distilbert"})}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "SequenceClassification": SequenceClassification,
    "TokenClassification": DistilTokenClassification,
    "QuestionAnswering": DistilQuestionAnswering,
    "MultipleChoice": DistilMultipleChoice,
}
