"""Encoders of pages: an image tower's patches take places among the words. modernvbert, ultravbert, colmodernvbert.

Teiletche et al. 2025 (arXiv:2510.01149); one vector per token for search, Faysse et al. 2024 (arXiv:2407.01449).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import EncoderHead, MaskedLMHead, TokenClassification
from autoload.keys import Prefix
from autoload.layers.norms import RMSNorm
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.encoder_decoder import make_part
from autoload.models.eurobert import UltraTransform
from autoload.models.modernbert import PredictionHead, average
from autoload.models.vit import grid_of
from autoload.outputs import (
    BaseModelOutputWithPooling,
    ImageTextMaskedLMOutput,
    ImageTextModelOutput,
    RetrievalOutput,
)


class Connector(nn.Module):
    """One token of each square of patches, as wide as the text model."""

    def __init__(self, config: Any):
        super().__init__()
        self.grid, self.side = grid_of(config.vision_config), config.pixel_shuffle_factor
        if any(count % self.side for count in self.grid):
            raise ConfigError("pixel_shuffle_factor", self.side, f"a divisor of the {self.grid} patches of an image")
        size = config.vision_config.hidden_size * self.side**2
        self.modality_projection = nn.Linear(size, config.text_config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(images, patches, dim) to (images, tokens, dim of the text)."""
        rows, columns = (count // self.side for count in self.grid)
        squares = x.unflatten(1, (rows, self.side, columns, self.side)).transpose(2, 3)
        return self.modality_projection(squares.flatten(3).flatten(1, 2))


class NormedConnector(Connector):
    """A norm follows: UltraBERT has none on its embeddings."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.norm = RMSNorm(config.text_config.hidden_size, config.text_config.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class Model(PreTrainedModel):
    """ModernVBERT without a head: an image tower, a text encoder, and what connects them."""

    input_modalities = ("image", "text")
    connector_class: ClassVar[type] = Connector

    def __init__(self, config: Any):
        super().__init__(config)
        self.vision_model = make_part(config, config.vision_config, "Model")
        self.connector = self.connector_class(config)
        self.text_model = make_part(config, config.text_config, "Model")
        self._no_split_modules = [*self.vision_model._no_split_modules, *self.text_model._no_split_modules]

    @property
    def embeddings_path(self) -> str:  # type: ignore[override]
        return f"text_model.{self.text_model.embeddings_path}"

    def get_image_features(
        self,
        pixel_values: Tensor,
        pixel_attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the image tower gives; `pooler_output` is a list of one (tokens, dim) per text, for all its images.

        Args:
            pixel_values: (batch, images, channels, height, width); an image of zeros stands for none.
            pixel_attention_mask: (batch, images, height, width), which the image processor gives; the tower sees all.
            return_dict: False gives a tuple.
        """
        if pixel_values.dim() != 5:
            text = f"pixel_values is {tuple(pixel_values.shape)}, expected (batch, images, channels, height, width)."
            raise ArgumentError(text, name="pixel_values")
        batch, images = pixel_values.shape[:2]
        pixels = pixel_values.to(self.dtype).flatten(0, 1)
        real = pixels.flatten(1).any(1)
        real[0] |= ~real.any()  # the tower needs one
        counts = real.view(batch, images).sum(1).tolist()
        out = self.vision_model(pixels[real], return_dict=True, **kwargs)
        tokens = self.connector(out.last_hidden_state)  # (real images, tokens, dim)
        each: Any = [part.flatten(0, 1) for part in tokens.split(counts)]
        out = BaseModelOutputWithPooling(out.last_hidden_state, each, out.hidden_states, out.attentions)
        return finish(out, return_dict, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
        image_hidden_states: Iterable[Tensor] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words and of the images' tokens among them.

        Args:
            input_ids: (batch, seq); `image_token_id` stands where a token of an image goes.
            attention_mask: (batch, seq), 0 at padding.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            pixel_values, pixel_attention_mask: see `get_image_features`.
            image_hidden_states: tokens of the images, (tokens, dim) for each text, in place of pixel_values.
            output_attentions, output_hidden_states: also give these, of every layer of the text encoder.
            return_dict: False gives a tuple.
        """
        if input_ids is None and inputs_embeds is None:
            raise ArgumentError("forward: pass input_ids or inputs_embeds.", name="input_ids")
        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        if pixel_values is not None:
            image_hidden_states = self.get_image_features(pixel_values, return_dict=True).pooler_output
        images = None if image_hidden_states is None else torch.cat([*image_hidden_states]).to(x)  # (tokens, dim)
        if images is not None:
            x = self.fill(x, input_ids, images)
        out = self.text_model(
            inputs_embeds=x,
            attention_mask=attention_mask,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            **kwargs,
        )
        result = ImageTextModelOutput(out.last_hidden_state, out.hidden_states, out.attentions, images)
        return finish(result, return_dict, self.config)

    def fill(self, x: Tensor, input_ids: Tensor | None, images: Tensor) -> Tensor:
        """The embeddings (batch, seq, dim) with the images' tokens (tokens, dim) where they go."""
        number = torch.tensor(self.config.image_token_id, device=x.device)
        if input_ids is None:
            goes = (x == self.get_input_embeddings()(number)).all(-1)
        else:
            goes = input_ids == number
        if not torch.compiler.is_compiling() and (count := int(goes.sum())) != len(images):
            text = f"forward: the texts have places for {count} tokens of images (image_token_id={int(number)}), "
            raise ArgumentError(text + f"but the images give {len(images)}.", name="input_ids")
        return x.masked_scatter(goes[..., None], images)


class UltraModel(Model):
    """UltraVBERT without a head."""

    connector_class = NormedConnector


class MaskedLM(MaskedLMHead):
    """ModernVBERT's hidden tokens."""

    input_modalities = ("image", "text")
    base_options = {}
    output_class = ImageTextMaskedLMOutput
    further_outputs = ("image_hidden_states",)
    output_path = "lm_head"
    projection_class: ClassVar[type] = PredictionHead

    def __init__(self, config: Any):
        super().__init__(config)
        text = config.text_config
        self.projection_head = self.projection_class(text)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=getattr(text, "decoder_bias", False))

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.weight": f"model.{self.base_model.embeddings_path}.weight"}

    @property
    def ties_weights(self) -> bool:
        return self.config.tie_word_embeddings  # whatever the text encoder's says

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(self.projection_head(out.last_hidden_state))


class UltraMaskedLM(MaskedLM):
    """UltraVBERT's hidden tokens."""

    projection_class = UltraTransform


class Classification(EncoderHead):
    """ModernVBERT's labels, from the first token or the mean."""

    input_modalities = ("image", "text")
    head_class: ClassVar[type] = PredictionHead

    def __init__(self, config: Any):
        super().__init__(config)
        if config.classifier_pooling not in ("cls", "mean"):
            raise ConfigError("classifier_pooling", config.classifier_pooling, "'cls' or 'mean'")
        self.head = self.head_class(config.text_config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.text_config.hidden_size, config.num_labels)

    def select(self, out: Any, attention_mask: Tensor | None) -> Tensor:
        hidden = out.last_hidden_state
        return average(hidden, attention_mask) if self.config.classifier_pooling == "mean" else hidden[:, 0]

    def scores(self, out: Tensor) -> Tensor:
        return self.classifier(self.drop(self.head(out)))


class UltraClassification(Classification):
    """UltraVBERT's labels."""

    head_class = nn.Identity


class TokenLabels(TokenClassification):
    """ModernVBERT's label for each token."""

    input_modalities = ("image", "text")
    base_options = {}
    head_class: ClassVar[type] = PredictionHead

    def __init__(self, config: Any):
        super(TokenClassification, self).__init__(config)
        self.head = self.head_class(config.text_config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.text_config.hidden_size, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.drop(self.head(out.last_hidden_state)))


class UltraTokenLabels(TokenLabels):
    """UltraVBERT's label for each token."""

    head_class = nn.Identity


class Retrieval(PreTrainedModel):
    """A vector of length one for each token of a page or a question, for late interaction."""

    input_modalities = ("image", "text")

    def __init__(self, config: Any):
        super().__init__(config)
        self.vlm = make_part(config, config.vlm_config, "Model")
        self.embedding_proj_layer = nn.Linear(config.get_text_config().hidden_size, config.embedding_dim)
        self._no_split_modules = self.vlm._no_split_modules

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
        image_hidden_states: Iterable[Tensor] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As ModernVBERT's; `embeddings` (batch, seq, dim) are zero at padding."""
        out = self.vlm(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            pixel_attention_mask=pixel_attention_mask,
            image_hidden_states=image_hidden_states,
            return_dict=True,
            **kwargs,
        )
        x = self.embedding_proj_layer(out.last_hidden_state.to(self.embedding_proj_layer.weight.dtype))
        x = x / x.norm(dim=-1, keepdim=True)
        if attention_mask is not None:
            x = x * attention_mask[..., None].to(x)
        result = RetrievalOutput(None, x, out.hidden_states, out.image_hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


VARIANTS = {
    "modernvbert": Variant(),
    "ultravbert": Variant(
        heads={
            "Model": UltraModel,
            "MaskedLM": UltraMaskedLM,
            "SequenceClassification": UltraClassification,
            "TokenClassification": UltraTokenLabels,
        },
        keys=(Prefix("head.decoder.", "lm_head."), Prefix("head.", "projection_head.")),
        ignores=lambda c: "(?!)" if c.vision_config.vision_use_head else r"(^|\.)vision_model\.head\.",
    ),
    "colmodernvbert": Variant(heads={"PreTraining": Retrieval}, members={"base_model_prefix": "vlm"}),
}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
}
