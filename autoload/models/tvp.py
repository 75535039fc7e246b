"""TVP: words beside the frames of a film, both with prompts that are learned.

Zhang et al. 2023 (arXiv:2303.04995).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert import Intermediate, Pooler
from autoload.models.encoder_decoder import make_part
from autoload.outputs import BaseModelOutputWithPooling

PROMPT = 10  # vectors before the words
COLOURS = 3


class Prompter(nn.Module):
    """A learned frame around each picture; what the picture shows there is covered, added to, or left alone."""

    def __init__(self, config: Any):
        super().__init__()
        self.apply_as, self.size = config.visual_prompter_apply, config.max_img_size
        if self.apply_as not in ("add", "replace", "remove"):
            raise ConfigError("visual_prompter_apply", self.apply_as, "'add', 'replace' or 'remove'")
        self.width, self.inner = config.visual_prompt_size, config.max_img_size - 2 * config.visual_prompt_size
        self.make_prompts(config.num_frames)

    def make_prompts(self, frames: int) -> None:
        if self.inner < 0:
            raise ConfigError("visual_prompt_size", self.width, f"at most half of max_img_size ({self.size})")
        self.pad_up = nn.Parameter(torch.zeros(1, frames, COLOURS, self.width, self.size))
        self.pad_down = nn.Parameter(torch.zeros(1, frames, COLOURS, self.width, self.size))
        self.pad_left = nn.Parameter(torch.zeros(1, frames, COLOURS, self.inner, self.width))
        self.pad_right = nn.Parameter(torch.zeros(1, frames, COLOURS, self.inner, self.width))

    def init_own(self, std: float) -> None:
        for pad in self.parameters(recurse=False):
            pad.normal_()

    def prompt(self) -> Tensor:
        """(1, frames, colours, height, width), zero where there is none."""
        middle = F.pad(self.pad_left, (0, self.inner)), self.pad_right
        return torch.cat([self.pad_up, torch.cat(middle, 4), self.pad_down], 3)

    def uncovered(self, pixels: Tensor) -> Tensor:
        """The picture as the prompt finds it. This frame covers nothing, whatever it is told: so it was trained."""
        return pixels

    def forward(self, pixels: Tensor, stretch: bool) -> Tensor:
        size = tuple(pixels.shape[3:])
        if size != (self.size, self.size) and not stretch:
            text = f"forward: frames are {size[0]} by {size[1]}, expected {self.size} by {self.size} (max_img_size). "
            raise ArgumentError(text + "Resize them, or pass interpolate_pos_encoding=True.", name="pixel_values")
        pixels = pixels if self.apply_as == "add" else self.uncovered(pixels)
        if self.apply_as == "remove":
            return pixels
        prompt = self.prompt()
        if stretch:
            prompt = F.interpolate(prompt[0], size, mode="bicubic", align_corners=False)[None]
        return pixels + prompt.to(pixels.dtype)


class DownPrompter(Prompter):
    """A learned strip along the lower edge."""

    def make_prompts(self, frames: int) -> None:
        self.pad_down = nn.Parameter(torch.zeros(1, frames, COLOURS, self.width, self.size))

    def prompt(self) -> Tensor:
        return F.pad(self.pad_down, (0, 0, self.size - self.width, 0))

    def uncovered(self, pixels: Tensor) -> Tensor:
        height = pixels.shape[3]
        shown = height - height * self.width // self.size
        return F.pad(pixels[..., :shown, :], (0, 0, 0, height - shown))


PROMPTERS = {"framepad": Prompter, "framedownpad": DownPrompter}


class VisionModel(nn.Module):
    """The last map of a backbone, half as fine and as wide as the model."""

    def __init__(self, config: Any):
        super().__init__()
        self.backbone = make_part(config, config.backbone_config, "Backbone")
        self.grid_encoder_conv = nn.Conv2d(self.backbone.channels[0], config.hidden_size, 3, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, frames, colours, height, width) to (batch, frames, dim, rows, columns)."""
        maps = self.backbone(pixels.flatten(0, 1), return_dict=True).feature_maps[0]
        return F.relu(F.max_pool2d(self.grid_encoder_conv(maps), 2)).unflatten(0, pixels.shape[:2])


class VisualEmbeddings(nn.Module):
    """The mean of all frames, each field with its row and column."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)  # files have it; nothing reads it
        self.row_position_embeddings = nn.Embedding(config.max_grid_row_position_embeddings, size)
        self.col_position_embeddings = nn.Embedding(config.max_grid_col_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(1, size)
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, grid: Tensor, stretch: bool) -> Tensor:
        """(batch, frames, dim, rows, columns) to (batch, fields, dim)."""
        grid = grid.mean(1)
        x = (grid + self.places(grid.shape[2], grid.shape[3], stretch)).flatten(2).transpose(1, 2)
        return self.dropout(self.layer_norm(x + self.token_type_embeddings.weight[0]))

    def places(self, rows: int, columns: int, stretch: bool) -> Tensor:
        """(1, dim, rows, columns); what is larger than the tables is stretched where that is asked for."""
        down, across = self.row_position_embeddings.weight[:rows], self.col_position_embeddings.weight[:columns]
        out = (down[:, None] + across[None]).permute(2, 0, 1)[None]
        if tuple(out.shape[2:]) == (rows, columns):
            return out
        if not stretch:
            most = len(self.row_position_embeddings.weight), len(self.col_position_embeddings.weight)
            text = f"forward: frames give {rows} by {columns} fields, expected at most {most[0]} by {most[1]}. "
            raise ArgumentError(text + "Pass interpolate_pos_encoding=True.", name="pixel_values")
        return F.interpolate(out, (rows, columns), mode="bicubic", align_corners=False)


class TextEmbeddings(nn.Module):
    """Sum of word, position and token type vectors, normalised."""

    def __init__(self, config: Any):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.word_embeddings(input_ids) + self.position_embeddings(places)
        return self.dropout(self.layer_norm(x + self.token_type_embeddings.weight[0]))


class Attention(nn.Module):
    """Attention, projection, residual, norm."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads = config.hidden_size, config.num_attention_heads
        self.query, self.key, self.value = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, size)
        self.attn_dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.dense = nn.Linear(size, size)
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in parts)  # (batch, heads, seq, dim)
        dropout, mask = self.attn_dropout.p if self.training else 0.0, context.masks["full"]
        rest = dict(scale=q.shape[-1] ** -0.5, dropout=dropout, weights_to=context.attentions)
        return self.layer_norm(self.dropout(self.dense(attend(q, k, v, mask, context, **rest))) + x)


class Output(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.layer_norm(self.dropout(self.dense(x)) + residual)


class Layer(nn.Module):
    """Attention and a wide layer; norms after the residuals."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(x, context)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Model(PreTrainedModel):
    """TVP without a head."""

    input_modalities = ("video", "text")
    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["Layer", "TextEmbeddings", "VisualEmbeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        kind = config.visual_prompter_type
        if kind not in PROMPTERS:
            raise ConfigError("visual_prompter_type", kind, f"one of {', '.join(PROMPTERS)}")
        self.vision_model = VisionModel(config)
        self.embeddings = TextEmbeddings(config)
        self.visual_embeddings = VisualEmbeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self.text_prompt = nn.Parameter(torch.zeros(1, PROMPT, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.visual_prompter = PROMPTERS[kind](config)

    def init_own(self, std: float) -> None:
        self.text_prompt.normal_()

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the prompt, of the words, and of the fields of the frames.

        Args:
            input_ids: (batch, seq).
            pixel_values: (batch, frames, 3, height, width).
            attention_mask: (batch, seq), 0 at padding.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
            interpolate_pos_encoding: stretch the prompts and places over frames of another size.
        """
        if input_ids is None or pixel_values is None:
            name = "input_ids" if input_ids is None else "pixel_values"
            raise ArgumentError(f"forward: {name} is missing; every text belongs to a film.", name=name)
        config, frames = self.config, self.config.num_frames
        if pixel_values.dim() != 5 or len(pixel_values) != len(input_ids) or pixel_values.shape[2] != COLOURS:
            expected = f"({len(input_ids)}, {frames}, {COLOURS}, height, width)"
            text = f"forward: pixel_values is {tuple(pixel_values.shape)}, expected {expected}."
            raise ArgumentError(text, name="pixel_values")
        grid = self.vision_model(self.visual_prompter(pixel_values, interpolate_pos_encoding))
        fields = self.visual_embeddings(grid, interpolate_pos_encoding)
        prompt = self.text_prompt.expand(len(input_ids), -1, -1)
        x = torch.cat([prompt, self.embeddings(input_ids), fields], 1)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (PROMPT, fields.shape[1]), value=1)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        seen = [x]
        for layer in self.encoder.layer:
            x = self.run(layer, x, context)
            seen.append(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        pooled = self.dropout(self.pooler(x))
        out = BaseModelOutputWithPooling(self.dropout(x), pooled, tuple(seen) if states else None, shown)
        return finish(out, return_dict, config)


VARIANTS = {"tvp": Variant(members={"base_model_prefix": "model"})}
TASKS = {"Model": Model}
