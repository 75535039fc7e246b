"""Any encoder beside any decoder that can look at it: encoder-decoder.

Rothe et al. 2019 (arXiv:1907.12461).
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from typing import Any, ClassVar

from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.losses import token_loss
from autoload.model import Variant, finish
from autoload.models.seq2seq import EncoderDecoder
from autoload.outputs import BaseModelOutput, Seq2SeqLMOutput


class Model(EncoderDecoder):
    """Scores of the target's next token, by a decoder that looks at an encoder of another kind.

    Args:
        config: of both; made from the two models where it is left out.
        encoder: the encoder; a fresh one from the configuration where it is left out.
        decoder: the decoder with its head, likewise.
    """

    base_model_prefix = "encoder_decoder"
    reads = None  # decoder_... are for the decoder
    encoder_task: ClassVar[str] = "Model"

    def __init__(self, config: Any = None, encoder: Any = None, decoder: Any = None):
        if config is None and (encoder is None or decoder is None):
            text = f"{type(self).__name__}: pass a configuration, or an encoder and a decoder."
            raise ArgumentError(text, name="config")
        if config is None:
            config = self.config_class.from_encoder_decoder_configs(encoder.config, decoder.config)
        super().__init__(config)
        self.encoder = encoder if encoder is not None else make_part(config, config.encoder, self.encoder_task)
        self.decoder = decoder if decoder is not None else make_part(config, config.decoder, "CausalLM")
        self.encoder.config, self.decoder.config = config.encoder, config.decoder
        self._check()
        width, own = config.encoder.hidden_size, getattr(config.decoder, "cross_attention_hidden_size", None)
        if own is not None and own != width:
            raise ConfigError("decoder.cross_attention_hidden_size", own, f"the encoder's hidden_size ({width})")
        self.projects = own is None and width != config.decoder.hidden_size
        if self.projects:
            self.enc_to_dec_proj = nn.Linear(width, config.decoder.hidden_size)
        keys = (*self.encoder.variant.keys, *self.decoder.variant.keys)
        self.variant = dataclasses.replace(type(self).variant, keys=keys)  # type: ignore[misc]

    def _check(self) -> None:
        if self.encoder.get_output_embeddings() is not None:
            text = f"{type(self.encoder).__name__} scores tokens; pass an encoder without a head."
            raise ArgumentError(text, name="encoder")
        readers = (self.decoder, self.decoder.base_model)
        if not any("encoder_hidden_states" in inspect.signature(part.forward).parameters for part in readers):
            text = f"{type(self.decoder).__name__} cannot look at an encoder; its type has no cross-attention."
            raise ArgumentError(text, name="decoder")

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike | None = None,
        *model_args: Any,
        **keywords: Any,
    ) -> Any:
        """Both sides from checkpoints of their own; cross-attention that the decoder's lacks is new.

        Args:
            encoder_pretrained_model_name_or_path: a directory or the name of a repository.
            decoder_pretrained_model_name_or_path: likewise.
            *model_args: for the encoder's constructor.
            **keywords: `encoder_...` and `decoder_...` go to the loading of each side, without the prefix;
                `encoder_model` and `decoder_model` are loaded models in place of names. Others are fields of the
                configuration, `decoder_start_token_id` among them only where given to the result.

        Raises:
            ArgumentError: neither a name nor a model for one side.
        """
        encoder_options, decoder_options = (
            {key[len(side) :]: keywords.pop(key) for key in [*keywords] if key.startswith(side)}
            for side in ("encoder_", "decoder_")
        )
        encoder = cls._load_side(
            "encoder", encoder_pretrained_model_name_or_path, cls.encoder_task, model_args, encoder_options, False
        )
        decoder = cls._load_side(
            "decoder", decoder_pretrained_model_name_or_path, "CausalLM", (), decoder_options, True
        )
        config = cls.config_class.from_encoder_decoder_configs(encoder.config, decoder.config, **keywords)
        return cls(config, encoder, decoder).eval()

    @staticmethod
    def _load_side(
        side: str, name: Any, task: str, model_args: tuple[Any, ...], options: dict[str, Any], decodes: bool
    ) -> Any:
        from autoload.auto import AUTO_CLASSES, load_config
        from autoload.registry import auto_class_name

        if (model := options.pop("model", None)) is not None:
            return model
        if name is None:
            text = f"from_encoder_decoder_pretrained: pass {side}_pretrained_model_name_or_path or {side}_model."
            raise ArgumentError(text, name=f"{side}_pretrained_model_name_or_path")
        config = options.pop("config", None)
        if config is None:
            config, options = load_config(name, return_unused_kwargs=True, **options)
        for field in ("is_decoder", "add_cross_attention"):
            if getattr(config, field, None) is not None:
                setattr(config, field, decodes)
        return AUTO_CLASSES[auto_class_name(task)].from_pretrained(name, *model_args, config=config, **options)

    # -- parts

    def can_generate(self) -> bool:
        return True

    def get_encoder(self) -> Any:
        return self.encoder

    def get_decoder(self) -> Any:
        return self.decoder

    def get_input_embeddings(self) -> Any:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.decoder.set_output_embeddings(value)

    @property
    def ties_weights(self) -> bool:
        return True  # each side says for itself

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {
            f"{name}.{target}": f"{name}.{source}"
            for name, side in (("encoder", self.encoder), ("decoder", self.decoder))
            if side.ties_weights
            for target, source in side._tied_weights_keys.items()
        }

    def resize_token_embeddings(self, *args: Any, **keywords: Any) -> nn.Module:
        """Refused: the two vocabularies are two."""
        text = f"{type(self).__name__}: resize model.encoder or model.decoder, each has a vocabulary of its own."
        raise ArgumentError(text, name="resize_token_embeddings")

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What the decoder reads to predict `labels`, for collators."""
        return self.shift_right(labels)

    # -- running

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
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, source).
            attention_mask: (batch, source), 0 at padding.
            decoder_input_ids: (batch, target); without them the decoder reads the labels, shifted right by one.
            decoder_attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_outputs: what the encoder gave, as an output or a tuple, in place of input_ids.
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, source, dim), in place of input_ids.
            decoder_inputs_embeds: (batch, target, dim), in place of decoder_input_ids.
            labels: (batch, target), -100 where nothing is asked.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
            **kwargs: output_attentions, output_hidden_states; with `decoder_` before it, what else the decoder takes;
                what else the encoder takes.
        """
        shared = {name: kwargs.pop(name) for name in ("output_attentions", "output_hidden_states") if name in kwargs}
        kwargs.pop("num_items_in_batch", None)  # this loss is a mean
        further = {key[8:]: kwargs.pop(key) for key in [*kwargs] if key.startswith("decoder_")}
        if encoder_outputs is None:
            encoder_outputs = self.encode(input_ids, attention_mask, inputs_embeds, shared | kwargs)
        elif not hasattr(encoder_outputs, "last_hidden_state"):
            encoder_outputs = BaseModelOutput(*encoder_outputs[:3])
        states = encoder_outputs.last_hidden_state
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.shift_right(labels)
            if decoder_attention_mask is None:
                decoder_attention_mask = (decoder_input_ids != self.config.pad_token_id).long()
        out = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=self.enc_to_dec_proj(states) if self.projects else states,
            encoder_attention_mask=self.source_mask(attention_mask, states),
            **further,
            **shared,
            inputs_embeds=decoder_inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            return_dict=True,
        )
        result = Seq2SeqLMOutput(
            loss=None if labels is None else token_loss(out.logits, labels),
            logits=out.logits,
            past_key_values=out.past_key_values,
            decoder_hidden_states=out.hidden_states,
            decoder_attentions=out.attentions,
            cross_attentions=out.cross_attentions,
            encoder_last_hidden_state=states,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )
        return finish(result, return_dict, self.config)

    def encode(self, source: Any, attention_mask: Tensor | None, inputs_embeds: Tensor | None, more: Any) -> Any:
        """The encoder's output."""
        return self.encoder(
            source, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **more
        )

    def source_mask(self, attention_mask: Tensor | None, states: Tensor) -> Tensor | None:
        """Which of the encoder's states the decoder may look at, (batch, states)."""
        return attention_mask


def make_part(whole: Any, config: Any, task: str) -> Any:
    """A model with its own configuration inside another's, with the kernel of the whole."""
    from autoload.registry import class_for

    if config._attn_implementation is None:
        config._attn_implementation = whole._attn_implementation
    return class_for(config, task)(config)


VARIANTS = {"encoder-decoder": Variant()}
TASKS = {"Seq2SeqLM": Model}
