"""Encoders of sound made of conformer blocks: wav2vec2-conformer, and wav2vec2-bert, which reads spectrograms.

Gulati et al. 2020 (arXiv:2005.08100); Wang et al. 2020 (arXiv:2010.05171); Barrault et al. 2023 (arXiv:2312.05187).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask
from autoload.layers.convolution import BatchNorm1d, SpeechConv1d, UniformLinear, conv_lengths, mask_of_lengths
from autoload.layers.relative import distances
from autoload.model import Variant
from autoload.models import wav2vec2_heads as heads
from autoload.models.wav2vec2 import ConvPositions, FeedForward, Model, Spec
from autoload.models.wav2vec2_pretraining import PreTraining


@dataclass(frozen=True)
class Blocks(Spec):
    """What tells one stack of conformer blocks from another."""

    eps: float = 1e-5  # of the norms in a block
    causal: bool = False  # convolutions see what came before alone, and no padding


class Rotations(nn.Module):
    """cos and sin for rotary positions, from frequencies that a checkpoint may hold."""

    def __init__(self, config: Any, saved: bool):
        super().__init__()
        self.base, self.dim = config.rotary_embedding_base, config.hidden_size // config.num_attention_heads
        self.register_buffer("inv_freq", self.frequencies(), persistent=saved)

    def frequencies(self) -> Tensor:
        steps = torch.arange(0, self.dim, 2, dtype=torch.int64, device="cpu").float()
        return 1.0 / self.base ** (steps / self.dim)

    def init_own(self, std: float) -> None:
        self.inv_freq.copy_(self.frequencies())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(frames, 1, head dim) each."""
        times = torch.arange(x.shape[1], device=x.device).to(self.inv_freq.dtype)
        angles = (times[:, None] * self.inv_freq).repeat(1, 2)[:, None]
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def wave_table(x: Tensor) -> Tensor:
    """Sines and cosines of all distances, from the furthest back to the furthest ahead; (2 frames - 1, dim)."""
    frames, size = x.shape[1:]
    away = torch.arange(frames - 1, -frames, -1, device=x.device).float()
    angles = away[:, None] * torch.exp(torch.arange(0, size, 2, device=x.device) * (-math.log(10000.0) / size))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head attention in both directions; `positions` names how it knows where frames stand, if at all."""

    def __init__(self, config: Any, size: int, positions: str | None):
        super().__init__()
        self.heads, self.dim = config.num_attention_heads, size // config.num_attention_heads
        self.positions = positions
        self.linear_q, self.linear_k = nn.Linear(size, size), nn.Linear(size, size)
        self.linear_v, self.linear_out = nn.Linear(size, size), nn.Linear(size, size)
        self.dropout = nn.Dropout(config.attention_dropout)
        if positions == "relative":
            self.linear_pos = nn.Linear(size, size, bias=False)
            self.pos_bias_u = nn.Parameter(torch.zeros(self.heads, self.dim))
            self.pos_bias_v = nn.Parameter(torch.zeros(self.heads, self.dim))
        if positions == "relative_key":
            self.left, self.right = config.left_max_position_embeddings, config.right_max_position_embeddings
            self.distance_embedding = nn.Embedding(self.left + self.right + 1, self.dim)

    def init_own(self, std: float) -> None:
        if self.positions == "relative":
            nn.init.xavier_uniform_(self.pos_bias_u)
            nn.init.xavier_uniform_(self.pos_bias_v)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, frames, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        turned = self.turn(x, *context.extra["places"]) if self.positions == "rotary" else x
        q, k, v = self.split(self.linear_q(turned)), self.split(self.linear_k(turned)), self.split(self.linear_v(x))
        scale, bias = self.dim**-0.5, None
        if self.positions == "relative":
            bias = self.by_waves(q + self.pos_bias_v[:, None], context.extra["places"]) * scale
            q = q + self.pos_bias_u[:, None]
        if self.positions == "relative_key":
            away = distances(q.shape[2], k.shape[2], x.device).clamp(-self.left, self.right) + self.left
            bias = torch.einsum("bhqd,qkd->bhqk", q, self.distance_embedding(away).to(q.dtype)) * scale
        dropout = self.dropout.p if self.training else 0.0
        options: dict[str, Any] = dict(scale=scale, dropout=dropout, bias=bias, weights_to=context.attentions)
        return self.linear_out(attend(q, k, v, context.masks["full"], context, **options))

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate the heads' shares of the states themselves, before any projection."""
        x = x.unflatten(-1, (self.heads, self.dim))
        first, second = x.chunk(2, -1)
        return (x * cos + torch.cat([-second, first], -1) * sin).flatten(2)

    def by_waves(self, q: Tensor, waves: Tensor) -> Tensor:
        """What each query says of the distance to each key (arXiv:1901.02860); (batch, heads, queries, keys)."""
        table = self.linear_pos(waves).unflatten(-1, (self.heads, self.dim)).permute(1, 2, 0)  # (heads, dim, distances)
        frames = q.shape[2]
        places = distances(frames, frames, q.device) + frames - 1
        return (q @ table).gather(-1, places.expand(*q.shape[:2], -1, -1))


class Convolution(nn.Module):
    """A gate, a convolution of each channel by itself, and projections around them."""

    def __init__(self, config: Any, spec: Blocks):
        super().__init__()
        size, kernel = config.hidden_size, config.conv_depthwise_kernel_size
        if kernel % 2 == 0:
            raise ConfigError("conv_depthwise_kernel_size", kernel, "an odd number")
        self.layer_norm = nn.LayerNorm(size, eps=spec.eps)
        self.pointwise_conv1 = SpeechConv1d(size, 2 * size, 1, bias=False)
        around = (kernel - 1) // 2
        self.before, self.after = (kernel - 1, 0) if spec.causal else (around, around)
        self.depthwise_conv = SpeechConv1d(size, size, kernel, groups=size, bias=False)
        self.causal = spec.causal
        if spec.causal:
            self.depthwise_layer_norm = nn.LayerNorm(size, eps=spec.eps)
        else:
            self.batch_norm = BatchNorm1d(size)
        self.activation = Activation(config.hidden_act)
        self.pointwise_conv2 = SpeechConv1d(size, size, 1, bias=False)
        self.dropout = nn.Dropout(config.conformer_conv_dropout)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        x = self.layer_norm(x)
        if self.causal and real is not None:
            x = x.masked_fill(~real[..., None], 0.0)
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), 1)  # (batch, dim, frames)
        x = self.depthwise_conv(F.pad(x, (self.before, self.after)))
        x = self.depthwise_layer_norm(x.transpose(1, 2)).transpose(1, 2) if self.causal else self.batch_norm(x)
        return self.dropout(self.pointwise_conv2(self.activation(x))).transpose(1, 2)


class Block(nn.Module):
    """Half a wide layer, attention, convolution, half a wide layer; each after a norm, and a norm at the end."""

    def __init__(self, config: Any, spec: Blocks):
        super().__init__()
        size, eps = config.hidden_size, spec.eps
        self.ffn1_layer_norm, self.ffn1 = nn.LayerNorm(size, eps=eps), FeedForward(config)
        self.self_attn_layer_norm = nn.LayerNorm(size, eps=eps)
        self.self_attn_dropout = nn.Dropout(config.attention_dropout)
        self.self_attn = Attention(config, size, config.position_embeddings_type)
        self.conv_module = Convolution(config, spec)
        self.ffn2_layer_norm, self.ffn2 = nn.LayerNorm(size, eps=eps), FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(size, eps=eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.ffn1(self.ffn1_layer_norm(x)) * 0.5
        x = x + self.self_attn_dropout(self.self_attn(self.self_attn_layer_norm(x), context))
        x = x + self.conv_module(x, context.extra["real"])
        return self.final_layer_norm(x + self.ffn2(self.ffn2_layer_norm(x)) * 0.5)


class BertEncoder(nn.Module):
    """The stack of blocks, and what says where frames stand."""

    saves_frequencies = False

    def __init__(self, config: Any, spec: Blocks):
        super().__init__()
        self.positions = config.position_embeddings_type
        if self.positions == "rotary":
            self.embed_positions = Rotations(config, self.saves_frequencies)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(Block(config, spec) for _ in range(config.num_hidden_layers))

    def begin(self, x: Tensor, context: Context) -> Tensor:
        x = self.dropout(x)
        if self.positions == "rotary":
            context.extra["places"] = self.embed_positions(x)
        if self.positions == "relative":
            context.extra["places"] = wave_table(x)
        return x

    def end(self, x: Tensor, context: Context) -> Tensor:
        return x


class ConformerEncoder(BertEncoder):
    """Has a norm at the end, and positions by convolution that nothing reads."""

    saves_frequencies = True

    def __init__(self, config: Any, spec: Blocks):
        super().__init__(config, spec)
        self.pos_conv_embed = ConvPositions(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor, context: Context) -> Tensor:
        return self.layer_norm(x)


# -- wav2vec2-bert


class FeatureProjection(nn.Module):
    """From the bins of a spectrogram to the encoder's width; also gives what it projects."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.feature_projection_input_dim
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.projection = UniformLinear(size, config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layer_norm(x)
        return self.dropout(self.projection(x)), x


class AdapterLayer(nn.Module):
    """Attention and a wide layer over a sequence that convolutions shorten."""

    def __init__(self, config: Any):
        super().__init__()
        size, kernel, stride = config.output_hidden_size, config.adapter_kernel_size, config.adapter_stride
        self.residual_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.residual_conv = SpeechConv1d(size, 2 * size, kernel, stride, padding=stride // 2)
        self.self_attn_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.self_attn_conv = SpeechConv1d(size, 2 * size, kernel, stride, padding=stride // 2)
        self.self_attn = Attention(config, size, None)
        self.self_attn_dropout = nn.Dropout(config.conformer_conv_dropout)
        self.ffn_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.ffn = FeedForward(config, size, config.adapter_act)

    def forward(self, x: Tensor, lengths: Tensor | None, kernel: str) -> Tensor:
        residual = self.shorten(self.residual_conv, self.residual_layer_norm(x))
        x = self.shorten(self.self_attn_conv, self.self_attn_layer_norm(x))
        mask = encoder_mask(None if lengths is None else mask_of_lengths(lengths, x.shape[1]))
        x = residual + self.self_attn_dropout(self.self_attn(x, Context({"full": mask}, kernel=kernel)))
        return x + self.ffn(self.ffn_layer_norm(x))

    @staticmethod
    def shorten(conv: nn.Module, x: Tensor) -> Tensor:
        return F.glu(conv(x.transpose(1, 2)), 1).transpose(1, 2)


class Adapter(nn.Module):
    """Shortens the sequence after the encoder."""

    def __init__(self, config: Any):
        super().__init__()
        size, narrower = config.output_hidden_size, config.output_hidden_size != config.hidden_size
        self.proj = nn.Linear(config.hidden_size, size) if narrower else None
        self.proj_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps) if narrower else None
        self.layers = nn.ModuleList(AdapterLayer(config) for _ in range(config.num_adapter_layers))
        self.layerdrop, self.sizes = config.layerdrop, (config.adapter_kernel_size, config.adapter_stride)

    def forward(self, x: Tensor, real: Tensor | None, kernel: str) -> Tensor:
        if self.proj is not None and self.proj_layer_norm is not None:
            x = self.proj_layer_norm(self.proj(x))
        lengths = None if real is None else real.sum(1)
        for layer in self.layers:
            lengths = None if lengths is None else padded_lengths(lengths, *self.sizes)
            if not self.training or self.layerdrop == 0 or torch.rand([]) > self.layerdrop:
                x = layer(x, lengths, kernel)
        return x


def padded_lengths(lengths: Any, kernel: int, stride: int) -> Any:
    """How many frames a convolution makes that pads by half its kernel."""
    return conv_lengths(lengths + 2 * (kernel // 2), [(kernel, stride)])


class Hearing:
    """Hears spectrograms: `input_features` (batch, frames, bins) with a mask (batch, frames)."""

    config: Any
    main_input_name = "input_features"

    def forward(
        self, input_features: Tensor | None = None, attention_mask: Tensor | None = None, *rest: Any, **kwargs: Any
    ) -> Any:
        return super().forward(input_features, attention_mask, *rest, **kwargs)  # type: ignore[misc]

    def _get_feat_extract_output_lengths(self, input_lengths: Any, add_adapter: bool | None = None) -> Any:
        """How many vectors are made of that many frames; a number or a tensor of them."""
        config = self.config
        if config.add_adapter if add_adapter is None else add_adapter:
            for _ in range(config.num_adapter_layers):
                input_lengths = padded_lengths(input_lengths, config.adapter_kernel_size, config.adapter_stride)
        return input_lengths


class BertModel(Hearing, Model):
    """wav2vec2-bert without a head."""

    embeddings_path = "feature_projection"

    def __init__(self, config: Any):
        super().__init__(config)
        widens = config.use_intermediate_ffn_before_adapter
        self.intermediate_ffn = FeedForward(config, act="relu") if widens else None

    def make_frontend(self, config: Any, spec: Spec) -> None:
        self.feature_projection = FeatureProjection(config)

    def listen(self, sound: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        return *self.feature_projection(sound), None if attention_mask is None else attention_mask.bool()

    def adapt(self, x: Tensor, context: Context) -> Tensor:
        x = x if self.intermediate_ffn is None else x + 0.5 * self.intermediate_ffn(x)
        return x if self.adapter is None else self.adapter(x, context.extra["real"], context.kernel)


class BertCTC(Hearing, heads.CTC):
    """Characters of a spectrogram."""


class BertAudioClassification(Hearing, heads.AudioClassification):
    """A label for a spectrogram."""


class BertAudioFrameClassification(Hearing, heads.AudioFrameClassification):
    """A label for each frame of a spectrogram."""


class BertAudioXVector(Hearing, heads.AudioXVector):
    """A vector for the speaker of a spectrogram."""


def conformer(config: Any) -> Blocks:
    return Blocks(config.feat_extract_norm, adapts=config.add_adapter, encoder=ConformerEncoder)


def bert(config: Any) -> Blocks:
    return Blocks(
        adapts=config.add_adapter, encoder=BertEncoder, adapter=Adapter, eps=config.layer_norm_eps, causal=True
    )


BERT = {
    "Model": BertModel,
    "CTC": BertCTC,
    "AudioClassification": BertAudioClassification,
    "AudioFrameClassification": BertAudioFrameClassification,
    "AudioXVector": BertAudioXVector,
}
VARIANTS = {
    "wav2vec2-bert": Variant(bert, BERT, members={"base_model_prefix": "wav2vec2_bert"}),
    "wav2vec2-conformer": Variant(conformer, members={"base_model_prefix": "wav2vec2_conformer"}),
}
TASKS = heads.TASKS | {"Model": Model, "PreTraining": PreTraining}
