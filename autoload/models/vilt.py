"""ViLT: words and patches of an image in one transformer, without an encoder of their own.

Kim et al. 2021 (arXiv:2102.03334).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert
from autoload.models.bert import Intermediate, PlainOutput, Pooler, SelfAttention, Spec
from autoload.outputs import BaseModelOutputWithPooling, SequenceClassifierOutput


class PatchEmbeddings(nn.Module):
    """A vector for each patch; (batch, dim, rows, columns)."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size)

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.shape[1] != self.projection.in_channels:
            text = f"forward: images have {pixels.shape[1]} channels, expected {self.projection.in_channels}."
            raise ArgumentError(text, name="pixel_values")
        return self.projection(pixels.to(self.projection.weight.dtype))


class Embeddings(nn.Module):
    """Words, then a vector for the image and its patches."""

    def __init__(self, config: Any):
        super().__init__()
        self.side, self.most = config.image_size // config.patch_size, config.max_image_length
        self.text_embeddings = bert.Embeddings(config, Spec())
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = PatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(torch.zeros(1, self.side**2 + 1, config.hidden_size))
        self.token_type_embeddings = nn.Embedding(config.modality_type_vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def init_own(self, std: float) -> None:
        self.cls_token.zero_()
        self.position_embeddings.zero_()

    def forward(self, words: Tensor, image: Tensor, image_type: int) -> Tensor:
        words = words + self.token_type_embeddings.weight[0]
        return torch.cat([words, image + self.token_type_embeddings.weight[image_type]], 1)

    def see(self, pixels: Tensor, pixel_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The image's vectors, and which of them are real.

        The order of the patches is drawn by chance, as it was when the model was trained.
        """
        x = self.patch_embeddings(pixels)
        real = F.interpolate(pixel_mask[:, None].float(), x.shape[2:])[:, 0].long()  # (batch, rows, columns)
        rows, columns = real[:, :, 0].sum(1), real[:, 0].sum(1)
        places = self.places(rows.tolist(), columns.tolist(), x.shape[2], x.shape[3])
        count = int((rows * columns).max())
        chosen = choose(real.flatten(1), count if self.most < 0 else min(count, self.most))  # (batch, patches)
        x = (x + places).flatten(2).transpose(1, 2).take_along_dim(chosen[..., None], 1)
        first = (self.cls_token + self.position_embeddings[:, :1]).expand(len(x), -1, -1)
        return self.dropout(torch.cat([first, x], 1)), F.pad(real.flatten(1).gather(1, chosen), (1, 0), value=1)

    def places(self, rows: list[int], columns: list[int], height: int, width: int) -> Tensor:
        """The table of places stretched to the size of each image; (batch, dim, height, width)."""
        table = self.position_embeddings[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))
        stretched = (
            F.pad(F.interpolate(table, (h, w), mode="bilinear", align_corners=True), (0, width - w, 0, height - h))
            for h, w in zip(rows, columns, strict=True)
        )
        return torch.cat(list(stretched))


def choose(real: Tensor, count: int) -> Tensor:
    """Numbers of `count` patches of each image: real ones, filled up with padding; (batch, count)."""
    chosen = []
    for row in real:
        good, rest = row.nonzero()[:, 0], (row == 0).nonzero()[:, 0]
        if (missing := count - len(good)) <= 0:
            chosen.append(good[torch.multinomial(torch.ones(len(good)), count)])
        else:
            padding = rest[torch.multinomial(torch.ones(len(rest)), missing, replacement=True)]
            chosen.append(torch.cat([good, padding]))
    return torch.stack(chosen)


class ViltSelfAttention(SelfAttention):
    """With or without biases."""

    def make_projections(self, config: Any, size: int) -> None:
        self.query = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)
        self.key = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)
        self.value = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)


class ViltAttention(nn.Module):
    """Attention and its output."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = ViltSelfAttention(config, layer_idx)
        self.output = PlainOutput(config, config.hidden_size)

    def forward(self, x: Tensor, residual: Tensor, context: Context) -> Tensor:
        return self.output(self.attention(x, context), residual)


class ViltLayer(nn.Module):
    """Attention and a wide layer; norms before both."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = ViltAttention(config, layer_idx)
        self.intermediate = Intermediate(config)
        self.output = PlainOutput(config, config.intermediate_size)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(self.layernorm_before(x), x, context)
        return self.output(self.intermediate(self.layernorm_after(x)), x)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(ViltLayer(config, i) for i in range(config.num_hidden_layers))


class Model(PreTrainedModel):
    """ViLT without a head.

    Args:
        config: of the model.
        add_pooling_layer: also give `pooler_output`.
    """

    embeddings_path = "embeddings.text_embeddings.word_embeddings"
    may_lack = ("pooler",)
    _no_split_modules = ["Embeddings", "ViltLayer"]

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        image_token_type_idx: int | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words, then of the image.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            pixel_values: (batch, channels, height, width).
            pixel_mask: (batch, height, width), 0 at padding; beside image_embeds (batch, patches).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            image_embeds: (batch, patches, dim), in place of pixel_values.
            image_token_type_idx: 1, or 2 for the second of two images.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        for a, b, names in (
            (input_ids, inputs_embeds, ("input_ids", "inputs_embeds")),
            (pixel_values, image_embeds, ("pixel_values", "image_embeds")),
        ):
            if (a is None) == (b is None):
                raise ArgumentError(f"forward: pass {names[0]} or {names[1]}, one of them.", name=names[0])
        config = self.config
        words = self.embeddings.text_embeddings(input_ids, token_type_ids, None, inputs_embeds, 0)
        if pixel_mask is None and pixel_values is not None:
            pixel_mask = torch.ones((len(pixel_values), *pixel_values.shape[2:]), device=words.device)
        if pixel_values is not None:
            image, seen = self.embeddings.see(pixel_values, pixel_mask)  # type: ignore[arg-type]
        else:
            image = image_embeds
            seen = torch.ones(image.shape[:2], device=words.device) if pixel_mask is None else pixel_mask.flatten(1)  # type: ignore[union-attr]
        if len(image) != len(words):  # type: ignore[arg-type]
            text = f"forward: {len(words)} texts and {len(image)} images, expected as many."  # type: ignore[arg-type]
            raise ArgumentError(text, name="pixel_values")
        x = self.embeddings(words, image, 1 if image_token_type_idx is None else image_token_type_idx)
        if attention_mask is None:
            attention_mask = torch.ones(words.shape[:2], device=x.device)
        asked = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks={"full": encoder_mask(torch.cat([attention_mask, seen.to(attention_mask.dtype)], 1))},
            kernel=kernel_of(config),
            attentions=[] if asked else None,
        )
        hidden = [x]
        for layer in self.encoder.layer:
            x = self.run(layer, x, context)
            hidden.append(x)
        x = self.layernorm(x)
        pooled = None if self.pooler is None else self.pooler(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        out = BaseModelOutputWithPooling(x, pooled, tuple(hidden) if states else None, shown)
        return finish(out, return_dict, config)


class VisualAnswer(Head):
    """The answers to a question on an image, each by itself."""

    def __init__(self, config: Any):
        super().__init__(config)
        size = config.hidden_size
        self.classifier = nn.Sequential(
            nn.Linear(size, 2 * size), nn.LayerNorm(2 * size), nn.GELU(), nn.Linear(2 * size, config.num_labels)
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, labels), how far each answer is right, from 0 to 1."""
        image = {"pixel_values": pixel_values, "pixel_mask": pixel_mask, "image_embeds": image_embeds}
        text = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "inputs_embeds": inputs_embeds}
        out = self.base_model(input_ids, **text, **image, return_dict=True, **kwargs)
        logits = self.classifier(out.pooler_output)
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits, labels.to(logits.device)) * labels.shape[1]
        return finish(self.hand_on(SequenceClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)


VARIANTS = {"vilt": Variant(members={"base_model_prefix": "vilt"})}
TASKS = {"Model": Model, "VisualQuestionAnswering": VisualAnswer}
