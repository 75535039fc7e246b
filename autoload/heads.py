"""Task heads that families share. A head holds the model without a head under `base_model_prefix`."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.losses import causal_lm_loss, classification_loss, span_loss, token_loss
from autoload.model import PreTrainedModel, finish
from autoload.outputs import (
    CausalLMOutputWithPast,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

logger = logging.getLogger("autoload")


class Head(PreTrainedModel):
    """A base model and something on top of it."""

    base_options: ClassVar[dict[str, Any]] = {}  # for the base model's constructor
    further_outputs: ClassVar[tuple[str, ...]] = ()  # of the base model, that the head's output has too

    def __init__(self, config: Any):
        super().__init__(config)
        self.make_base(config)
        self.num_labels = config.num_labels

    def make_base(self, config: Any) -> None:
        """The model without a head, under its name."""
        self.add_module(self.base_model_prefix, self.base_class(config, **self.base_options))

    def hand_on(self, kind: Any, out: Any, **own: Any) -> Any:
        """The head's own results, and what it hands on from the base model's."""
        further = {name: getattr(out, name) for name in ("hidden_states", "attentions", *self.further_outputs)}
        return kind(**own, **further)


def classifier_dropout(config: Any) -> float:
    """The dropout before a classifier: its own setting where there is one."""
    for name in ("classifier_dropout", "classifier_dropout_prob"):
        if (own := getattr(config, name, None)) is not None:
            return own
    return config.hidden_dropout_prob


# -- on decoders


class CausalLM(Head):
    """Scores of the next token."""

    output_path: ClassVar[str] = "lm_head"
    head_bias = False
    lm_head: nn.Linear  # unless `output_path` says another name

    def __init__(self, config: Any):
        super().__init__(config)
        text = config.get_text_config()
        self.add_module(self.output_path, nn.Linear(text.hidden_size, text.vocab_size, bias=self.head_bias))

    def can_generate(self) -> bool:
        return True

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {f"{self.output_path}.weight": f"{self.base_model_prefix}.{self.base_model.embeddings_path}.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary: (..., dim) to (..., vocabulary)."""
        return getattr(self, self.output_path)(hidden)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
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
            attention_mask: (batch, all tokens so far), 0 at padding; or (batch, 1, queries, keys).
            position_ids: (batch, seq).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            labels: (batch, seq), -100 where nothing is asked.
            use_cache: give a cache back.
            logits_to_keep: score only that many last positions (0: all), or the positions in a tensor.
            return_dict: False gives a tuple.
        """
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.score(out.last_hidden_state[:, kept])
        loss = None
        if labels is not None or kwargs.get("shift_labels") is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **kwargs)
        return finish(self.output(loss, logits, out), return_dict, self.config)

    def output(self, loss: Tensor | None, logits: Tensor, out: Any) -> Any:
        """The result, from the scores and the base model's output."""
        return CausalLMOutputWithPast(loss, logits, out.past_key_values, out.hidden_states, out.attentions)


class LastTokenClassification(Head):
    """Labels from the last token that is no padding."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.score = nn.Linear(config.get_text_config().hidden_size, config.num_labels, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        logits = self.scores(out.last_hidden_state)
        logits = logits[torch.arange(len(logits), device=logits.device), self.last_tokens(input_ids, len(logits))]
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        out = SequenceClassifierOutputWithPast(loss, logits, out.past_key_values, out.hidden_states, out.attentions)
        return finish(out, return_dict, self.config)

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores of every token: (batch, seq, dim) to (batch, seq, labels)."""
        return self.score(hidden)

    def last_tokens(self, input_ids: Tensor | None, batch: int) -> Tensor | int:
        """Place of the last token that is not padding, on whichever side the padding is; (batch,)."""
        padding = self.config.get_text_config().pad_token_id
        if padding is None and batch != 1:
            text = f"{type(self).__name__}: a batch of {batch} needs config.pad_token_id, which is None. Set it."
            raise ArgumentError(text, name="pad_token_id")
        if padding is None or input_ids is None:
            return -1
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return (places * (input_ids != padding)).argmax(-1)


class DecoderTokenClassification(Head):
    """A label for each token."""

    def __init__(self, config: Any):
        super().__init__(config)
        found = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.dropout = nn.Dropout(next((rate for rate in found if rate is not None), 0.1))
        bias = getattr(config, "token_classification_bias", True)
        self.score = nn.Linear(config.get_text_config().hidden_size, config.num_labels, bias=bias)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq)."""
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        logits = self.scores(out.last_hidden_state)
        loss = None if labels is None else self.loss(logits, labels, attention_mask)
        return finish(TokenClassifierOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)

    def scores(self, hidden: Tensor) -> Tensor:
        """(batch, seq, dim) to (batch, seq, labels)."""
        return self.score(self.dropout(hidden))

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class DecoderQuestionAnswering(Head):
    """Where an answer begins and ends."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """start_positions, end_positions: (batch,)."""
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        return span_output(
            self, self.qa_outputs(out.last_hidden_state), start_positions, end_positions, out, return_dict
        )


def span_output(
    model: Head, logits: Tensor, start: Tensor | None, end: Tensor | None, out: Any, return_dict: bool | None
) -> Any:
    """The output of a question answering head from its scores (batch, seq, 2)."""
    start_logits, end_logits = (x.squeeze(-1).contiguous() for x in logits.split(1, -1))
    loss = None if start is None or end is None else span_loss(start_logits, end_logits, start, end)
    kind = getattr(model, "output_class", QuestionAnsweringModelOutput)
    result = model.hand_on(kind, out, loss=loss, start_logits=start_logits, end_logits=end_logits)
    return finish(result, return_dict, model.config)


# -- on encoders


class EncoderHead(Head):
    """Calls its base model; subclasses turn hidden states into scores, and labels into a loss."""

    output_class: ClassVar[Any] = SequenceClassifierOutput
    accumulates: ClassVar[bool] = False  # `loss` takes the number of labels of all batches that a step adds up

    def scores(self, out: Any) -> Tensor:
        """Scores from the base model's output, or from what `select` took of it."""
        raise NotImplementedError

    def select(self, out: Any, attention_mask: Tensor | None) -> Any:
        """What the scores are made from; for heads that average over the tokens that are no padding."""
        return out

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return classification_loss(logits, labels, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            labels: one per text or per token, as the head asks.
            return_dict: False gives a tuple.
        """
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        logits = self.scores(self.select(out, attention_mask))
        counted = {"num_items": kwargs.get("num_items_in_batch")} if self.accumulates else {}
        loss = None if labels is None else self.loss(logits, labels, attention_mask, **counted)
        return finish(self.hand_on(self.output_class, out, loss=loss, logits=logits), return_dict, self.config)


class PooledClassification(EncoderHead):
    """Labels from the pooled first token."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(out.pooler_output))


class TwoLayerClassifier(nn.Module):
    """Dense layer, tanh and projection on the first token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def activation(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def forward(self, hidden: Tensor) -> Tensor:
        x = self.dropout(hidden[:, 0])  # (batch, dim)
        return self.out_proj(self.dropout(self.activation(self.dense(x))))


class FirstTokenClassification(EncoderHead):
    """Labels from the first token through a two-layer classifier."""

    base_options = {"add_pooling_layer": False}
    classifier_class: ClassVar[Any] = TwoLayerClassifier

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = self.classifier_class(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(out.last_hidden_state)


class TokenClassification(EncoderHead):
    """A label for each token."""

    base_options = {"add_pooling_layer": False}
    output_class = TokenClassifierOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(out.last_hidden_state))

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class QuestionAnswering(Head):
    """Where an answer begins and ends."""

    base_options = {"add_pooling_layer": False}

    def __init__(self, config: Any):
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        """Scores of both ends from the base model's output: (batch, seq, 2)."""
        return self.qa_outputs(out.last_hidden_state)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """start_positions, end_positions: (batch,)."""
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        out = self.base_model(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        return span_output(self, self.scores(out), start_positions, end_positions, out, return_dict)


class MultipleChoice(EncoderHead):
    """One score for each of several continuations: (batch, choices, seq) goes in, (batch, choices) comes out."""

    output_class = MultipleChoiceModelOutput
    further_inputs: ClassVar[tuple[str, ...]] = ()  # that have the axis of choices too

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, 1)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(out.pooler_output))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Each input has one more axis than elsewhere, (batch, choices, ...); labels: (batch,)."""
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None:
            raise ArgumentError("forward: pass input_ids or inputs_embeds.", name="input_ids")
        flat = (
            None if x is None else x.flatten(0, 1)
            for x in (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        )
        for name in self.further_inputs:
            if kwargs.get(name) is not None:
                kwargs[name] = kwargs[name].flatten(0, 1)
        out = super().forward(*flat, return_dict=True, **kwargs)
        logits = out.logits.view(-1, given.shape[1])  # (batch, choices)
        loss = None if labels is None else token_loss(logits, labels)
        return finish(self.hand_on(self.output_class, out, loss=loss, logits=logits), return_dict, self.config)


class MaskedLMHead(EncoderHead):
    """Scores of hidden tokens; what is on top of the base model is the subclass's."""

    base_options = {"add_pooling_layer": False}

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None, num_items: Any = None) -> Tensor:
        return token_loss(logits, labels, num_items)


class EncoderCausalLM(Head):
    """Scores of the next token, from an encoder that looks only backwards (`is_decoder`)."""

    base_options = {"add_pooling_layer": False}

    def __init__(self, config: Any):
        super().__init__(config)
        if not getattr(config, "is_decoder", True):
            logger.warning(
                "%s looks both ways; pass is_decoder=True to let it predict the next token.", type(self).__name__
            )

    def can_generate(self) -> bool:
        return True

    def score(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary: (..., dim) to (..., vocabulary)."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `CausalLM`, with an encoder's states (batch, source, dim) to look at, where it has cross-attention."""
        from autoload.outputs import CausalLMOutputWithCrossAttentions

        if labels is not None:
            use_cache = False
        out = self.base_model(
            input_ids,
            attention_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.score(out.last_hidden_state[:, kept])
        loss = None if labels is None else causal_lm_loss(logits, labels, **kwargs)
        result = CausalLMOutputWithCrossAttentions(
            loss, logits, out.past_key_values, out.hidden_states, out.attentions, out.cross_attentions
        )
        return finish(result, return_dict, self.config)
