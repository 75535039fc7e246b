"""GPT-2: gpt2.

Radford et al. 2019. Its matrices are stored as (in, out), see `Conv1D`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, decoder_mask, encoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.layers.linear import Conv1D
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    TokenClassifierOutput,
)


class Attention(nn.Module):
    """Causal attention with fused queries, keys and values; over an encoder's states where `cross` is set."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        size = config.n_embd
        self.layer_idx, self.cross, self.size = layer_idx, cross, size
        self.heads, self.dim = config.n_head, size // config.n_head
        self.scale = self.dim**-0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer_idx + 1
        self.c_attn = Conv1D((2 if cross else 3) * size, size)
        if cross:
            self.q_attn = Conv1D(size, size)
        self.c_proj = Conv1D(size, size)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.cross:
            q = self.split(self.q_attn(x))
            k, v = self._source(context)
            mask, weights = context.encoder_mask, context.cross_attentions
        else:
            q, k, v = (self.split(t) for t in self.c_attn(x).split(self.size, -1))
            mask, weights = context.masks["full"], context.attentions
            if context.cache is not None:
                k, v = context.cache.update(k, v, self.layer_idx)
        dropout = self.attn_dropout.p if self.training else 0.0
        out = attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, weights_to=weights)
        return self.resid_dropout(self.c_proj(out))

    def _source(self, context: Context) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states, made once per generation."""
        cache = context.cache if isinstance(context.cache, EncoderDecoderCache) else None
        if cache is not None and cache.is_updated.get(self.layer_idx):
            return cache.cross_attention_cache[self.layer_idx]  # type: ignore[return-value]
        k, v = (self.split(t) for t in self.c_attn(context.encoder).split(self.size, -1))
        if cache is not None:
            cache.cross_attention_cache.update(k, v, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return k, v


class MLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.n_inner if config.n_inner is not None else 4 * config.n_embd
        self.c_fc = Conv1D(size, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, size)
        self.act = Activation(config.activation_function)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class Block(nn.Module):
    """Attention, cross-attention where the configuration adds it, and MLP, each after a norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, layer_idx)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.crosses = config.add_cross_attention
        if self.crosses:
            self.crossattention = Attention(config, layer_idx, cross=True)
            self.ln_cross_attn = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attn(self.ln_1(x), context)
        if self.crosses and context.encoder is not None:
            x = x + self.crossattention(self.ln_cross_attn(x), context)
        return x + self.mlp(self.ln_2(x))


class Model(PreTrainedModel):
    """GPT-2 without a head."""

    base_model_prefix = "transformer"
    embeddings_path = "wte"
    _no_split_modules = ["Block"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            past_key_values: cache of earlier steps.
            attention_mask: (batch, all tokens so far), 0 at padding.
            token_type_ids: (batch, seq), tokens whose vectors are added.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            encoder_hidden_states: (batch, source, dim), for cross-attention.
            encoder_attention_mask: (batch, source).
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        if encoder_hidden_states is not None and not config.add_cross_attention:
            raise ConfigError("add_cross_attention", False, "true, to look at encoder_hidden_states")
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, dim)
        caching = config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache() if encoder_hidden_states is None else EncoderDecoderCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = (torch.arange(x.shape[1], device=x.device) + past)[None]
        keys, start = past_key_values.get_mask_sizes(x.shape[1], 0) if past_key_values is not None else (x.shape[1], 0)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks={"full": decoder_mask(attention_mask, x.shape[1], keys, past, start, x.device)},
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            encoder=encoder_hidden_states,
            encoder_mask=encoder_mask(encoder_attention_mask),
            cross_attentions=[] if attentions else None,
        )
        x = x + self.wpe(position_ids)
        if token_type_ids is not None:
            x = x + self.wte(token_type_ids)
        x = self.drop(x)
        seen = []
        for block in self.h:
            seen.append(x)
            x = self.run(block, x, context)
        x = self.ln_f(x)
        out = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=x,
            past_key_values=past_key_values if caching else None,
            hidden_states=(*seen, x) if states else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
            cross_attentions=tuple(context.cross_attentions) if context.cross_attentions is not None else None,
        )
        return finish(out, return_dict, config)


class CausalLM(heads.CausalLM):
    """Scores of the next token."""

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the other decoders', with the arguments in GPT-2's order."""
        return super().forward(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            labels,
            use_cache,
            logits_to_keep,
            return_dict,
            token_type_ids=token_type_ids,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            **kwargs,
        )

    def output(self, loss: Tensor | None, logits: Tensor, out: Any) -> Any:
        return CausalLMOutputWithCrossAttentions(
            loss, logits, out.past_key_values, out.hidden_states, out.attentions, out.cross_attentions
        )


class SequenceClassification(heads.LastTokenClassification):
    """Labels from the last token that is no padding."""

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the other decoders', with the arguments in GPT-2's order."""
        return super().forward(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            labels,
            use_cache,
            return_dict,
            token_type_ids=token_type_ids,
            **kwargs,
        )


class TokenClassification(heads.Head):
    """A label for each token."""

    loss_type = "ForTokenClassification"

    def __init__(self, config: Any):
        super().__init__(config)
        found = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.dropout = nn.Dropout(next((rate for rate in found if rate is not None), 0.1))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq)."""
        out = self.base_model(
            input_ids,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        logits = self.classifier(self.dropout(out.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels)
        return finish(TokenClassifierOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)


VARIANTS = {"gpt2": Variant(members={"base_model_prefix": "transformer"})}
TASKS = {
    "Model": Model,
    "CausalLM": CausalLM,
    "SequenceClassification": SequenceClassification,
    "TokenClassification": TokenClassification,
    "QuestionAnswering": heads.DecoderQuestionAnswering,
}
