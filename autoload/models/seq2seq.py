"""What encoder-decoders share: the steps of an encoder's and of a decoder's pass, and the model of both.

No model type lives here; the families bart and t5 build on it, with the heads of seq2seq_heads.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context, Mask, decoder_mask, encoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.model import PreTrainedModel, finish
from autoload.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqModelOutput,
)


def shift_tokens_right(ids: Tensor, pad: int | None, start: int | None) -> Tensor:
    """What a decoder reads to predict `ids`: a start token first, the last token dropped, padding for -100."""
    if pad is None:
        raise ConfigError("pad_token_id", None, "a token number, to make decoder_input_ids")
    if start is None:
        raise ConfigError("decoder_start_token_id", None, "a token number, to make decoder_input_ids")
    shifted = torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], 1)
    return shifted.masked_fill(shifted == -100, pad)


def finite(x: Tensor) -> Tensor:
    """fp16 overflows in these models; what is too large becomes the largest number, with a margin."""
    if x.dtype != torch.float16:
        return x
    limit = torch.finfo(x.dtype).max - 1000
    return x.clamp(-limit, limit)


# -- the two sides


class Stack(PreTrainedModel):
    """One side of the model. Subclasses name the parameters, and say what comes before and after the layers."""

    embeddings_path = "embed_tokens"
    layers: nn.ModuleList
    layerdrop = 0.0  # probability to skip a layer in training (arXiv:1909.11556)

    def lookup(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, prefix: str = "") -> Tensor:
        """Vectors of the tokens, (batch, seq, dim)."""
        if (input_ids is None) == (inputs_embeds is None):
            text = f"forward: pass {prefix}input_ids or {prefix}inputs_embeds, one of them."
            raise ArgumentError(text, name=f"{prefix}input_ids")
        return self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        """From the tokens' vectors to what the first layer reads; `past` tokens came before."""
        raise NotImplementedError

    def close(self, x: Tensor) -> Tensor:
        """What follows the last layer."""
        return x

    def with_biases(self, mask: Mask, queries: int, keys: int, past: Any, x: Tensor) -> dict[Any, Mask]:
        """A mask for each kind of layer, from what is hidden; x gives dtype and device."""
        return {"full": mask}

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What layers get of the type's further inputs, and lists that they fill."""
        return {}

    def wrap(self, out: Any, context: Context) -> Any:
        """The output, with what layers left in `context.extra`."""
        return out

    def context(self, cache: Any, attentions: bool | None, states: bool | None, **fields: Any) -> Context:
        """What all layers get, from the arguments of forward and the configuration."""
        config = self.config
        attentions = config.output_attentions if attentions is None else attentions
        states = config.output_hidden_states if states is None else states
        return Context(
            cache=cache, kernel=kernel_of(config), attentions=[] if attentions else None, states=bool(states), **fields
        )

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last layer, and what went into each."""
        seen = []
        for layer in self.layers:
            if self.training and self.layerdrop and torch.rand([]) < self.layerdrop:
                continue
            if context.states:
                seen.append(x)
            x = self.run(layer, x, context)
        return self.close(x), seen


class Encoder(Stack):
    """Reads the source, in both directions."""

    packs: ClassVar[bool] = True  # layers see tokens, not places: padding can be left out

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the source.

        Args:
            input_ids: (batch, source).
            attention_mask: (batch, source), 0 at padding.
            inputs_embeds: (batch, source, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        x = self.lookup(input_ids, inputs_embeds)
        context = self.context(None, output_attentions, output_hidden_states, extra=self.extra(kwargs))
        packs = self.packs and not self.training  # dropout draws its random numbers for padding too
        packing = context.packing_of(attention_mask) if packs else None
        context.masks = self.make_masks(attention_mask if packing is None else None, x)
        x = self.embed(x, input_ids, 0)
        if packing is not None:
            x, context = packing.pack(x), context.packed(packing, context.masks)
        x, seen = self.run_layers(x, context)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        attentions = tuple(context.attentions) if context.attentions is not None else None
        out = self.wrap(BaseModelOutput(x, (*seen, x) if context.states else None, attentions), context)
        return finish(out, return_dict, self.config)

    def make_masks(self, attention_mask: Tensor | None, x: Tensor) -> dict[Any, Mask]:
        """A mask for each kind of layer."""
        return self.with_biases(encoder_mask(attention_mask), x.shape[1], x.shape[1], 0, x)


class Decoder(Stack):
    """Writes the target, looking back at it and at the encoder's states."""

    empty_cross_attentions: ClassVar[bool] = True  # given, without entries, where there is no encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the target.

        Args:
            input_ids: (batch, target).
            attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_hidden_states: (batch, source, dim).
            encoder_attention_mask: (batch, source).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, target, dim), in place of input_ids.
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        x = self.lookup(input_ids, inputs_embeds, "decoder_" if self.config.is_encoder_decoder else "")
        caching = self.config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        cache = past_key_values
        if caching and cache is None:
            crosses = encoder_hidden_states is not None or self.config.is_encoder_decoder
            cache = EncoderDecoderCache() if crosses else DynamicCache()
        past = cache.get_seq_length() if cache is not None else 0
        context = self.context(
            *(cache, output_attentions, output_hidden_states),
            encoder=encoder_hidden_states,
            extra=self.extra(kwargs),
        )
        context.encoder_mask = encoder_mask(encoder_attention_mask)
        looks = encoder_hidden_states is not None or self.empty_cross_attentions
        context.cross_attentions = [] if context.attentions is not None and looks else None
        context.masks = self.make_masks(attention_mask, x, cache, past)
        x, seen = self.run_layers(self.embed(x, input_ids, past), context)
        out = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=x,
            past_key_values=cache if caching else None,
            hidden_states=(*seen, x) if context.states else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
            cross_attentions=tuple(context.cross_attentions) if context.cross_attentions is not None else None,
        )
        return finish(self.wrap(out, context), return_dict, self.config)

    def make_masks(self, attention_mask: Tensor | None, x: Tensor, cache: Any, past: Any) -> dict[Any, Mask]:
        """A mask for each kind of layer."""
        queries = x.shape[1]
        keys, start = cache.get_mask_sizes(queries, 0) if cache is not None else (queries, 0)
        mask = decoder_mask(attention_mask, queries, keys, past, start, x.device)
        return self.with_biases(mask, queries, keys, past, x)


# -- the model of both


class EncoderDecoder(PreTrainedModel):
    """What the model and its heads can both do."""

    def get_encoder(self) -> Any:
        return self.base_model.encoder

    def get_decoder(self) -> Any:
        return self.base_model.decoder

    def shift_right(self, ids: Tensor) -> Tensor:
        """What the decoder reads to predict `ids`, (batch, seq)."""
        return shift_tokens_right(ids, self.config.pad_token_id, self.config.decoder_start_token_id)


class Model(EncoderDecoder):
    """Encoder and decoder without a head."""

    embeddings_path = "shared"
    encoder_class: ClassVar[type]
    decoder_class: ClassVar[type]
    denoises: ClassVar[bool] = False  # without a target, the source is what the decoder predicts
    shared: nn.Module

    def __init__(self, config: Any):
        super().__init__(config)
        self.make_sides(config)

    def make_sides(self, config: Any) -> None:
        spec = self.variant.spec(config)
        self.make_tables(config, spec)
        self.encoder = self.encoder_class(config, spec)
        self.decoder = self.decoder_class(config, spec)

    def make_tables(self, config: Any, spec: Any) -> None:
        """The table of tokens that both sides share."""
        raise NotImplementedError

    @property
    def sides(self) -> tuple[Any, Any]:
        return self.encoder, self.decoder

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        path = f"{self.embeddings_path}.weight"
        return {
            f"encoder.{self.encoder.embeddings_path}.weight": path,
            f"decoder.{self.decoder.embeddings_path}.weight": path,
        }

    def set_input_embeddings(self, value: nn.Module) -> None:
        super().set_input_embeddings(value)
        for part in self.sides:
            part.set_input_embeddings(value)

    def encode(self, encoder_outputs: Any, **inputs: Any) -> Any:
        """The encoder's output: the given one, with names, or a new one."""
        if encoder_outputs is None:
            return self.encoder(return_dict=True, **inputs)
        named = hasattr(encoder_outputs, "last_hidden_state")
        return encoder_outputs if named else BaseModelOutput(*encoder_outputs[:3])

    def source_mask(self, source: Any, attention_mask: Tensor | None) -> Tensor | None:
        """Which of the encoder's states are no padding, (batch, source)."""
        return attention_mask

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the target.

        Args:
            input_ids: (batch, source).
            attention_mask: (batch, source), 0 at padding.
            decoder_input_ids: (batch, target).
            decoder_attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_outputs: what the encoder gave, as an output or a tuple, in place of input_ids.
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, source, dim), in place of input_ids.
            decoder_inputs_embeds: (batch, target, dim), in place of decoder_input_ids.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
            **kwargs: output_attentions, output_hidden_states; further inputs of the type.
        """
        if self.denoises and decoder_input_ids is None and decoder_inputs_embeds is None:
            if input_ids is None:
                text = "forward: pass decoder_input_ids or decoder_inputs_embeds, or input_ids to take their place."
                raise ArgumentError(text, name="decoder_input_ids")
            decoder_input_ids = self.shift_right(input_ids)
        source = self.encode(
            encoder_outputs, input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        )
        out = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=source.last_hidden_state,
            encoder_attention_mask=self.source_mask(source, attention_mask),
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        return finish(self.make_output(out, source), return_dict, self.config)

    def make_output(self, out: Any, source: Any) -> Any:
        """The result, from the decoder's output and the encoder's."""
        return Seq2SeqModelOutput(
            last_hidden_state=out.last_hidden_state,
            past_key_values=out.past_key_values,
            decoder_hidden_states=out.hidden_states,
            decoder_attentions=out.attentions,
            cross_attentions=out.cross_attentions,
            encoder_last_hidden_state=source.last_hidden_state,
            encoder_hidden_states=source.hidden_states,
            encoder_attentions=source.attentions,
        )
