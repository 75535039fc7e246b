"""Heads of encoder-decoders: the next token, a label, an answer; and the decoder alone."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.losses import classification_loss, span_loss, token_loss
from autoload.model import PreTrainedModel, finish
from autoload.models.seq2seq import Decoder, EncoderDecoder
from autoload.outputs import (
    CausalLMOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    Seq2SeqSequenceClassifierOutput,
)

INPUTS = (
    *("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask", "encoder_outputs"),
    *("past_key_values", "inputs_embeds", "decoder_inputs_embeds", "use_cache"),
)


class Head(EncoderDecoder, heads.Head):
    """A model of both sides and something on top of it."""

    def states(self, *inputs: Any, **kwargs: Any) -> Any:
        """Hidden states of both sides; `inputs` are those of `INPUTS`."""
        return self.base_model(**dict(zip(INPUTS, inputs, strict=True)), return_dict=True, **kwargs)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        prefix = self.base_model_prefix
        tied = self.base_model._tied_weights_keys.items()
        return {f"{prefix}.{target}": f"{prefix}.{source}" for target, source in tied}

    output_class: ClassVar[Any]

    def hand_on(self, kind: Any, out: Any, **own: Any) -> Any:
        fields = kind.__dataclass_fields__
        return kind(**own, **{name: value for name, value in out.items() if name in fields})


class LM(Head):
    """Scores of the target's next token."""

    output_class = Seq2SeqLMOutput
    loss_caches: ClassVar[bool] = False  # a cache is made where there are labels too
    output_path: ClassVar[str] = "lm_head"
    head_bias = False

    def __init__(self, config: Any):
        super().__init__(config)
        self.make_head(config, self.get_decoder().get_input_embeddings())

    def make_head(self, config: Any, table: Any) -> None:
        """The layer that scores the decoder's vocabulary."""
        self.lm_head = nn.Linear(table.embedding_dim, table.num_embeddings, bias=self.head_bias)

    def can_generate(self) -> bool:
        return True

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        table = f"{self.base_model_prefix}.{self.base_model.embeddings_path}.weight"
        return {**super()._tied_weights_keys, f"{self.output_path}.weight": table}

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What the decoder reads to predict `labels`, for collators."""
        return self.shift_right(labels)

    def score(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary: (..., dim) to (..., vocabulary)."""
        return self.get_output_embeddings()(hidden)

    def loss(self, logits: Tensor, labels: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Of the scores of all tokens; `inputs` are the further ones."""
        return token_loss(logits, labels)

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
        """Scores, and the loss when there are labels: (batch, target), -100 where nothing is asked.

        Without `decoder_input_ids` the decoder reads the labels, shifted right by one.
        """
        if labels is not None:
            use_cache = self.loss_caches and use_cache
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.shift_right(labels)
        out = self.states(
            *(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(past_key_values, inputs_embeds, decoder_inputs_embeds, use_cache),
            **kwargs,
        )
        return finish(self.result(out, labels, kwargs), return_dict, self.config)

    def result(self, out: Any, labels: Tensor | None, inputs: dict[str, Any]) -> Any:
        """Scores and loss, from the states of both sides and the type's further inputs."""
        logits = self.score(out.last_hidden_state)
        loss = None if labels is None else self.loss(logits, labels, inputs)
        return self.hand_on(self.output_class, out, loss=loss, logits=logits)


class BiasedLM(LM):
    """Adds a bias that no training changes."""

    computed = ("final_logits_bias",)

    def make_head(self, config: Any, table: Any) -> None:
        super().make_head(config, table)
        self.register_buffer("final_logits_bias", torch.zeros(1, table.num_embeddings))

    def init_own(self, std: float) -> None:
        self.final_logits_bias.zero_()

    def after_resize(self, count: int) -> None:
        kept = self.final_logits_bias[:, :count]
        self.final_logits_bias = nn.functional.pad(kept, (0, count - kept.shape[1]))

    def score(self, hidden: Tensor) -> Tensor:
        return super().score(hidden) + self.final_logits_bias


class ClassificationHead(nn.Module):
    """Dense layer, tanh and projection."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, size)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.out_proj = nn.Linear(size, config.num_labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(x)))))


class SequenceClassification(Head):
    """A label from the decoder's state at the last end of text; the decoder reads the source, shifted right by one."""

    output_class = Seq2SeqSequenceClassifierOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.classification_head = ClassificationHead(config, config.d_model)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        if input_ids is None:
            text = f"{type(self).__name__}: pass input_ids; embeddings do not say where a text ends."
            raise ArgumentError(text, name="input_ids")
        out = self.states(
            *(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(None, inputs_embeds, decoder_inputs_embeds, False if labels is not None else use_cache),
            **kwargs,
        )
        rows = torch.arange(len(input_ids), device=input_ids.device)
        logits = self.classification_head(out.last_hidden_state[rows, self.ends(input_ids)])
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        result = self.hand_on(self.output_class, out, loss=loss, logits=logits)
        return finish(result, return_dict, self.config)

    def ends(self, input_ids: Tensor) -> Tensor:
        """Place of the last end of text in each row, (batch,)."""
        is_end = input_ids == self.config.eos_token_id
        if not torch.compiler.is_compiling() and not bool(is_end.any(1).all()):
            row = int((~is_end.any(1)).nonzero()[0])
            text = f"{type(self).__name__}: row {row} of input_ids has no token {self.config.eos_token_id}, the end of a text."
            raise ArgumentError(f"{text} Tokenize with special tokens.", name="input_ids")
        return (torch.arange(input_ids.shape[1], device=input_ids.device) * is_end).argmax(1)


class QuestionAnswering(Head):
    """Where an answer begins and ends in the target."""

    output_class = Seq2SeqQuestionAnsweringModelOutput

    def __init__(self, config: Any):
        config.num_labels = 2
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.d_model, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """start_positions, end_positions: (batch,)."""
        asked = start_positions is not None and end_positions is not None
        out = self.states(
            *(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(None, inputs_embeds, decoder_inputs_embeds, False if asked else use_cache),
            **kwargs,
        )
        start, end = self.qa_outputs(out.last_hidden_state).unbind(-1)  # (batch, target) each
        loss = span_loss(start, end, start_positions, end_positions) if asked else None  # type: ignore[arg-type]
        result = self.hand_on(
            self.output_class,
            out,
            loss=loss,
            start_logits=start.contiguous(),
            end_logits=end.contiguous(),
        )
        return finish(result, return_dict, self.config)


# -- the decoder alone


class DecoderWrapper(PreTrainedModel):
    """Holds the decoder under the name that it has in the whole model."""

    embeddings_path = "decoder.embed_tokens"

    def __init__(self, config: Any, decoder: Decoder):
        super().__init__(config)
        self.decoder = decoder
        self.embeddings_path = f"decoder.{decoder.embeddings_path}"  # type: ignore[misc]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.decoder(*args, **kwargs)


class DecoderLM(PreTrainedModel):
    """Scores of the next token, by the decoder alone; the labels are not shifted."""

    output_path: ClassVar[str] = "lm_head"
    decoder_class: ClassVar[type]

    def __init__(self, config: Any):
        config = copy.deepcopy(config)  # it is another model's too
        config.is_encoder_decoder = False
        if hasattr(config, "is_decoder"):
            config.is_decoder = True
        super().__init__(config)
        self.model = DecoderWrapper(config, self.decoder_class(config, self.variant.spec(config)))
        table = self.get_input_embeddings()
        self.add_module(self.output_path, nn.Linear(config.hidden_size, table.num_embeddings, bias=False))
        self.read_from = {f"model.{self.model.embeddings_path}.weight": "model.shared.weight"}

    def can_generate(self) -> bool:
        return True

    def get_decoder(self) -> Any:
        return self.model.decoder

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {f"{self.output_path}.weight": f"model.{self.model.embeddings_path}.weight"}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, all tokens so far), 0 at padding.
            encoder_hidden_states: (batch, source, dim), to look at.
            encoder_attention_mask: (batch, source).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            labels: (batch, seq): what each position is to predict, not the token that stands there.
            use_cache: give a cache back.
            logits_to_keep: score only that many last positions (0: all), or the positions in a tensor.
            return_dict: False gives a tuple.
        """
        out = self.model(
            *(input_ids, attention_mask, encoder_hidden_states, encoder_attention_mask),
            *(past_key_values, inputs_embeds, use_cache),
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.get_output_embeddings()(out.last_hidden_state[:, kept])
        loss = None if labels is None else token_loss(logits, labels)
        result = CausalLMOutputWithCrossAttentions(
            loss, logits, out.past_key_values, out.hidden_states, out.attentions, out.cross_attentions
        )
        return finish(result, return_dict, self.config)
