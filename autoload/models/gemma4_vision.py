"""Gemma 4's image tower: patches of images of any shape, which rotary positions on two axes tell apart. gemma4_vision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.keys import Prefix
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.layers.linear import ClippedLinear
from autoload.layers.norms import RMSNormFP32
from autoload.layers.rope import Rotary, rotate
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import decoder
from autoload.models.decoder import Spec
from autoload.models.decoder_gemma import NormedValueAttention
from autoload.outputs import BaseModelOutputWithPooling


class PatchEmbedder(nn.Module):
    """A vector of each patch, which knows its column and its row."""

    def __init__(self, config: Any):
        super().__init__()
        self.input_proj = nn.Linear(3 * config.patch_size**2, config.hidden_size, bias=False)
        self.position_embedding_table = nn.Parameter(torch.ones(2, config.position_embedding_size, config.hidden_size))

    def init_own(self, std: float) -> None:
        self.position_embedding_table.fill_(1.0)

    def forward(self, pixels: Tensor, places: Tensor, real: Tensor) -> Tensor:
        x = self.input_proj((2 * (pixels - 0.5)).to(self.input_proj.weight.dtype))
        column, row = (F.embedding(places[..., axis], self.position_embedding_table[axis]) for axis in (0, 1))
        return x + (column + row).masked_fill(~real[..., None], 0.0)


class AxesAttention(NormedValueAttention):
    """The first half of each head turns with the column, the second with the row; projections have limits."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        size, clips = config.hidden_size, config.use_clipped_linears
        self.q_proj = ClippedLinear(size, self.heads * self.dim, clips)
        self.k_proj = ClippedLinear(size, self.kv_heads * self.dim, clips)
        self.v_proj = ClippedLinear(size, self.kv_heads * self.dim, clips)
        self.o_proj = ClippedLinear(self.heads * self.dim, size, clips)

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        cos, sin = (table.chunk(2, -1) for table in context.rope[self.kind])  # (batch, patches, half a head) each

        def turned(x: Tensor) -> Tensor:
            return torch.cat([rotate(*parts) for parts in zip(x.chunk(2, -1), cos, sin, strict=True)], -1)

        return turned(q), turned(k)


class ClippedMLP(decoder.GatedMLP):
    """Projections have limits."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        size, wide, clips = config.hidden_size, config.intermediate_size, config.use_clipped_linears
        self.gate_proj = ClippedLinear(size, wide, clips)
        self.up_proj = ClippedLinear(size, wide, clips)
        self.down_proj = ClippedLinear(wide, size, clips)


class Encoder(nn.Module):
    """The stack of layers, and the tables by which their heads turn."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.rotary_emb = Rotary(config.rope_parameters, config.head_dim // 2, config.max_position_embeddings)
        self.layers = nn.ModuleList(decoder.SandwichLayer(config, spec, i) for i in range(config.num_hidden_layers))

    def tables(self, places: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin of the columns, then of the rows; (batch, patches, dim of a head) each."""
        columns, rows = (self.rotary_emb(places[..., axis], dtype) for axis in (0, 1))
        return torch.cat([columns[0], rows[0]], -1), torch.cat([columns[1], rows[1]], -1)


def squares(x: Tensor, places: Tensor, real: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The mean over each square of patches, and which of these there are.

    Args:
        x: (batch, patches, dim).
        places: (batch, patches, 2), column and row.
        real: (batch, patches).
        side: patches along a side of a square.

    Returns:
        (batch, squares, dim) and (batch, squares); an image of fewer squares than there is room for leaves the last out.
    """
    room = x.shape[1] // side**2
    across = (places[..., 0].amax(-1, keepdim=True) + 1) // side  # (batch, 1), squares in a row
    number = places[..., 0] // side + across * (places[..., 1] // side)  # (batch, patches)
    if not torch.compiler.is_compiling() and bool((number >= room).any()):
        text = f"forward: image positions reach square {int(number.max())} of {side} by {side} patches; {x.shape[1]} "
        raise ArgumentError(text + f"patches make {room}. Pass whole squares.", name="pixel_position_ids")
    member = F.one_hot(number, room).float()  # padding counts as a part of the first square, and is zero
    mean = (member / side**2).transpose(1, 2) @ x.masked_fill(~real[..., None], 0.0).float()
    return mean.to(x.dtype), (member != 0).any(1)


class Model(PreTrainedModel):
    """Gemma 4's image tower."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    embeddings_path = "patch_embedder.input_proj"
    _no_split_modules = ["PatchEmbedder", "SandwichLayer"]
    std_bias: Tensor
    std_scale: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.patch_embedder = PatchEmbedder(config)
        self.encoder = Encoder(config, self.variant.spec(config))
        if config.standardize:
            self.register_buffer("std_bias", torch.zeros(config.hidden_size))
            self.register_buffer("std_scale", torch.ones(config.hidden_size))

    def init_own(self, std: float) -> None:
        if self.config.standardize:
            self.std_bias.zero_()
            self.std_scale.fill_(1.0)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        pixel_position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Tokens of all images, one after the other; (tokens, dim).

        Args:
            pixel_values: (images, patches, 3 * patch_size ** 2), from 0 to 1.
            pixel_position_ids: (images, patches, 2), column and row of each patch, -1 and -1 where there is none.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config = self.config
        pixels, places = self.check(pixel_values, pixel_position_ids)
        real, inside = (places != -1).any(-1), places.clamp(min=0)
        x = self.patch_embedder(pixels, inside, real)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            {"full_attention": encoder_mask(real)},
            {"full_attention": self.encoder.tables(places, x.dtype)},
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
        )
        seen = []
        for layer in self.encoder.layers:
            seen.append(x)
            x = self.run(layer, x, context)
        out = BaseModelOutputWithPooling(self.tokens(x, inside, real))
        out.hidden_states = (*seen, out.last_hidden_state) if states else None
        out.attentions = None if context.attentions is None else tuple(context.attentions)
        return finish(out, return_dict, config)

    def tokens(self, x: Tensor, places: Tensor, real: Tensor) -> Tensor:
        """The images' tokens, without padding, from the stream of the patches."""
        config = self.config
        y, there = (
            (x, real) if config.pooling_kernel_size == 1 else squares(x, places, real, config.pooling_kernel_size)
        )
        y = (y.float() * config.hidden_size**0.5)[there]  # too large for fp16 until they are standardized
        if config.standardize:
            y = (y - self.std_bias.float()) * self.std_scale.float()
        return y.to(x.dtype)

    def counts(self, places: Tensor) -> list[int]:
        """How many tokens each image has, from the places of its patches."""
        real = (places != -1).all(-1)
        return (real.sum(-1) // self.config.pooling_kernel_size**2).tolist()

    def check(self, pixels: Tensor | None, places: Tensor | None) -> tuple[Tensor, Tensor]:
        """The inputs, unless they cannot be meant."""
        config, size = self.config, self.patch_embedder.input_proj.in_features
        found = None if pixels is None else tuple(pixels.shape)
        if pixels is None or pixels.dim() != 3 or pixels.shape[2] != size:
            text = f"forward: pixel_values is {found}, expected (images, patches, {size})."
            raise ArgumentError(text, name="pixel_values")
        if places is None or places.shape != (*pixels.shape[:2], 2):
            found = None if places is None else tuple(places.shape)
            text = f"forward: pixel_position_ids is {found}, expected {(*pixels.shape[:2], 2)}."
            raise ArgumentError(text, name="pixel_position_ids")
        if pixels.shape[1] % config.pooling_kernel_size**2:
            text = f"forward: {pixels.shape[1]} patches, expected whole squares of {config.pooling_kernel_size}."
            raise ArgumentError(text, name="pixel_values")
        most = config.position_embedding_size
        if not torch.compiler.is_compiling() and bool(((places < -1) | (places >= most)).any()):
            text = f"forward: pixel_position_ids are from {int(places.min())} to {int(places.max())}, "
            raise ArgumentError(text + f"expected -1 to {most - 1}.", name="pixel_position_ids")
        return pixels, places


VARIANTS = {
    "gemma4_vision": Variant(
        lambda c: Spec(norm=RMSNormFP32, attention=AxesAttention, mlp=ClippedMLP, qk_norm="head", scale=1.0),
        keys=(Prefix("model.vision_tower.", saved=False),),  # in a file that holds the whole model
    ),
}
TASKS = {"Model": Model}
