"""Gemma 4's audio tower: conformer blocks whose attention looks at what is near, block by block. gemma4_audio.

Zhang et al. 2023 (arXiv:2303.01037).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.keys import Prefix
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.linear import ClippedLinear
from autoload.layers.norms import RMSNormFP32
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import Gemma4AudioModelOutput


class HalfConvolution(nn.Module):
    """Half as many frames and half as many bins; padding is silent before it."""

    def __init__(self, channels: int, out: int, eps: float):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(out, eps=eps, bias=False)

    def forward(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, channels, frames, bins) and (batch, frames) to fewer."""
        if real is not None:
            x = x * real[:, None, :, None]
        x = self.conv(x.to(self.conv.weight.dtype))
        x = F.relu(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x, None if real is None else real[:, ::2]


class Subsampling(nn.Module):
    """A quarter of the frames, as vectors of the model's width."""

    def __init__(self, config: Any):
        super().__init__()
        first, second = config.subsampling_conv_channels
        self.layer0 = HalfConvolution(1, first, config.rms_norm_eps)
        self.layer1 = HalfConvolution(first, second, config.rms_norm_eps)
        self.input_proj_linear = nn.Linear(first // 4 * second, config.hidden_size, bias=False)

    def forward(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, frames, bins) to (batch, fewer frames, dim)."""
        x, real = self.layer0(x[:, None], real)
        x, real = self.layer1(x, real)
        x = x.permute(0, 2, 3, 1).flatten(2)  # (batch, frames, bins * channels)
        if x.shape[2] != (size := self.input_proj_linear.in_features):
            text = f"forward: the bins of input_features leave {x.shape[2]} numbers a frame, expected {size}."
            raise ArgumentError(text, name="input_features")
        return self.input_proj_linear(x), real


class Blocks:
    """Frames as blocks of queries, and with each the keys that one of them may see.

    A query sees itself and the frames up to `left - 1` before it and `right - 1` after it. Keys of a block are `span`
    frames, of which `before` come before its first query.
    """

    def __init__(self, config: Any):
        self.size, self.right = config.attention_chunk_size, config.attention_context_right
        self.before = self.left = config.attention_context_left - 1
        self.span = self.size + self.before + self.right

    def queries(self, x: Tensor) -> Tensor:
        """(batch, seq, heads, dim) to (batch, heads, blocks, size, dim)."""
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % self.size))
        return x.unflatten(1, (-1, self.size)).permute(0, 3, 1, 2, 4)

    def keys(self, x: Tensor) -> Tensor:
        """(batch, seq, ...) to (batch, blocks, ..., span)."""
        sides = (0, 0) * (x.dim() - 2) + (self.before, self.right + self.size - 1)
        return F.pad(x, sides).unfold(1, self.span, self.size)

    def allowed(self, real: Tensor) -> Tensor:
        """Which keys a query may see, (batch, 1, blocks, size, span), from which frames are real, (batch, seq)."""
        away = self.before - self.offsets(real.device)  # how far before the query the key is
        near = torch.where(away >= 0, away < self.left, -away < self.right)
        asked = F.pad(
            torch.ones_like(real[0]), (0, -real.shape[1] % self.size)
        )  # a block may reach beyond the last frame
        return near & self.keys(real)[:, None, :, None] & asked.view(-1, self.size, 1)

    def by_key(self, scores: Tensor) -> Tensor:
        """Scores of distances as scores of keys (arXiv:1901.02860); those without a distance of their own get none.

        Args:
            scores: (batch, heads, blocks, size, distances), the first of them that of the furthest key.
        """
        offset, last = self.offsets(scores.device), scores.shape[-1]
        offset = torch.where((offset >= 0) & (offset < last), offset, last)
        return F.pad(scores, (0, 1)).gather(-1, offset.expand(*scores.shape[:3], -1, -1))

    def offsets(self, device: torch.device) -> Tensor:
        """Number of a key minus that of a query; (size, span)."""
        return torch.arange(self.span, device=device) - torch.arange(self.size, device=device)[:, None]

    def waves(self, x: Tensor) -> Tensor:
        """Sines and cosines of the distances, from the furthest; (distances, dim)."""
        count = x.shape[-1] // 2
        slower = torch.exp(torch.arange(count, device=x.device) * (-math.log(1e4) / max(count - 1, 1)))
        angles = torch.arange(self.span // 2, -1, -1, device=x.device)[:, None] * slower
        return torch.cat([angles.sin(), angles.cos()], -1).to(x.dtype)


class Attention(nn.Module):
    """Attention within blocks, in fp32, that scores distances too and caps the scores."""

    def __init__(self, config: Any):
        super().__init__()
        size, clips = config.hidden_size, config.use_clipped_linears
        self.heads, self.dim = config.num_attention_heads, size // config.num_attention_heads
        self.blocks, self.cap = Blocks(config), config.attention_logit_cap
        self.hidden_score = config.attention_invalid_logits_value
        self.q_proj, self.k_proj = ClippedLinear(size, size, clips), ClippedLinear(size, size, clips)
        self.v_proj, self.post = ClippedLinear(size, size, clips), ClippedLinear(size, size, clips)
        self.relative_k_proj = nn.Linear(size, size, bias=False)
        self.per_dim_scale = nn.Parameter(torch.zeros(self.dim))

    def init_own(self, std: float) -> None:
        self.per_dim_scale.zero_()

    def split(self, x: Tensor) -> Tensor:
        return x.float().unflatten(-1, (self.heads, self.dim))  # (..., heads, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        # Softplus of a scale of zero is log 2; of one, which keys have, log(1 + e).
        q = q * (self.dim**-0.5 / math.log(2)) * F.softplus(self.per_dim_scale)
        k = k * (math.log(1 + math.e) / math.log(2))
        table = self.split(self.relative_k_proj(context.extra["waves"])).permute(1, 2, 0)  # (heads, dim, distances)
        q, k, v = self.blocks.queries(q), self.blocks.keys(k).transpose(1, 2), self.blocks.keys(v).transpose(1, 2)
        near = (q.flatten(2, 3) @ table).unflatten(2, q.shape[2:4])
        scores = q @ k + self.blocks.by_key(near)  # (batch, heads, blocks, size, span)
        scores = torch.tanh(scores / self.cap) * self.cap
        weights = scores.masked_fill(~context.extra["near"], self.hidden_score).softmax(-1)
        if context.attentions is not None:
            context.attentions.append(weights)
        seen = (weights @ v.transpose(-1, -2)).permute(0, 2, 3, 1, 4)  # (batch, blocks, size, heads, dim)
        return self.post(seen.flatten(1, 2).flatten(2)[:, : x.shape[1]].to(x.dtype))


def limited(x: Tensor, most: float) -> Tensor:
    """The stream within what its dtype can hold."""
    most = min(most, torch.finfo(x.dtype).max)
    return x.clamp(-most, most)


class FeedForward(nn.Module):
    """The wide layer and the way back between two norms, a part of which is added."""

    def __init__(self, config: Any):
        super().__init__()
        size, clips = config.hidden_size, config.use_clipped_linears
        self.ffw_layer_1, self.ffw_layer_2 = ClippedLinear(size, 4 * size, clips), ClippedLinear(4 * size, size, clips)
        self.pre_layer_norm, self.post_layer_norm = RMSNormFP32(size), RMSNormFP32(size)
        self.act_fn, self.most, self.weight = (
            Activation(config.hidden_act),
            config.gradient_clipping,
            config.residual_weight,
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ffw_layer_2(self.act_fn(self.ffw_layer_1(self.pre_layer_norm(limited(x, self.most)))))
        return self.post_layer_norm(limited(y, self.most)) * self.weight + x


class Convolution(nn.Module):
    """A gate, a convolution of each channel by itself over the frames before, and projections around them."""

    def __init__(self, config: Any):
        super().__init__()
        size, kernel, eps, clips = (
            config.hidden_size,
            config.conv_kernel_size,
            config.rms_norm_eps,
            config.use_clipped_linears,
        )
        self.linear_start, self.linear_end = ClippedLinear(size, 2 * size, clips), ClippedLinear(size, size, clips)
        self.depthwise_conv1d = nn.Conv1d(size, size, kernel, groups=size, bias=False)
        self.pre_layer_norm, self.conv_norm = RMSNormFP32(size, eps), RMSNormFP32(size, eps)
        self.act_fn, self.most, self.before = Activation(config.hidden_act), config.gradient_clipping, kernel - 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(self.linear_start(self.pre_layer_norm(x)), -1).transpose(1, 2)  # (batch, dim, frames)
        y = self.depthwise_conv1d(F.pad(y, (self.before, 0))).transpose(1, 2)
        return self.linear_end(self.act_fn(self.conv_norm(limited(y, self.most)))) + x


class Layer(nn.Module):
    """A part of a wide layer, attention, convolution, a part of a wide layer, and a norm at the end."""

    def __init__(self, config: Any):
        super().__init__()
        self.feed_forward1, self.feed_forward2 = FeedForward(config), FeedForward(config)
        self.self_attn, self.lconv1d = Attention(config), Convolution(config)
        size, self.most = config.hidden_size, config.gradient_clipping
        self.norm_pre_attn, self.norm_post_attn, self.norm_out = RMSNormFP32(size), RMSNormFP32(size), RMSNormFP32(size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.feed_forward1(x)
        y = self.self_attn(self.norm_pre_attn(limited(x, self.most)), context)
        x = self.lconv1d(self.norm_post_attn(limited(y, self.most)) + x)
        return self.norm_out(limited(self.feed_forward2(x), self.most))


class Model(PreTrainedModel):
    """Gemma 4's audio tower."""

    main_input_name = "input_features"
    input_modalities = "audio"
    embeddings_path = "subsample_conv_projection"
    _no_split_modules = ["Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.subsample_conv_projection = Subsampling(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.output_proj = nn.Linear(config.hidden_size, config.output_proj_dims)
        self.blocks = Blocks(config)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of a quarter of the frames.

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_features is None or input_features.dim() != 3:
            found = None if input_features is None else tuple(input_features.shape)
            raise ArgumentError(f"forward: input_features is {found}, expected three axes.", name="input_features")
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x, real = self.subsample_conv_projection(input_features, attention_mask)
        there = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if real is None else real.bool()
        context = Context(extra={"near": self.blocks.allowed(there), "waves": self.blocks.waves(x)})
        context.attentions = [] if attentions else None
        seen = []
        for layer in self.layers:
            seen.append(x)
            x = self.run(layer, x, context)
        x = self.output_proj(x)
        out = Gemma4AudioModelOutput(x, attention_mask=real)  # in the reference's order
        out.hidden_states = (*seen, x) if states else None
        out.attentions = None if context.attentions is None else tuple(context.attentions)
        return finish(out, return_dict, config)


VARIANTS = {
    "gemma4_audio": Variant(
        members={"base_model_prefix": "model.audio_tower"},
        keys=(Prefix("model.audio_tower.", saved=False),),  # in a file that holds the whole model
    ),
}
TASKS = {"Model": Model}
