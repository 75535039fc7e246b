"""Pop2Piano: T5 that reads frames of a song, after a vector of the style to play it in, and writes notes.

Choi and Lee 2022 (arXiv:2211.00895).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.model import Variant
from autoload.models import t5


class Composers(nn.Module):
    """A vector for each style, put before the frames."""

    def __init__(self, config: Any):
        super().__init__()
        self.embedding = nn.Embedding(config.composer_vocab_size, config.d_model)

    def forward(self, frames: Tensor, number: int) -> Tensor:
        style = self.embedding.weight[number].expand(len(frames), 1, -1)
        return torch.cat([style, frames], 1)


class LM(t5.LM):
    """Scores of the next note; its scoring layer is its own."""

    input_modalities: ClassVar[Any] = "audio"

    def __init__(self, config: Any):
        super().__init__(config)
        self.mel_conditioner = Composers(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {name: table for name, table in super()._tied_weights_keys.items() if name != "lm_head.weight"}

    def forward(self, *inputs: Any, input_features: Tensor | None = None, **kwargs: Any) -> Any:
        """As T5's.

        Args:
            *inputs: those of T5.
            input_features: frames of a song (batch, frames, dim), in place of input_ids.
            **kwargs: further inputs of T5.
        """
        if input_features is not None:
            if kwargs.get("inputs_embeds") is not None:
                text = f"{type(self).__name__}: pass input_features or inputs_embeds, not both."
                raise ArgumentError(text, name="input_features")
            kwargs["inputs_embeds"] = input_features
        return super().forward(*inputs, **kwargs)

    @torch.no_grad()
    def generate(
        self,
        input_features: Tensor,
        attention_mask: Tensor | None = None,
        composer: str = "composer1",
        generation_config: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Notes of a song.

        Args:
            input_features: frames (batch, frames, dim).
            attention_mask: (batch, frames), 0 at padding.
            composer: the style, one of `composer_to_feature_token` of the generation configuration.
            generation_config: settings; the model's own where there are none.
            **kwargs: further settings.
        """
        settings = self.generation_config if generation_config is None else generation_config
        numbers = kwargs.pop("composer_to_feature_token", getattr(settings, "composer_to_feature_token", None))
        if not isinstance(numbers, dict) or len(numbers) != self.config.composer_vocab_size:
            count = "none" if not isinstance(numbers, dict) else len(numbers)
            text = f"generation_config.json: composer_to_feature_token names {count} composers, expected as many as "
            raise ArgumentError(f"{text}composer_vocab_size, {self.config.composer_vocab_size}.", name="composer")
        if composer not in numbers:
            raise ArgumentError(f"composer is {composer!r}, expected one of {', '.join(numbers)}.", name="composer")
        frames = self.mel_conditioner(input_features, numbers[composer] - min(numbers.values()))
        if attention_mask is not None:
            frames = frames * (attention_mask[:, :1, None] != 0)  # rows that only fill the batch
            attention_mask = torch.cat([attention_mask[:, :1], attention_mask], 1)
        given: dict[str, Any] = dict(inputs_embeds=frames, attention_mask=attention_mask)
        return super().generate(generation_config=settings, **given, **kwargs)


VARIANTS = {"pop2piano": Variant(lambda c: t5.Spec(t5.output_scale(c)), members=t5.HALF)}
TASKS = {"SpeechSeq2Seq": LM}
