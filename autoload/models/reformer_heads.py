"""The heads of Reformer, which read both of its streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.heads import Head, TwoLayerClassifier, span_output
from autoload.losses import causal_lm_loss, classification_loss, token_loss
from autoload.model import finish
from autoload.outputs import ALWAYS, MaskedLMOutput, ModelOutput, SequenceClassifierOutput, States


@dataclass
class ReformerModelWithLMHeadOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_buckets_states: Any = None
    hidden_states: States = None
    attentions: States = None


KINDS = ("lsh", "local")  # of attention


class WordScores(nn.Module):
    """Scores of the vocabulary, from both streams. The bias is kept, not used."""

    def __init__(self, config: Any):
        super().__init__()
        self.decoder = nn.Linear(2 * config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(x)


class ReformerHead(Head):
    """Takes its inputs in the order that Reformer's heads have them."""

    output_class: ClassVar[Any] = SequenceClassifierOutput

    def scores(self, hidden: Tensor) -> Tensor:
        """From (batch, seq, 2 * dim)."""
        raise NotImplementedError

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        num_hashes: int | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the model without a head; labels: one per text or per token, as the head asks."""
        out = self.base_model(
            input_ids, attention_mask, position_ids, inputs_embeds, num_hashes, return_dict=True, **kwargs
        )
        logits = self.scores(out.last_hidden_state)
        loss = None if labels is None else self.loss(logits, labels)
        return finish(self.hand_on(self.output_class, out, loss=loss, logits=logits), return_dict, self.config)


class MaskedLM(ReformerHead):
    """Hidden tokens."""

    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        if config.is_decoder:
            raise ConfigError("is_decoder", True, "false: hidden tokens are told from both sides")
        self.lm_head = WordScores(config)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels)


class CausalLM(Head):
    """The next token. Every step of generation reads the whole text."""

    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        if not config.is_decoder:
            raise ConfigError("is_decoder", config.is_decoder, "true: the next token is told from what is before it")
        for kind in KINDS:
            name = f"{kind}_num_chunks_after"
            if kind in config.attn_layers and getattr(config, name) != 0:
                raise ConfigError(name, getattr(config, name), "0 in a decoder")
        self.lm_head = WordScores(config)

    def can_generate(self) -> bool:
        return True

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, next_sequence_length: int | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        return super().prepare_inputs_for_generation(input_ids, None, **kwargs)

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        num_hashes: int | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, seq), -100 where nothing is asked."""
        flags = {name: kwargs.pop(name, None) for name in ("output_hidden_states", "output_attentions")}
        out = self.base_model(
            input_ids, attention_mask, position_ids, inputs_embeds, num_hashes, return_dict=True, **flags
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        loss = None if labels is None else causal_lm_loss(logits, labels, **kwargs)
        result = self.hand_on(ReformerModelWithLMHeadOutput, out, loss=loss, logits=logits)
        return finish(result, return_dict, self.config)


class Classifier(TwoLayerClassifier):
    """On both streams."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dense = nn.Linear(2 * config.hidden_size, config.hidden_size)


class Classification(ReformerHead):
    """A label from the first token."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = Classifier(config)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.classifier(hidden)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(logits, labels, self.config)


class Answer(Head):
    """Where an answer begins and ends."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.qa_outputs = nn.Linear(2 * config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        num_hashes: int | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """start_positions, end_positions: (batch,)."""
        out = self.base_model(
            input_ids, attention_mask, position_ids, inputs_embeds, num_hashes, return_dict=True, **kwargs
        )
        scores = self.qa_outputs(out.last_hidden_state)
        return span_output(self, scores, start_positions, end_positions, out, return_dict)


TASKS = {
    "CausalLM": CausalLM,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "QuestionAnswering": Answer,
}
