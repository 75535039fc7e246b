"""T5Gemma: an encoder and a decoder of Gemma 2's layers.

Zhang et al. 2025 (arXiv:2504.06225).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.attention import Context, Mask, attend, decoder_mask, kernel_of
from autoload.layers.norms import ZeroCentredRMSNorm
from autoload.layers.rope import Rotary
from autoload.losses import classification_loss, token_loss
from autoload.model import PreTrainedModel, Variant, finish, resized
from autoload.models import decoder_layer, gpt_decoder, seq2seq, seq2seq_heads
from autoload.models.decoder_layer import Spec
from autoload.models.gpt_decoder import reorder
from autoload.outputs import SequenceClassifierOutput, TokenClassifierOutput


def spec_of(config: Any) -> Spec:
    """What Gemma 2's layers are made of, from one side's configuration."""
    return Spec(
        norm=ZeroCentredRMSNorm,
        mlp=MLP,
        qkv_bias=config.attention_bias,
        o_bias=config.attention_bias,
        scale=config.query_pre_attn_scalar**-0.5,
        softcap=config.attn_logit_softcapping,
        residual_dropout=config.dropout_rate,
        mlp_dropout=config.dropout_rate,
    )


class MLP(decoder_layer.GatedMLP):
    """Drops in the wide layer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.dropout(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


class CrossAttention(decoder_layer.Attention):
    """Looks at the encoder's states, all of them, without positions."""

    source = gpt_decoder.Attention.source

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        width = config.cross_attention_hidden_size
        self.k_proj, self.v_proj = (
            nn.Linear(width, self.kv_heads * self.dim, bias=spec.qkv_bias) for _ in ("keys", "values")
        )

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        k, v = self.source(context)  # type: ignore[arg-type]
        dropout = self.dropout if self.training else 0.0
        options: dict[str, Any] = dict(scale=self.scale, dropout=dropout, softcap=self.softcap)
        q, mask = self.split(self.q_proj(x)), context.encoder_mask
        return self.o_proj(attend(q, k, v, mask, context, weights_to=context.cross_attentions, **options))


class EncoderLayer(decoder_layer.Layer):
    """Gemma 2's, under other names."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.pre_self_attn_layernorm = norm()
        self.post_self_attn_layernorm = norm()
        self.pre_feedforward_layernorm = norm()
        self.post_feedforward_layernorm = norm()

    def look(self, x: Tensor, context: Context) -> Tensor:
        """The stream after attention."""
        return self.add(x, self.post_self_attn_layernorm(self.self_attn(self.pre_self_attn_layernorm(x), context)))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.look(x, context)
        return self.add(x, self.post_feedforward_layernorm(self.feed(self.pre_feedforward_layernorm(x), context)))


class DecoderLayer(EncoderLayer):
    """Looks at the encoder's states too."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.cross_attn = CrossAttention(config, spec, layer_idx)

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        super().make_norms(norm)
        self.pre_cross_attn_layernorm = norm()
        self.post_cross_attn_layernorm = norm()

    def look(self, x: Tensor, context: Context) -> Tensor:
        x = super().look(x, context)
        return self.add(x, self.post_cross_attn_layernorm(self.cross_attn(self.pre_cross_attn_layernorm(x), context)))


class Side(seq2seq.Stack):
    """The parameters of either side, with a configuration of its own in the model's."""

    part: ClassVar[str]
    places: ClassVar[str]  # name of the input with positions, (batch, seq)
    layer_class: ClassVar[type]

    def __init__(self, config: Any, spec: Any):
        whole, config = config, getattr(config, self.part)
        super().__init__(config)
        spec, self.whole = self.make_spec(config), whole
        self.embed_tokens = self.make_table(config)
        self.layers = nn.ModuleList(self.layer_class(config, spec, i) for i in range(config.num_hidden_layers))
        self.norm = spec.norm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = self.make_rotary(config)
        self.dropout = nn.Dropout(config.dropout_rate)
        self._no_split_modules = [self.layer_class.__name__]

    def make_spec(self, config: Any) -> Spec:
        return spec_of(config)

    def make_table(self, config: Any) -> nn.Embedding:
        """The vectors of the tokens."""
        return nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)

    def make_rotary(self, config: Any) -> nn.Module:
        return Rotary(config.rope_parameters, config.head_dim, config.max_position_embeddings)

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[Any, Any]:
        """Tables of cos and sin by kind of layer; one is enough."""
        table = self.rotary_emb(positions, x.dtype)
        return {kind: table for kind in self.config.layer_types}

    def told_padding(self, attention_mask: Tensor | None, input_ids: Tensor | None) -> Tensor | None:
        """Without a mask, padding is told by its token."""
        padding = self.config.pad_token_id
        if attention_mask is not None or input_ids is None or padding is None:
            return attention_mask
        return (input_ids != padding).long()

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"positions": inputs.get(self.places)}

    def context(self, *args: Any, **fields: Any) -> Context:
        context = super().context(*args, **fields)
        context.kernel = kernel_of(self.whole)
        return context

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x * torch.tensor(self.config.hidden_size**0.5, dtype=x.dtype))

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        positions = context.extra["positions"]
        if positions is None:
            past = context.cache.get_seq_length() if context.cache is not None else 0
            positions = (torch.arange(x.shape[1], device=x.device) + past)[None]
        context.rope = self.make_rope(positions, x)
        return super().run_layers(x, context)

    def close(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(x))

    def window(self, kind: str, more: int = 0) -> int | None:
        """How far a kind of layer sees."""
        return self.config.sliding_window + more if kind == "sliding_attention" else None


class Encoder(Side, seq2seq.Encoder):
    """Reads the source."""

    part, places = "encoder", "position_ids"
    layer_class = EncoderLayer
    packs = False  # positions may be given

    def forward(self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        return super().forward(input_ids, self.told_padding(attention_mask, input_ids), **kwargs)

    def make_masks(self, attention_mask: Tensor | None, x: Tensor) -> dict[Any, Mask]:
        """By kind of layer; a window reaches as far as its size to both sides, its end included."""
        masks, size = {}, x.shape[1]
        for kind in dict.fromkeys(self.config.layer_types):
            window = self.window(kind, 1)
            masks[kind] = decoder_mask(attention_mask, size, size, 0, 0, x.device, window=window, bidirectional=True)
        return masks


class Decoder(Side, seq2seq.Decoder):
    """Writes the target."""

    part, places = "decoder", "decoder_position_ids"
    layer_class = DecoderLayer

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        if encoder_hidden_states is None:
            text = f"{type(self).__name__}: pass encoder_hidden_states; every layer looks at them."
            raise ArgumentError(text, name="encoder_hidden_states")
        use_cache = (self.config.use_cache if use_cache is None else use_cache) and not self.training
        if past_key_values is None and not use_cache:
            attention_mask = self.told_padding(attention_mask, input_ids)
        kwargs.update(past_key_values=past_key_values, use_cache=use_cache)
        return super().forward(input_ids, attention_mask, encoder_hidden_states, **kwargs)

    def make_masks(self, attention_mask: Tensor | None, x: Tensor, cache: Any, past: Any) -> dict[Any, Mask]:
        queries, kinds, masks = x.shape[1], self.config.layer_types, {}
        for kind in dict.fromkeys(kinds):
            keys, start = cache.get_mask_sizes(queries, kinds.index(kind)) if cache is not None else (queries, 0)
            masks[kind] = decoder_mask(attention_mask, queries, keys, past, start, x.device, window=self.window(kind))
        return masks


class Model(seq2seq.Model):
    """T5Gemma without a head; each side has a table of tokens of its own."""

    embeddings_path = "encoder.embed_tokens"
    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: Any) -> None:
        """The sides make theirs."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {}

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def shift_right(self, ids: Tensor) -> Tensor:
        decoder = self.config.decoder
        return seq2seq.shift_tokens_right(ids, decoder.pad_token_id, decoder.bos_token_id)

    def make_output(self, out: Any, source: Any) -> Any:
        if out.hidden_states is None:  # clients read the last one without asking for any
            out.hidden_states = (out.last_hidden_state,)
        return super().make_output(out, source)


class EncoderModel(PreTrainedModel):
    """Hidden states of the source, by the encoder alone."""

    embeddings_path = "encoder.embed_tokens"
    passes_over = ("decoder", "lm_head")

    def __init__(self, config: Any):
        config = copy.deepcopy(config)  # it is another model's too
        config.is_encoder_decoder = False
        super().__init__(config)
        self.encoder = Encoder(config, None)

    def get_encoder(self) -> Any:
        return self.encoder

    def forward(self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        """Hidden states; arguments are the encoder's."""
        return self.encoder(input_ids, attention_mask, **kwargs)


# -- heads


class LMHead(nn.Module):
    """Scores of the vocabulary."""

    def __init__(self, size: int, count: int):
        super().__init__()
        self.out_proj = nn.Linear(size, count, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(x)


class LM(seq2seq_heads.LM):
    """Scores of the target's next token, squashed where the decoder's configuration says so."""

    output_path = "lm_head.out_proj"
    loss_caches = True  # it decides whether padding is told by its token

    def make_head(self, config: Any, table: Any) -> None:
        self.lm_head = LMHead(table.embedding_dim, table.num_embeddings)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.out_proj.weight": "model.decoder.embed_tokens.weight"}

    @property
    def ties_weights(self) -> bool:
        return self.config.tie_word_embeddings

    def shift_right(self, ids: Tensor) -> Tensor:
        return self.base_model.shift_right(ids)

    def after_resize(self, count: int) -> None:
        """The decoder's table grows with the encoder's."""
        decoder = self.get_decoder()
        decoder.set_input_embeddings(resized(decoder.get_input_embeddings(), count))
        self.config.encoder.vocab_size = self.config.decoder.vocab_size = count

    def loss(self, logits: Tensor, labels: Tensor, inputs: dict[str, Any]) -> Tensor:
        return token_loss(logits, labels, inputs.get("num_items_in_batch"))

    def score(self, hidden: Tensor) -> Tensor:
        logits, cap = self.lm_head(hidden), self.config.decoder.final_logit_softcapping
        return logits if cap is None else torch.tanh(logits / cap) * cap


class ClassificationHead(nn.Module):
    """Dropout and projection."""

    def __init__(self, config: Any):
        super().__init__()
        side = config.decoder if config.is_encoder_decoder else config.encoder
        self.dropout = nn.Dropout(config.classifier_dropout_rate)
        self.out_proj = nn.Linear(side.hidden_size, config.num_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.dropout(x))


class TokenClassification(heads.Head):
    """A label for each token of the target, which is the source shifted right by one; or by the encoder alone."""

    output_class: ClassVar[Any] = TokenClassifierOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.score = ClassificationHead(config)

    def make_base(self, config: Any) -> None:
        if config.is_encoder_decoder:
            super().make_base(config)
            self.base_model.denoises = True
        else:
            self.model, self.passes_over = EncoderModel(config), EncoderModel.passes_over

    @property
    def ties_weights(self) -> bool:
        return False

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            position_ids: (batch, seq).
            labels: one per text or per token, as the head asks.
            return_dict: False gives a tuple.
            **kwargs: further inputs of the model without a head.
        """
        if self.config.is_encoder_decoder:
            kwargs["use_cache"] = False
        out = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, return_dict=True, **kwargs
        )
        logits = self.select(self.score(out.last_hidden_state), input_ids)
        loss = None if labels is None else self.loss(logits, labels)
        side = "decoder_" if self.config.is_encoder_decoder else ""
        kept = (getattr(out, f"{side}{name}") for name in ("hidden_states", "attentions"))
        return finish(self.output_class(loss, logits, *kept), return_dict, self.config)

    def select(self, logits: Tensor, input_ids: Tensor | None) -> Tensor:
        """Of the scores of all tokens those that are asked for."""
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels)


class SequenceClassification(TokenClassification):
    """A label from what stands where the last token that is no padding is read."""

    output_class = SequenceClassifierOutput
    last_tokens = heads.LastTokenClassification.last_tokens

    def select(self, logits: Tensor, input_ids: Tensor | None) -> Tensor:
        last = self.last_tokens(input_ids, len(logits))  # type: ignore[arg-type]
        if self.config.is_encoder_decoder and isinstance(last, Tensor):
            last = (last + 1).clamp(max=logits.shape[1] - 1)  # the target begins one later
        return logits[torch.arange(len(logits), device=logits.device), last]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(logits, labels, self.config)


BOTH = "attention_mask position_ids decoder_input_ids decoder_attention_mask decoder_position_ids encoder_outputs"
EMBEDS = "inputs_embeds decoder_inputs_embeds"
VARIANTS = {"t5gemma": Variant()}
TASKS = {
    "Model": reorder(Model, f"{BOTH} past_key_values {EMBEDS} use_cache"),
    "Seq2SeqLM": reorder(LM, f"{BOTH} past_key_values {EMBEDS} labels use_cache"),
    "SequenceClassification": reorder(SequenceClassification, f"{BOTH} {EMBEDS} labels"),
    "TokenClassification": reorder(TokenClassification, f"{BOTH} {EMBEDS} labels"),
    "TextEncoding": reorder(EncoderModel, "attention_mask position_ids inputs_embeds"),
}
