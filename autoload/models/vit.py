"""Vision transformers: an image is cut into patches, which are read like words. vit.

Dosovitskiy et al. 2020 (arXiv:2010.11929); its hidden patches, Xie et al. 2021 (arXiv:2111.09886). The family clip builds
on the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.keys import Rename
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.losses import classification_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutputWithPooling, ImageClassifierOutput, MaskedImageModelingOutput


def pair(size: int | Iterable[int]) -> tuple[int, int]:
    """Height and width, from one number for both or from two."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def grid_of(config: Any) -> tuple[int, int]:
    """Rows and columns of patches in an image of the usual size."""
    (height, width), (down, across) = pair(config.image_size), pair(config.patch_size)
    return height // down, width // across


def patch_layer(config: Any, bias: bool = True) -> nn.Conv2d:
    """The convolution that makes a vector of each patch."""
    size = pair(config.patch_size)
    return nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size, bias=bias)


def cut(layer: nn.Conv2d, pixels: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
    """Vectors of the patches of images, row by row, and how many rows and columns there are.

    Args:
        layer: see `patch_layer`.
        pixels: (batch, channels, height, width).

    Returns:
        (batch, patches, dim), and the grid.
    """
    found = None if pixels is None else tuple(pixels.shape)
    if pixels is None or pixels.dim() != 4 or pixels.shape[1] != layer.in_channels:
        text = f"forward: pixel_values is {found}, expected (batch, {layer.in_channels}, height, width)."
        raise ArgumentError(text, name="pixel_values")
    x = layer(pixels.to(layer.weight.dtype))
    return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


def places(table: Tensor, usual: tuple[int, int], grid: tuple[int, int], stretch: bool | None) -> Tensor:
    """Where each patch stands: a learned table, stretched over an image of another size where that is asked for.

    Args:
        table: (vectors of no patch + rows * columns, dim), of the usual size.
        usual: rows and columns of the table.
        grid: rows and columns of the image.
        stretch: whether another size is welcome.
    """
    if grid == usual:
        return table
    if not stretch:
        text = f"forward: images of {grid[0]} by {grid[1]} patches, expected {usual[0]} by {usual[1]}. Resize them, "
        raise ArgumentError(text + "or pass interpolate_pos_encoding=True.", name="pixel_values")
    first = len(table) - usual[0] * usual[1]
    picture = table[first:].T.unflatten(1, usual)[None]  # (1, dim, rows, columns)
    stretched = F.interpolate(picture, grid, mode="bicubic", align_corners=False)[0].flatten(1).T
    return torch.cat([table[:first], stretched])


class ImageModel(PreTrainedModel):
    """Reads images. Subclasses have the parts, and say in which order."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def climb(
        self,
        x: Tensor,
        layers: Iterable[Any],
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """The stream (batch, seq, dim) after all layers; and states and attention weights, where asked for."""
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        seen = [x]
        for layer in layers:
            x = self.run(layer, x, context)
            seen.append(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        return x, {"hidden_states": tuple(seen) if states else None, "attentions": shown}


class PatchEmbeddings(nn.Module):
    """Vectors of patches."""

    def __init__(self, config: Any):
        super().__init__()
        self.projection = patch_layer(config)


class Embeddings(nn.Module):
    """A class token and the patches, some of them hidden, each with its place."""

    def __init__(self, config: Any, use_mask_token: bool):
        super().__init__()
        size, self.grid = config.hidden_size, grid_of(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size)) if use_mask_token else None
        self.patch_embeddings = PatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def init_own(self, std: float) -> None:
        self.cls_token.normal_(0.0, std)
        self.position_embeddings.normal_(0.0, std)
        if self.mask_token is not None:
            self.mask_token.zero_()

    def forward(self, pixels: Tensor | None, hidden: Tensor | None, stretch: bool | None) -> Tensor:
        x, grid = cut(self.patch_embeddings.projection, pixels)
        if hidden is not None:
            x = self.hide(x, hidden)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        return self.dropout(x + places(self.position_embeddings[0], self.grid, grid, stretch))

    def hide(self, x: Tensor, hidden: Tensor) -> Tensor:
        if self.mask_token is None:
            text = "forward: bool_masked_pos needs a model made with use_mask_token=True."
            raise ArgumentError(text, name="bool_masked_pos")
        if hidden.shape != x.shape[:2]:
            text = f"forward: bool_masked_pos is {tuple(hidden.shape)}, expected {tuple(x.shape[:2])}."
            raise ArgumentError(text, name="bool_masked_pos")
        return torch.where(hidden[..., None].bool(), self.mask_token, x)


class Attention(nn.Module):
    """Attention between all patches."""

    def __init__(self, config: Any):
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        size = self.heads * self.dim
        self.q_proj = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(size, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (t.unflatten(-1, (self.heads, self.dim)).transpose(1, 2) for t in parts)  # (batch, heads, seq, dim)
        dropout, mask = self.dropout if self.training else 0.0, context.masks["full"]
        rest = dict(scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)
        return self.o_proj(attend(q, k, v, mask, context, **rest))


class MLP(nn.Module):
    """Two layers and an activation between them."""

    def __init__(self, config: Any):
        super().__init__()
        self.activation_fn = Activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class Layer(nn.Module):
    """Attention and MLP, each after a norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = Attention(config)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.attention(self.layernorm_before(x), context))
        return x + self.dropout(self.mlp(self.layernorm_after(x)))


class Pooler(nn.Module):
    """Dense layer and activation on the class token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.pooler_output_size)
        self.activation = Activation(config.pooler_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x[:, 0]))


class Model(ImageModel):
    """ViT without a head.

    Args:
        config: of the model.
        add_pooling_layer: also give `pooler_output`.
        use_mask_token: patches can be hidden.
    """

    base_model_prefix = "vit"
    embeddings_path = "embeddings.patch_embeddings"
    may_lack = ("pooler", "embeddings.mask_token")
    _no_split_modules = ["Embeddings", "Layer"]

    def __init__(self, config: Any, add_pooling_layer: bool = True, use_mask_token: bool = False):
        super().__init__(config)
        self.embeddings = Embeddings(config, use_mask_token)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = Pooler(config) if add_pooling_layer else None

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the class token, then of the patches.

        Args:
            pixel_values: (batch, channels, height, width).
            bool_masked_pos: (batch, patches), true where a patch is hidden.
            interpolate_pos_encoding: stretch the places over images of another size.
            attention_mask: (batch, 1 + patches), 0 at what is not to be seen.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        x = self.embeddings(pixel_values, bool_masked_pos, interpolate_pos_encoding)
        x, shown = self.climb(x, self.layers, attention_mask, output_attentions, output_hidden_states)
        x = self.layernorm(x)
        pooled = None if self.pooler is None else self.pooler(x)
        return finish(BaseModelOutputWithPooling(x, pooled, **shown), return_dict, self.config)


class ImageClassification(Head):
    """A label for an image, from its class token."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    base_options = {"add_pooling_layer": False}

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        out = self.base_model(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
        )
        logits = self.scores(out)
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return finish(self.hand_on(ImageClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)

    def scores(self, out: Any) -> Tensor:
        """(batch, labels) from the base model's output."""
        return self.classifier(out.last_hidden_state[:, 0])


class MaskedImageModeling(Head):
    """The pixels of hidden patches."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    base_options = {"add_pooling_layer": False, "use_mask_token": True}

    def __init__(self, config: Any):
        super().__init__(config)
        stride = config.encoder_stride
        self.decoder = nn.Sequential(
            nn.Conv2d(config.hidden_size, stride**2 * config.num_channels, 1), nn.PixelShuffle(stride)
        )

    def forward(
        self,
        pixel_values: Tensor | None = None,
        bool_masked_pos: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """bool_masked_pos: (batch, patches), true where a patch is hidden; the loss counts its pixels."""
        config, patch = self.config, pair(self.config.patch_size)
        if bool_masked_pos is not None and patch != pair(config.encoder_stride):
            text = (
                f"forward: bool_masked_pos needs encoder_stride ({config.encoder_stride}) to be patch_size ({patch})."
            )
            raise ArgumentError(text, name="bool_masked_pos")
        out = self.base_model(
            pixel_values, bool_masked_pos, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
        )
        assert pixel_values is not None  # the base model has refused None
        grid = pixel_values.shape[2] // patch[0], pixel_values.shape[3] // patch[1]
        picture = out.last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, grid)  # (batch, dim, rows, columns)
        made, loss = self.decoder(picture), None
        if bool_masked_pos is not None:
            hidden = bool_masked_pos.unflatten(1, grid).repeat_interleave(patch[0], 1).repeat_interleave(patch[1], 2)
            counts = hidden[:, None].to(made.dtype)  # (batch, 1, height, width)
            wrong = (F.l1_loss(pixel_values, made, reduction="none") * counts).sum()
            loss = wrong / (counts.sum() + 1e-5) / config.num_channels
        result = self.hand_on(MaskedImageModelingOutput, out, loss=loss, reconstruction=made)
        return finish(result, return_dict, config)


# The Hub's names are those of BERT's layers.
KEYS = (
    Rename("encoder.layer", "layers"),
    Rename("attention.attention.query", "attention.q_proj"),
    Rename("attention.attention.key", "attention.k_proj"),
    Rename("attention.attention.value", "attention.v_proj"),
    Rename("attention.output.dense", "attention.o_proj"),
    Rename("intermediate.dense", "mlp.fc1"),
    Rename("output.dense", "mlp.fc2"),
)
VARIANTS = {"vit": Variant(members={"base_model_prefix": "vit"}, keys=KEYS)}
TASKS = {"Model": Model, "ImageClassification": ImageClassification, "MaskedImageModeling": MaskedImageModeling}
