"""CLAP: a tower of texts and a tower of sounds, whose vectors meet in one space.

Wu et al. 2022 (arXiv:2211.06687).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert
from autoload.models.clap_audio import AudioModel
from autoload.outputs import BaseModelOutputWithPooling, ClapOutput


class TextEmbeddings(bert.Embeddings):
    """Files hold the numbers of the positions, and the usual types of the tokens."""

    position_ids: Tensor
    token_type_ids: Tensor

    def __init__(self, config: Any, spec: bert.Spec):
        super().__init__(config, spec)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings)[None])
        self.register_buffer("token_type_ids", torch.zeros_like(self.position_ids))

    def init_own(self, std: float) -> None:
        self.position_ids.copy_(torch.arange(self.position_ids.shape[1])[None])
        self.token_type_ids.zero_()


class TextModel(bert.Model):
    """RoBERTa's."""

    variant = Variant(lambda c: bert.Spec(padded_from=c.pad_token_id, embeddings=TextEmbeddings))

    @classmethod
    def named_inputs(cls) -> tuple[str, ...]:
        return ()

    def make_output(self, kept: dict[str, Any], pooled: Tensor | None, context: Context) -> Any:
        shown = {name: kept[name] for name in ("hidden_states", "attentions")}
        return BaseModelOutputWithPooling(kept["last_hidden_state"], pooled, **shown)


class Projection(nn.Module):
    """From a tower's width to the space of both."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.projection_dim)
        self.activation = Activation(config.projection_hidden_act)
        self.linear2 = nn.Linear(config.projection_dim, config.projection_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.activation(self.linear1(x)))


def contrastive_loss(logits: Tensor) -> Tensor:
    """Each row belongs to the column of its number."""
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


class Model(PreTrainedModel):
    """CLAP, with the scores of each text for each sound."""

    input_modalities = ("audio", "text")
    embeddings_path = "text_model.embeddings.word_embeddings"
    computed = ("position_ids", "token_type_ids", "relative_position_index")

    def __init__(self, config: Any):
        super().__init__(config)
        for tower in (config.text_config, config.audio_config):
            if tower._attn_implementation is None:
                tower._attn_implementation = config._attn_implementation
        scale = math.log(config.logit_scale_init_value)
        self.logit_scale_a, self.logit_scale_t = (nn.Parameter(torch.tensor(scale)) for _ in range(2))
        self.text_model = TextModel(config.text_config)
        self.text_projection = Projection(config.text_config)
        self.audio_model = AudioModel(config.audio_config)
        self.audio_projection = Projection(config.audio_config)
        self._no_split_modules = [*self.text_model._no_split_modules, *self.audio_model._no_split_modules]

    def init_own(self, std: float) -> None:
        for scale in (self.logit_scale_a, self.logit_scale_t):
            scale.fill_(math.log(self.config.logit_scale_init_value))

    def get_text_features(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the tower of texts gives; `pooler_output` are vectors of length one in the space of both.

        Args:
            input_ids, attention_mask, position_ids: (batch, seq).
            return_dict: False gives a tuple.
        """
        out = self.text_model(input_ids, attention_mask, None, position_ids, return_dict=True, **kwargs)
        out.pooler_output = F.normalize(self.text_projection(out.pooler_output), dim=-1)
        return finish(out, return_dict, self.config)

    def get_audio_features(
        self,
        input_features: Tensor | None = None,
        is_longer: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the tower of sounds gives; `pooler_output` are vectors of length one in the space of both.

        Args:
            input_features: spectrograms, (batch, 1 or 4, frames, bins).
            is_longer: (batch, 1), whether a sound has pieces to fuse.
            attention_mask: (batch, frames), which some processors give; the tower sees all.
            return_dict: False gives a tuple.
        """
        out = self.audio_model(input_features, is_longer, return_dict=True, **kwargs)
        out.pooler_output = F.normalize(self.audio_projection(out.pooler_output), dim=-1)
        return finish(out, return_dict, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        is_longer: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        return_loss: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of texts and sounds.

        Args:
            input_ids: (texts, seq).
            input_features: spectrograms, (sounds, 1 or 4, frames, bins).
            is_longer: (sounds, 1), whether a sound has pieces to fuse.
            attention_mask: (texts, seq), 0 at padding.
            position_ids: (texts, seq).
            return_loss: also give the loss for texts and sounds that belong together, pair by pair.
            output_attentions, output_hidden_states: also give these, of both towers.
            return_dict: False gives a tuple.
        """
        shown: dict[str, Any] = dict(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        heard = self.audio_model(input_features, is_longer, return_dict=True, **shown)
        read = self.text_model(input_ids, attention_mask, None, position_ids, return_dict=True, **shown, **kwargs)
        sounds, texts = self.audio_projection(heard.pooler_output), self.text_projection(read.pooler_output)
        sounds, texts = (x / x.norm(dim=-1, keepdim=True) for x in (sounds, texts))
        per_text = texts @ sounds.T * self.logit_scale_t.exp()
        per_sound = sounds @ texts.T * self.logit_scale_a.exp()
        loss = (contrastive_loss(per_text) + contrastive_loss(per_sound.T)) / 2 if return_loss else None
        return finish(ClapOutput(loss, per_sound, per_text, texts, sounds, read, heard), return_dict, self.config)


VARIANTS = {"clap": Variant(members={"base_model_prefix": "clap"})}
TASKS = {"Model": Model}
