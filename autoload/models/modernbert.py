"""ModernBERT, an encoder with rotary positions and windows, and its twin that decodes: modernbert, modernbert-decoder.

Warner et al. 2024 (arXiv:2412.13663); Weller et al. 2025 (arXiv:2507.11412).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import (
    CausalLM,
    EncoderHead,
    LastTokenClassification,
    MaskedLMHead,
    MultipleChoice,
    QuestionAnswering,
    TokenClassification,
)
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, decoder_mask, kernel_of
from autoload.layers.cache import DynamicCache
from autoload.layers.rope import Rotary, rotate
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutputWithPast, MaskedLMOutput


class Embeddings(nn.Module):
    """Word vectors, normalised."""

    def __init__(self, config: Any):
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.norm = make_norm(config)
        self.drop = nn.Dropout(config.embedding_dropout)

    def forward(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        return self.drop(self.norm(self.tok_embeddings(input_ids) if inputs_embeds is None else inputs_embeds))


def make_norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class Attention(nn.Module):
    """Attention with rotary positions over a window or everything; one matrix for queries, keys and values."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.layer_idx, self.kind = layer_idx, config.layer_types[layer_idx]
        self.heads = config.num_attention_heads
        self.dim = config.hidden_size // self.heads
        self.dropout = config.attention_dropout
        self.make_projections(config)
        self.Wo = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)
        self.out_drop = nn.Dropout(config.attention_dropout)

    def make_projections(self, config: Any) -> None:
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.Wqkv(x).chunk(3, -1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, self.dim)).transpose(1, 2) for t in self.project(x))
        cos, sin = context.rope[self.kind]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)  # (batch, heads, seq, dim)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        dropout = self.dropout if self.training else 0.0
        mask, weights = context.masks[self.kind], context.attentions
        out = attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=weights)
        return self.out_drop(self.Wo(out))


class DecoderAttention(Attention):
    """Three matrices."""

    def make_projections(self, config: Any) -> None:
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)


class MLP(nn.Module):
    """Value and gate in one matrix."""

    def __init__(self, config: Any):
        super().__init__()
        self.Wi = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.act = Activation(config.hidden_activation)
        self.drop = nn.Dropout(config.mlp_dropout)
        self.Wo = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.Wi(x).chunk(2, -1)
        return self.Wo(self.drop(self.act(value) * gate))


class Layer(nn.Module):
    """Attention and MLP, each after a norm; the embeddings' norm serves the first attention."""

    def __init__(self, config: Any, attention: type, layer_idx: int):
        super().__init__()
        self.attn_norm = nn.Identity() if layer_idx == 0 else make_norm(config)
        self.attn = attention(config, layer_idx)
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attn(self.attn_norm(x), context)
        return x + self.mlp(self.mlp_norm(x))


@dataclass(frozen=True)
class Spec:
    """Encoder or decoder."""

    window: int  # how far a windowed layer sees, the token itself included
    attention: type = Attention
    decodes: bool = False


class Model(PreTrainedModel):
    """ModernBERT without a head."""

    base_model_prefix = "model"
    embeddings_path = "embeddings.tok_embeddings"
    _no_split_modules = ["Embeddings", "Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.spec = spec
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config, spec.attention, i) for i in range(config.num_hidden_layers))
        self.final_norm = make_norm(config)
        rope, dim = config.rope_parameters, config.hidden_size // config.num_attention_heads
        self.rotary_emb = nn.ModuleDict(
            {
                kind: Rotary(rope.get(kind, rope), dim, config.max_position_embeddings)
                for kind in sorted(set(config.layer_types))
            }
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, all tokens so far), 0 at padding; or a ready mask (batch, 1, queries, keys).
            position_ids: (batch, seq).
            past_key_values, use_cache: cache of earlier steps, and whether to give it back; of the decoder.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config, decodes = self.config, self.spec.decodes
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        x = self.embeddings(input_ids, inputs_embeds)  # (batch, seq, dim)
        caching = decodes and (config.use_cache if use_cache is None else use_cache)
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache(config=config)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = (torch.arange(x.shape[1], device=x.device) + past)[None]
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks=self.make_masks(attention_mask, x, past, past_key_values),
            rope={kind: rotary(position_ids, x.dtype) for kind, rotary in self.rotary_emb.items()},
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
        )
        packing = None if decodes else context.packing_of(attention_mask)
        if packing is not None:
            masks = self.make_masks(None, x, 0, None)
            x, context = packing.pack(x), context.packed(packing, masks)
        seen = []
        for layer in self.layers:
            if states:
                seen.append(x)
            x = self.run(layer, x, context)
        x = self.final_norm(x)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        out = BaseModelOutputWithPast(
            x,
            past_key_values if caching else None,
            (*seen, x) if states else None,
            tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(out, return_dict, config)

    def make_masks(self, attention_mask: Any, x: Tensor, past: Any, cache: Any) -> dict[str, Mask]:
        """One mask for each kind of layer."""
        masks, kinds = {}, self.config.layer_types
        for kind in dict.fromkeys(kinds):
            if isinstance(attention_mask, dict):  # made by the caller, by kind
                masks[kind] = Mask(attention_mask[kind])
                continue
            queries = x.shape[1]
            keys, start = cache.get_mask_sizes(queries, kinds.index(kind)) if cache is not None else (queries, 0)
            window = self.spec.window if kind == "sliding_attention" else None
            both = not self.spec.decodes
            masks[kind] = decoder_mask(
                attention_mask, queries, keys, past, start, x.device, window=window, bidirectional=both
            )
        return masks


class PredictionHead(nn.Module):
    """Dense layer, activation, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, config.classifier_bias)
        self.act = Activation(config.classifier_activation)
        self.norm = make_norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.act(self.dense(x)))


class MaskedLM(MaskedLMHead):
    """ModernBERT's hidden tokens; with `sparse_prediction`, labels limit the scores to the tokens that count."""

    base_options = {}
    accumulates = True
    output_class = MaskedLMOutput
    output_path = "decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.head = PredictionHead(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"decoder.weight": "model.embeddings.tok_embeddings.weight"}

    def forward(self, *args: Any, labels: Tensor | None = None, return_dict: bool | None = None, **kwargs: Any) -> Any:
        if not self.config.sparse_prediction or labels is None:
            return super().forward(*args, labels=labels, return_dict=return_dict, **kwargs)
        out = self.base_model(*args, return_dict=True, **kwargs)
        labels = labels.flatten()
        counts = labels != self.config.sparse_pred_ignore_index
        logits = self.decoder(self.head(out.last_hidden_state.flatten(0, 1)[counts]))  # (labels, vocabulary)
        loss = self.loss(logits, labels[counts], None, kwargs.get("num_items_in_batch"))
        return finish(MaskedLMOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)

    def scores(self, out: Any) -> Tensor:
        return self.decoder(self.head(out.last_hidden_state))


def average(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mean over the tokens that are no padding; (batch, dim)."""
    if attention_mask is None:
        return hidden.mean(1)
    return (hidden * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)


class Classification(EncoderHead):
    """ModernBERT's labels, from the first token or the mean."""

    def __init__(self, config: Any):
        super().__init__(config)
        if config.classifier_pooling not in ("cls", "mean"):
            raise ConfigError("classifier_pooling", config.classifier_pooling, "'cls' or 'mean'")
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def select(self, out: Any, attention_mask: Tensor | None) -> Tensor:
        if self.config.classifier_pooling == "mean":
            return average(out.last_hidden_state, attention_mask)
        return out.last_hidden_state[:, 0]

    def scores(self, out: Tensor) -> Tensor:
        return self.classifier(self.drop(self.head(out)))


class TokenLabels(TokenClassification):
    """ModernBERT's label for each token."""

    base_options = {}

    def __init__(self, config: Any):
        super().__init__(config)
        del self.dropout
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.drop(self.head(out.last_hidden_state)))


class Answer(QuestionAnswering):
    """ModernBERT's answer."""

    base_options = {}

    def __init__(self, config: Any):
        super().__init__(config)
        del self.qa_outputs
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.drop(self.head(out.last_hidden_state)))


class Choice(MultipleChoice):
    """ModernBERT's choice, from the first token that is no padding or the mean."""

    def __init__(self, config: Any):
        super().__init__(config)
        del self.dropout
        self.head = PredictionHead(config)
        self.drop = nn.Dropout(config.classifier_dropout)

    def select(self, out: Any, attention_mask: Tensor | None) -> Tensor:
        hidden = out.last_hidden_state
        if self.config.classifier_pooling == "mean":
            return average(hidden, attention_mask)
        if attention_mask is None:
            return hidden[:, 0]
        return hidden[torch.arange(len(hidden), device=hidden.device), attention_mask.argmax(-1)]

    def scores(self, out: Tensor) -> Tensor:
        return self.classifier(self.drop(self.head(out)))


class DecoderCausalLM(CausalLM):
    """The decoder's next token."""

    output_path = "decoder"

    def __init__(self, config: Any):
        super(CausalLM, self).__init__(config)
        self.lm_head: nn.Module = PredictionHead(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=config.decoder_bias)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"decoder.weight": "model.embeddings.tok_embeddings.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.lm_head(hidden))


class DecoderClassification(LastTokenClassification):
    """The decoder's labels."""

    def __init__(self, config: Any):
        super(LastTokenClassification, self).__init__(config)
        self.head = PredictionHead(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels, bias=config.classifier_bias)
        self.drop = nn.Dropout(config.classifier_dropout)

    def score(self, hidden: Tensor) -> Tensor:
        return self.classifier(self.drop(self.head(hidden)))


VARIANTS = {
    "modernbert": Variant(lambda c: Spec(window=c.local_attention // 2 + 1)),
    "modernbert-decoder": Variant(
        lambda c: Spec(window=c.sliding_window, attention=DecoderAttention, decodes=True),
        heads={"SequenceClassification": DecoderClassification},
    ),
}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "CausalLM": DecoderCausalLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}
