"""What models share that read sounds and write texts: the model of both sides, and its scores of the next token."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from autoload.layers.augment import masked_spectrogram
from autoload.losses import token_loss
from autoload.model import finish
from autoload.models import seq2seq, seq2seq_heads


class Model(seq2seq.Model):
    """An encoder of sounds and a decoder of texts, without a head."""

    embeddings_path = "decoder.embed_tokens"
    main_input_name = "input_features"
    _tied_weights_keys: ClassVar[dict[str, str]] = {}  # type: ignore[assignment]

    def make_tables(self, config: Any, spec: Any) -> None:
        """The encoder reads no tokens, so that the table is the decoder's."""

    @property
    def sides(self) -> tuple[Any, ...]:
        return (self.decoder,)

    def source_mask(self, source: Any, attention_mask: Tensor | None) -> Tensor | None:
        return self.encoder.thinned(attention_mask, source.last_hidden_state.shape[1])

    def freeze_encoder(self) -> None:
        """Train the decoder alone."""
        self.encoder.requires_grad_(False)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the text.

        Args:
            input_features: of the sounds, as the encoder reads them.
            attention_mask: (batch, frames), 0 at padding.
            decoder_input_ids: (batch, target).
            decoder_attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_outputs: what the encoder gave, as an output or a tuple, in place of input_features.
            past_key_values: cache of earlier steps.
            decoder_inputs_embeds: (batch, target, dim), in place of decoder_input_ids.
            decoder_position_ids: (batch, target), where these are not counted from the first token.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
            **kwargs: output_attentions, output_hidden_states.
        """
        augments = self.training and getattr(self.config, "apply_spec_augment", False)
        if augments and input_features is not None:
            input_features = masked_spectrogram(input_features, self.config, attention_mask)
        source = self.encode(encoder_outputs, input_features=input_features, attention_mask=attention_mask, **kwargs)
        out = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=source.last_hidden_state,
            encoder_attention_mask=self.source_mask(source, attention_mask),
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            position_ids=decoder_position_ids,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        return finish(self.make_output(out, source), return_dict, self.config)


class LM(seq2seq_heads.LM):
    """Scores of the text's next token."""

    main_input_name = "input_features"

    def freeze_encoder(self) -> None:
        """Train the decoder alone."""
        self.base_model.freeze_encoder()

    def check_labels(self, labels: Tensor) -> None:
        """Refuse what the decoder has no positions for."""

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels: (batch, target), -100 where nothing is asked.

        Without `decoder_input_ids` the decoder reads the labels, shifted right by one.
        """
        if labels is not None:
            self.check_labels(labels)
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.shift_right(labels)
        positions = {} if decoder_position_ids is None else {"decoder_position_ids": decoder_position_ids}
        out = self.base_model(
            *(input_features, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            past_key_values=past_key_values,
            decoder_inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **positions,
            **kwargs,
        )
        logits = self.score(out.last_hidden_state)
        loss = None if labels is None else token_loss(logits, labels, kwargs.get("num_items_in_batch"))
        return finish(self.hand_on(self.output_class, out, loss=loss, logits=logits), return_dict, self.config)
