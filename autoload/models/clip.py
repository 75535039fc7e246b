"""The image towers of CLIP and its kin: clip_vision_model, siglip_vision_model.

Radford et al. 2021 (arXiv:2103.00020); Zhai et al. 2023 (arXiv:2303.15343).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.keys import Prefix
from autoload.layers.attention import Context, attend
from autoload.model import Variant, finish
from autoload.models.vit import MLP, ImageModel, cut, grid_of, patch_layer, places
from autoload.outputs import BaseModelOutputWithPooling


class Embeddings(nn.Module):
    """The patches, each with its place."""

    first: ClassVar[int] = 0  # vectors before the patches
    patch_bias: ClassVar[bool] = True

    def __init__(self, config: Any):
        super().__init__()
        self.grid = grid_of(config)
        self.patch_embedding = patch_layer(config, self.patch_bias)
        self.position_embedding = nn.Embedding(self.first + self.grid[0] * self.grid[1], config.hidden_size)

    def begin(self, x: Tensor) -> Tensor:
        return x

    def forward(self, pixels: Tensor | None, stretch: bool | None) -> Tensor:
        x, grid = cut(self.patch_embedding, pixels)
        return self.begin(x) + places(self.position_embedding.weight, self.grid, grid, stretch)


class ClassEmbeddings(Embeddings):
    """A vector for the image comes first."""

    first = 1
    patch_bias = False

    def __init__(self, config: Any):
        super().__init__(config)
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden_size))

    def init_own(self, std: float) -> None:
        self.class_embedding.normal_(0.0, len(self.class_embedding) ** -0.5)

    def begin(self, x: Tensor) -> Tensor:
        return torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], 1)


class Attention(nn.Module):
    """Attention that the context's mask limits."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.heads, self.dropout = config.num_attention_heads, config.attention_dropout
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.q_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        parts = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in parts)  # (batch, heads, seq, dim)
        dropout, mask = self.dropout if self.training else 0.0, context.masks["full"]
        rest = dict(scale=q.shape[-1] ** -0.5, dropout=dropout, weights_to=context.attentions)
        return self.out_proj(attend(q, k, v, mask, context, **rest))


class Layer(nn.Module):
    """Attention and MLP, each after a norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), context)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class PackedAttention(nn.Module):
    """What one sequence sees in another; queries, keys and values are made by one matrix. Never masked."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)

    def init_own(self, std: float) -> None:
        nn.init.xavier_uniform_(self.in_proj_weight)
        self.in_proj_bias.zero_()

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        parts = (nn.functional.linear(*three) for three in zip((x, source, source), weights, biases, strict=True))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in parts)  # (batch, heads, seq, dim)
        return self.out_proj(attend(q, k, v, None, Context(), scale=q.shape[-1] ** -0.5))


class PoolingHead(nn.Module):
    """What a learned probe sees in the patches; (batch, dim)."""

    def __init__(self, config: Any):
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.attention = PackedAttention(config.hidden_size, config.num_attention_heads)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def init_own(self, std: float) -> None:
        nn.init.xavier_uniform_(self.probe)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.probe.expand(x.shape[0], -1, -1), x)
        return (x + self.mlp(self.layernorm(x)))[:, 0]


class Tower(ImageModel):
    """An image tower; how it begins and ends is the subclass's."""

    embeddings_path = "embeddings.patch_embedding"
    embeddings_class: ClassVar[type] = Embeddings

    def __init__(self, config: Any):
        super().__init__(config)
        self.embeddings = self.embeddings_class(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def begin(self, x: Tensor) -> Tensor:
        return x

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The last hidden states, and what stands for the image; (batch, seq, dim) and (batch, dim)."""
        raise NotImplementedError

    def forward(
        self,
        pixel_values: Tensor | None = None,
        interpolate_pos_encoding: bool | None = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the patches, and a vector for the image.

        Args:
            pixel_values: (batch, channels, height, width).
            interpolate_pos_encoding: stretch the places over images of another size.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        x = self.begin(self.embeddings(pixel_values, interpolate_pos_encoding))
        x, shown = self.climb(x, self.encoder.layers, None, output_attentions, output_hidden_states)
        return finish(BaseModelOutputWithPooling(*self.end(x), **shown), return_dict, self.config)


class ClipTower(Tower):
    """CLIP's: a norm before the layers, and one on the vector for the image alone."""

    embeddings_class = ClassEmbeddings
    _no_split_modules = ["ClassEmbeddings", "Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # spelled so in every file

    def begin(self, x: Tensor) -> Tensor:
        return self.pre_layrnorm(x)

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return x, self.post_layernorm(x[:, 0])


class SiglipTower(Tower):
    """SigLIP's: no vector for the image but what a probe sees."""

    may_lack = ("head",)
    _no_split_modules = ["Embeddings", "Layer", "PoolingHead"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.head = PoolingHead(config) if config.vision_use_head else None

    def end(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = self.post_layernorm(x)
        return x, None if self.head is None else self.head(x)


# Files of both towers have the image tower under this name; of it alone, files are written without.
KEYS = (Prefix("vision_model.", saved=False),)
VARIANTS = {
    "clip_vision_model": Variant(heads={"Model": ClipTower}, members={"base_model_prefix": "clip"}, keys=KEYS),
    "siglip_vision_model": Variant(
        heads={"Model": SiglipTower}, members={"base_model_prefix": "vision_model"}, keys=KEYS
    ),
}
TASKS: dict[str, type] = {}
