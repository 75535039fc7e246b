"""Llama-like decoders: llama, mistral, qwen2, qwen3, gemma, gemma2, phi3, olmo2, granite, cohere.

Touvron et al. 2023 (arXiv:2302.13971) and what grew from it: one stack of layers, with other norms, biases, windows,
factors and wirings. The layers stand in `decoder_layer.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.attention import Context, Mask, decoder_mask, kernel_of
from autoload.layers.cache import DynamicCache
from autoload.layers.norms import LayerNormFP32, RMSNormFP32, ZeroCentredRMSNorm
from autoload.layers.rope import Rotary
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.decoder_layer import (  # noqa: F401  (all of them, for the families that build on this one)
    TENSOR_PLAN,
    Attention,
    FusedAttention,
    FusedGatedMLP,
    GatedMLP,
    Layer,
    ParallelLayer,
    PerHeadNormAttention,
    PostNormLayer,
    SandwichLayer,
    ScaledEmbedding,
    Spec,
    head_dim,
    hidden_act,
    layer_kinds,
    next_token_layers,
    norm_eps,
)
from autoload.outputs import BaseModelOutputWithPast


class Model(PreTrainedModel):
    """A Llama-like decoder without a head."""

    base_model_prefix = "model"
    _no_split_modules = ["Layer"]
    last_is_normed = True  # the last of the hidden states
    embed_tokens: nn.Embedding  # unless `embeddings_path` says another name

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.spec, self.kinds = spec, layer_kinds(config)
        self.add_module(self.embeddings_path, self.make_embedding(config, spec))
        self.make_layers(config, spec)
        self.make_final_norm(spec.norm(config.hidden_size, norm_eps(config)))
        self.rotary_emb = self.make_rotary(config, spec)

    def tensor_plan(self) -> dict[str, str]:
        """How the layers can be cut over several processes; nothing where heads look at each other or parts are others'."""
        layers: Any = self.layers
        plain = all(type(layer.self_attn) is Attention and type(layer.mlp) is GatedMLP for layer in layers)
        return TENSOR_PLAN if plain and self.spec.qk_norm != "full" else {}

    def make_layers(self, config: Any, spec: Spec) -> None:
        layer = spec.layer or Layer
        self.layers = nn.ModuleList(layer(config, spec, i) for i in range(config.num_hidden_layers))
        self._no_split_modules = [layer.__name__]

    def make_embedding(self, config: Any, spec: Spec) -> nn.Embedding:
        return spec.embedding_class(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)

    def make_final_norm(self, norm: nn.Module) -> None:
        self.norm = norm

    def final_norm(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        """Rotary tables by kind of layer; one for all kinds unless the configuration has several."""
        rope, kinds = config.rope_parameters, dict.fromkeys(self.kinds)
        by_kind = {kind: rope[kind] for kind in kinds if kind in rope} or {"": rope}
        size, length = head_dim(config), config.max_position_embeddings
        return nn.ModuleDict(
            {kind or "all": Rotary(r, size, length, spec.interleaved) for kind, r in by_kind.items() if r is not None}
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
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        embeds = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, dim)
        caching = config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache(config=config)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        positions = position_ids
        if positions is None:
            positions = (torch.arange(embeds.shape[1], device=embeds.device) + past)[None]
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks=self.make_masks(attention_mask, embeds, past, past_key_values, position_ids),
            rope=self.make_rope(positions, embeds),
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            states=bool(states),
            extra=self.make_extra(positions, embeds)
            | self.read(input_ids, embeds, attention_mask=attention_mask, **kwargs),
        )
        last, seen = self.climb(self.enter(embeds), context)
        x = self.final_norm(last)
        out = BaseModelOutputWithPast(
            x,
            past_key_values if caching else None,
            (*seen, x if self.last_is_normed else last) if states else None,
            tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(self.result(out, context, **kwargs), return_dict, config)

    def climb(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last layer, and before each."""
        seen = []
        for layer in self.layers:
            if context.states:
                seen.append(x)
            x = self.run(layer, x, context)
        return x, seen

    def result(self, out: Any, context: Context, **kwargs: Any) -> Any:
        """The output, to which a family may add what its layers left in the context."""
        return out

    def enter(self, x: Tensor) -> Tensor:
        """Embeddings as the first layer gets them."""
        if self.spec.embedding_scale is not None:
            x = x * self.spec.embedding_scale
        return nn.functional.dropout(x, self.spec.embedding_dropout, self.training)

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        """What the layers of a single type look up in the context."""
        return {}

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        """The same, from inputs that only a single type takes."""
        return {}

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        """cos and sin for each kind of layer."""
        dtype = torch.float32 if self.spec.rope_fp32 else x.dtype
        tables = {kind: rotary(positions, dtype) for kind, rotary in self.rotary_emb.items()}
        if self.spec.turn_fp32:
            tables = {kind: (cos.float(), sin.float()) for kind, (cos, sin) in tables.items()}
        by_kind = {kind: tables.get(kind, tables.get("all")) for kind in dict.fromkeys(self.kinds)}
        return {kind: table for kind, table in by_kind.items() if table is not None}

    def make_masks(
        self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Tensor | None
    ) -> dict[str, Mask]:
        """One mask for each kind of layer."""
        config, kinds = self.config, self.kinds
        ahead = not getattr(config, "is_causal", True)  # what any file may say; a window then reaches one further
        masks = {}
        for kind in dict.fromkeys(kinds):
            if isinstance(attention_mask, dict):  # made by the caller, by kind
                masks[kind] = Mask(attention_mask[kind])
                continue
            queries = x.shape[1]
            keys, start = cache.get_mask_sizes(queries, kinds.index(kind)) if cache is not None else (queries, 0)
            masks[kind] = decoder_mask(
                attention_mask,
                queries,
                keys,
                past,
                start,
                x.device,
                window=(self.spec.window or config.sliding_window + ahead) if kind == "sliding_attention" else None,
                chunk=config.attention_chunk_size if kind == "chunked_attention" else None,
                bidirectional=self.spec.bidirectional or ahead,
                position_ids=position_ids,
            )
        return masks


class CausalLM(heads.CausalLM):
    """Scores of the next token, with the variant's factor and cap."""

    def score(self, hidden: Tensor) -> Tensor:
        spec = self.base_model.spec
        logits = self.lm_head(hidden)
        if spec.logits_scale is not None:
            logits = logits * spec.logits_scale
        if spec.logits_softcap is not None:
            logits = torch.tanh(logits / spec.logits_softcap) * spec.logits_softcap
        return logits


class GraniteCausalLM(CausalLM):
    """Divides the scores."""

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden) / self.config.logits_scaling


class TransformerQuestionAnswering(heads.DecoderQuestionAnswering):
    """Holds its base model as `transformer`."""

    base_model_prefix = "transformer"


VARIANTS = {
    "llama": Variant(
        lambda c: Spec(qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias),
    ),
    "mistral": Variant(lambda c: Spec(), heads={"QuestionAnswering": heads.DecoderQuestionAnswering}),
    "qwen2": Variant(lambda c: Spec(qkv_bias=True)),
    "qwen3": Variant(lambda c: Spec(qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias)),
    "gemma": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            embedding_class=ScaledEmbedding,
            bidirectional=bool(c.use_bidirectional_attention),
        )
    ),
    "gemma2": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            layer=SandwichLayer,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=c.query_pre_attn_scalar**-0.5,
            softcap=c.attn_logit_softcapping,
            logits_softcap=c.final_logit_softcapping,
            embedding_class=ScaledEmbedding,
            bidirectional=bool(c.use_bidirectional_attention),
        )
    ),
    "phi3": Variant(
        lambda c: Spec(attention=FusedAttention, mlp=FusedGatedMLP, residual_dropout=c.resid_pdrop),
    ),
    "olmo2": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=PostNormLayer,
            qk_norm="full",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
        )
    ),
    "granite": Variant(
        lambda c: Spec(
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
        ),
        heads={"CausalLM": GraniteCausalLM},
    ),
    "cohere": Variant(
        lambda c: Spec(
            norm=LayerNormFP32,
            layer=ParallelLayer,
            attention=PerHeadNormAttention,
            qk_norm="head" if c.use_qk_norm else None,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
            turn_fp32=True,
            logits_scale=c.logit_scale,
        )
    ),
}
TASKS = {
    "Model": Model,
    "CausalLM": CausalLM,
    "SequenceClassification": heads.LastTokenClassification,
    "TokenClassification": heads.DecoderTokenClassification,
    "QuestionAnswering": TransformerQuestionAnswering,
}
