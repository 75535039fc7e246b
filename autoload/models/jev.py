"""A decision head on any model: jev, and the types whose checkpoints have such a head beside their weights.

It answers questions on a text without generating: it scores the labels of a question's options at the token before the
question's mark.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from autoload.decision import HEAD_FILES, KINDS, DecisionConfig, head_beside
from autoload.errors import ArgumentError
from autoload.keys import Prefix
from autoload.model import PreTrainedModel, Variant
from autoload.models.encoder_decoder import make_part


class Decision(PreTrainedModel):
    """Scores of the options of questions.

    Args:
        config: of the head, which holds the model's.
        decision_config: labels and temperatures; those of the checkpoint where it is left out.
    """

    weights_beside = ("head.safetensors", "readout.safetensors")
    computed = ("proj.bias",)  # a readout has none

    def __init__(self, config: Any, decision_config: DecisionConfig | None = None):
        super().__init__(config)
        if not isinstance(config, self.config_class):
            text = f"{type(self).__name__}: found {type(config).__name__}, expected a JevConfig that has it as text_config."
            raise ArgumentError(text, name="config")
        self.model = make_part(config, config.text_config, "Model")
        self.proj = nn.Linear(config.hidden_size, config.num_verbalizers)
        self.variant = dataclasses.replace(  # type: ignore[misc]
            type(self).variant, keys=(*type(self).variant.keys, *self.model.variant.keys)
        )
        self.given, self.decision_config = decision_config, decision_config or DecisionConfig()

    @classmethod
    def config_beside(cls, config: Any, files: Any) -> Any:
        """The head's configuration: what was read, or what files beside the weights of a model say of its head.

        Raises:
            MissingFile: the files are another model's, without such a head.
        """
        if isinstance(config, cls.config_class):
            return config
        beside = head_beside(files, config)
        if beside is None:
            raise files.missing(list(HEAD_FILES[:2]), f"of a decision head beside a {config.model_type} model")
        made = cls.config_class(**beside[0])
        made._name_or_path = config._name_or_path
        return made

    def read_further(self, files: Any) -> None:
        """The settings that lie beside the weights."""
        if self.given is None:
            beside = head_beside(files, self.config.text_config)
            self.decision_config = beside[1] if beside is not None else DecisionConfig.from_files(files)

    def further_texts(self) -> dict[str, str]:
        return self.decision_config.texts()

    def forward(
        self,
        input_ids: Tensor | None = None,
        marks: Tensor | None = None,
        num_options: Tensor | None = None,
        question_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Scores of all options of all questions, one after another; (options,).

        Args:
            input_ids: (1, seq), one prompt.
            marks: (1, questions), number of tokens before each question's mark.
            num_options: (1, questions).
            question_type_ids: (1, questions); 0 noul, 1 choice, 2 score.
            **kwargs: what else the model takes.
        """
        if input_ids is None or marks is None or num_options is None or question_type_ids is None:
            raise ArgumentError("forward: pass input_ids, marks, num_options and question_type_ids.", name="marks")
        if input_ids.shape[0] != 1:
            raise ArgumentError(f"forward: found {input_ids.shape[0]} prompts, expected one.", name="input_ids")
        kwargs |= {"use_cache": False, "return_dict": True}
        hidden = self.model(input_ids=input_ids, **kwargs).last_hidden_state[0]  # (seq, dim)
        scores = self.proj(hidden[marks[0] - 1].to(self.proj.weight.dtype))  # (questions, labels)
        if (cap := self.config.softcap) is not None:
            scores = cap * torch.tanh(scores / cap)
        offsets = torch.tensor([self.config.offsets[kind] for kind in KINDS], device=scores.device)
        first = offsets[question_type_ids[0]][:, None]  # (questions, 1)
        label = torch.arange(scores.shape[1], device=scores.device)
        return scores[(label >= first) & (label < first + num_options[0][:, None])]

    @torch.no_grad()
    def decide(
        self,
        input_ids: Tensor,
        marks: Tensor,
        decision_questions: list[Any],
        decision_config: DecisionConfig | None = None,
        **kwargs: Any,
    ) -> list[Tensor]:
        """Scores of the options of each question, over the temperature of its kind; a softmax makes probabilities.

        Args:
            input_ids: (1, seq), one prompt.
            marks: (questions,), number of tokens before each question's mark.
            decision_questions: objects with a `type` (noul, choice or score) and `options`.
            decision_config: in place of the model's own.
            **kwargs: what else the model takes.
        """
        settings = decision_config or self.decision_config
        for question in decision_questions:
            if question.type not in KINDS:
                text = f"decide: a question of type {question.type!r}, expected one of {', '.join(KINDS)}."
                raise ArgumentError(text, name="decision_questions")
        counts = [len(question.options) for question in decision_questions]
        kinds = [KINDS.index(question.type) for question in decision_questions]
        inputs = {"input_ids": input_ids, "marks": marks[None], **kwargs}
        inputs |= {"num_options": torch.tensor([counts]), "question_type_ids": torch.tensor([kinds])}
        scores = self(**{name: x.to(self.device) if isinstance(x, Tensor) else x for name, x in inputs.items()})
        warmth = (settings.temperature.get(question.type, 1.0) for question in decision_questions)
        return [part.float() / t for part, t in zip(scores.split(counts), warmth, strict=True)]


VARIANTS = {"jev": Variant(keys=(Prefix("weight", "proj.weight", saved=False),))}
TASKS = {"Decision": Decision}
