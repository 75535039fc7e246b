"""Splinter's heads: spans that answer the question which a special token stands for.

Ram et al. 2021 (arXiv:2101.00438). Its variant stands in `bert_kin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.losses import cross_entropy, span_loss
from autoload.model import finish
from autoload.outputs import ALWAYS, ModelOutput, QuestionAnsweringModelOutput, States


@dataclass
class SplinterForPreTrainingOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, questions, seq)."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


class Transform(nn.Module):
    """Dense layer, gelu, norm."""

    def __init__(self, size: int):
        super().__init__()
        self.dense = nn.Linear(size, size)
        self.LayerNorm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class SpanSelection(nn.Module):
    """How well each token begins and ends the answer to each question."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.query_start_transform, self.query_end_transform = Transform(size), Transform(size)
        self.start_transform, self.end_transform = Transform(size), Transform(size)
        self.start_classifier = nn.Linear(size, size, bias=False)
        self.end_classifier = nn.Linear(size, size, bias=False)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """x: (batch, seq, dim); positions: (batch, questions); gives (batch, questions, seq) twice."""
        asked = x.gather(1, positions[..., None].expand(-1, -1, x.shape[-1]))  # (batch, questions, dim)
        start = self.start_classifier(self.query_start_transform(asked)) @ self.start_transform(x).transpose(1, 2)
        end = self.end_classifier(self.query_end_transform(asked)) @ self.end_transform(x).transpose(1, 2)
        return start, end


class SpanHead(Head):
    """Scores both ends of spans; subclasses say where the questions are and what the loss is."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.splinter_qass = SpanSelection(config)

    def spans(
        self, input_ids: Tensor | None, attention_mask: Tensor | None, positions: Tensor, **kwargs: Any
    ) -> tuple[Any, Tensor, Tensor]:
        """The base model's output, and the scores of both ends, (batch, questions, seq)."""
        out = self.base_model(input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        start, end = self.splinter_qass(out.last_hidden_state, positions)
        if attention_mask is not None:
            hidden = (1 - attention_mask[:, None]) * torch.finfo(start.dtype).min
            start, end = start + hidden, end + hidden
        return out, start, end


class QuestionAnswering(SpanHead):
    """Where the answer to one question begins and ends."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        question_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """start_positions, end_positions: (batch,); question_positions: (batch, questions), else the first of each."""
        asked = question_positions
        if asked is None:
            if input_ids is not None:
                asked = (input_ids == self.config.question_token_id).int().argmax(-1, keepdim=True)
            elif inputs_embeds is not None:
                asked = torch.zeros((len(inputs_embeds), 1), dtype=torch.long, device=inputs_embeds.device)
            else:
                raise ArgumentError("forward: pass input_ids or inputs_embeds.", name="input_ids")
        kwargs |= dict(token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds)
        out, start, end = self.spans(input_ids, attention_mask, asked, **kwargs)
        if question_positions is None:
            start, end = start.squeeze(1), end.squeeze(1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start, end, start_positions, end_positions)
        result = QuestionAnsweringModelOutput(loss, start, end, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


class PreTraining(SpanHead):
    """Where the answers to several questions begin and end."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        question_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """All positions: (batch, questions). The loss needs the questions' too."""
        labelled = start_positions is not None and end_positions is not None
        if question_positions is None:
            if labelled or input_ids is None:
                text = "forward: pass question_positions, (batch, questions), with labels or with inputs_embeds."
                raise ArgumentError(text, name="question_positions")
            question_positions = self.find_questions(input_ids)
        kwargs |= dict(token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds)
        out, start, end = self.spans(input_ids, attention_mask, question_positions, **kwargs)
        loss = None
        if start_positions is not None and end_positions is not None:
            last, padding = max(0, start.shape[-1] - 1), self.config.pad_token_id
            pairs = ((start, start_positions), (end, end_positions))
            losses = (
                cross_entropy(scores.flatten(0, 1), places.clamp(0, last).flatten(), ignore_index=padding)
                for scores, places in pairs
            )
            loss = sum(losses) / 2
        result = SplinterForPreTrainingOutput(loss, start, end, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)

    def find_questions(self, input_ids: Tensor) -> Tensor:
        """Places of the question tokens, (batch, most questions); filled up with `pad_token_id`."""
        found = [(row == self.config.question_token_id).nonzero().squeeze(-1) for row in input_ids]
        if not all(len(places) for places in found):
            text = f"forward: every text needs a question token ({self.config.question_token_id})."
            raise ArgumentError(text, name="input_ids")
        return nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=self.config.pad_token_id)
