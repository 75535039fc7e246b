"""The tower of sounds of CLAP: a spectrogram, folded into a square, is read like an image, window by window.

Chen et al. 2022 (arXiv:2202.00874); Liu et al. 2021 (arXiv:2103.14030); Dai et al. 2020 (arXiv:2009.14082).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, kernel_of
from autoload.model import PreTrainedModel, finish
from autoload.models.vit import pair
from autoload.outputs import BaseModelOutputWithPooling


def narrowed(channels: int, narrow: int) -> list[nn.Module]:
    """A bottleneck of convolutions that see one place at a time."""
    return [
        *(nn.Conv2d(channels, narrow, 1), nn.BatchNorm2d(narrow), nn.ReLU()),
        *(nn.Conv2d(narrow, channels, 1), nn.BatchNorm2d(channels)),
    ]


class Fusion(nn.Module):
    """Mixes two maps; how much of each, the sum of both says, place by place and as a whole."""

    def __init__(self, config: Any):
        super().__init__()
        channels, narrow = config.patch_embeds_hidden_size, config.patch_embeds_hidden_size // config.aff_block_r
        self.local_att = nn.Sequential(*narrowed(channels, narrow))
        self.global_att = nn.Sequential(nn.AdaptiveAvgPool2d(1), *narrowed(channels, narrow))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        both = x + other
        share = torch.sigmoid(self.local_att(both) + self.global_att(both))
        return 2 * x * share + 2 * other * (1 - share)


class Patches(nn.Module):
    """Vectors of the patches; of a sound that was too long, pieces of it are mixed into the shrunk whole."""

    def __init__(self, config: Any):
        super().__init__()
        size, stride = pair(config.patch_size), pair(config.patch_stride)
        self.grid = tuple(config.spec_size // step for step in stride)
        self.fuses, width, channels = config.enable_fusion, config.patch_embeds_hidden_size, 1
        if not config.flatten_patch_embeds:
            raise ConfigError("flatten_patch_embeds", False, "true: the windows are cut from a row of patches")
        if self.fuses and config.fusion_type == "channel_map":
            raise ConfigError("fusion_type", "channel_map", "another type, 'aff_2d' say, beside enable_fusion")
        channels, padding = config.patch_embed_input_channels, [(a - b) // 2 for a, b in zip(size, stride, strict=True)]
        self.proj = nn.Conv2d(channels, width, size, stride, padding)  # type: ignore[arg-type]
        self.norm = nn.LayerNorm(width) if config.enable_patch_layer_norm else nn.Identity()
        if self.fuses:
            self.fusion_model = Fusion(config)
            wide = [(h, 3 * w) for h, w in (size, stride)]
            self.mel_conv2d = nn.Conv2d(channels, width, wide[0], wide[1], padding)  # type: ignore[arg-type]

    def forward(self, images: Tensor, is_longer: Tensor | None) -> Tensor:
        """(batch, channels, height, width) to (batch, patches, dim)."""
        if not self.fuses:
            return self.norm(self.proj(images).flatten(2).transpose(1, 2))
        x = self.proj(images[:, :1])
        if is_longer is None:
            raise ArgumentError("forward: pass is_longer, which says what is to be fused.", name="is_longer")
        longer = is_longer.to(x.device).reshape(len(x), -1)[:, 0] == 1  # (batch,)
        if torch.compiler.is_compiling():  # a graph cannot know how many there are
            fused = self.fusion_model(x, self.pieces(images[:, 1:], x.shape[-1]))
            x = torch.where(longer[:, None, None, None], fused, x)
        elif len(rows := longer.nonzero()[:, 0]):
            x = x.index_copy(0, rows, self.fusion_model(x[rows], self.pieces(images[rows, 1:], x.shape[-1])))
        return self.norm(x.flatten(2).transpose(1, 2))

    def pieces(self, images: Tensor, columns: int) -> Tensor:
        """The maps of several images, (batch, images, height, width), side by side and filled up to `columns`."""
        count = images.shape[1]
        x = self.mel_conv2d(images.flatten(0, 1)[:, None]).unflatten(0, (-1, count))
        x = x.permute(0, 2, 3, 1, 4).flatten(3)  # (batch, dim, rows, columns)
        return F.pad(x, (0, columns - x.shape[-1]))


class SelfAttention(nn.Module):
    """Attention between the places of a window, with a learned bias for each way from one to another."""

    relative_position_index: Tensor

    def __init__(self, config: Any, size: int, heads: int, window: int):
        super().__init__()
        if size % heads:
            raise ConfigError("audio_config.num_attention_heads", heads, f"a divisor of the stage's width ({size})")
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", self.index())
        self.query, self.key, self.value = (nn.Linear(size, size, bias=config.qkv_bias) for _ in range(3))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def index(self) -> Tensor:
        """Which row of the table belongs to a query and a key, (places, places)."""
        row, column = (torch.arange(self.window**2) // self.window, torch.arange(self.window**2) % self.window)
        down, across = (t[:, None] - t[None, :] + self.window - 1 for t in (row, column))
        return down * (2 * self.window - 1) + across

    def init_own(self, std: float) -> None:
        self.relative_position_bias_table.zero_()
        self.relative_position_index.copy_(self.index())

    def forward(self, x: Tensor, apart: Tensor | None, context: Context) -> Tensor:
        """Windows (batch * windows, places, dim); `apart` is what torn windows add, (windows, 1, places, places)."""
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in parts)  # (windows, heads, places, dim)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if apart is not None:
            bias = (bias + apart).repeat(len(x) // len(apart), 1, 1, 1)
        dropout = self.dropout.p if self.training else 0.0
        rest: dict[str, Any] = dict(dropout=dropout, bias=bias, weights_to=context.attentions)
        return attend(q, k, v, None, context, scale=q.shape[-1] ** -0.5, **rest)


class Dense(nn.Module):
    """A dense layer and dropout."""

    def __init__(self, inner: int, outer: int, dropout: float):
        super().__init__()
        self.dense = nn.Linear(inner, outer)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.dense(x))


class Attention(nn.Module):
    """Attention and its output."""

    def __init__(self, config: Any, size: int, heads: int, window: int):
        super().__init__()
        self.self = SelfAttention(config, size, heads, window)
        self.output = Dense(size, size, config.attention_probs_dropout_prob)


class Intermediate(nn.Module):
    """The wide layer."""

    def __init__(self, size: int, wide: int, act: str):
        super().__init__()
        self.dense = nn.Linear(size, wide)
        self.intermediate_act_fn = Activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(x))


class Block(nn.Module):
    """Attention in windows and an MLP, each after a norm. In every other block the windows lie half a window on."""

    def __init__(self, config: Any, size: int, heads: int, side: tuple[int, int], shifts: bool, drop: float):
        super().__init__()
        self.side, self.window, self.drop, wide = side, config.window_size, drop, int(config.mlp_ratio * size)
        if min(side) < self.window:
            text = f"at most the {min(side)} rows and columns of the last stage"
            raise ConfigError("audio_config.window_size", self.window, text)
        self.shift = self.window // 2 if shifts and min(side) > self.window else 0
        self.layernorm_before = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.attention = Attention(config, size, heads, self.window)
        self.layernorm_after = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.intermediate = Intermediate(size, wide, config.hidden_act)
        self.output = Dense(wide, size, config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.skip(self.look(self.layernorm_before(x), context))
        return x + self.output(self.intermediate(self.layernorm_after(x)))

    def look(self, x: Tensor, context: Context) -> Tensor:
        """What each place sees in its window; (batch, places, dim)."""
        rows, columns = self.side
        x = x.unflatten(1, self.side)
        x = F.pad(x, (0, 0, 0, -columns % self.window, 0, -rows % self.window))
        height, width = x.shape[1:3]
        apart = self.torn(height, width, x) if self.shift else None
        seen = self.attention.self(self.cut(x.roll((-self.shift, -self.shift), (1, 2))), apart, context)
        seen = self.attention.output(seen).unflatten(1, (self.window, self.window))
        seen = seen.unflatten(0, (-1, height // self.window, width // self.window))
        seen = seen.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (batch, height, width, dim)
        return seen.roll((self.shift, self.shift), (1, 2))[:, :rows, :columns].flatten(1, 2)

    def cut(self, x: Tensor) -> Tensor:
        """(batch, height, width, dim) to (batch * windows, places, dim)."""
        x = x.unflatten(2, (-1, self.window)).unflatten(1, (-1, self.window)).transpose(2, 3)
        return x.flatten(3, 4).flatten(0, 2)

    def torn(self, height: int, width: int, x: Tensor) -> Tensor:
        """What keeps apart places that only the shift brought together, (windows, 1, places, places)."""
        row, column = (self.parts(count, x.device) for count in (height, width))
        region = self.cut((3 * row[:, None] + column)[None, ..., None])[..., 0]  # (windows, places)
        return -100.0 * (region[:, None, :, None] != region[:, None, None, :]).to(x.dtype)

    def parts(self, count: int, device: Any) -> Tensor:
        """Before the last window, and the two parts of that; (count,)."""
        place = torch.arange(count, device=device)
        return (place >= count - self.window).long() + (place >= count - self.shift).long()

    def skip(self, x: Tensor) -> Tensor:
        """In training, without what some sounds saw, at random (arXiv:1603.09382)."""
        if not self.training or not self.drop:
            return x
        kept = torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device) >= self.drop
        return x / (1 - self.drop) * kept


class Merging(nn.Module):
    """Four neighbouring places become one, twice as wide."""

    def __init__(self, size: int, side: tuple[int, int]):
        super().__init__()
        self.side = side
        self.reduction = nn.Linear(4 * size, 2 * size, bias=False)
        self.norm = nn.LayerNorm(4 * size)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, self.side)
        x = torch.cat([x[:, row::2, column::2] for column in range(2) for row in range(2)], -1)
        return self.reduction(self.norm(x.flatten(1, 2)))


class Stage(nn.Module):
    """Blocks of one width."""

    def __init__(self, config: Any, number: int, side: tuple[int, int], drops: list[float]):
        super().__init__()
        size, heads = config.patch_embeds_hidden_size * 2**number, config.num_attention_heads[number]
        self.blocks = nn.ModuleList(Block(config, size, heads, side, i % 2 == 1, drop) for i, drop in enumerate(drops))
        self.downsample = Merging(size, side) if number < len(config.depths) - 1 else None


class AudioEncoder(nn.Module):
    """The parts of the tower."""

    def __init__(self, config: Any):
        super().__init__()
        stages, self.fold = len(config.depths), config.spec_size // config.num_mel_bins
        self.patch_embed = Patches(config)
        rows, columns = self.patch_embed.grid
        if (
            config.spec_size % config.num_mel_bins
            or rows % (2 ** (stages - 1) * self.fold)
            or columns % 2 ** (stages - 1)
        ):
            text = f"a multiple of num_mel_bins ({config.num_mel_bins}) that the {stages} stages can halve"
            raise ConfigError("audio_config.spec_size", config.spec_size, text)
        drops = torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").split(list(config.depths))
        self.layers = nn.ModuleList(
            Stage(config, i, (rows // 2**i, columns // 2**i), rates.tolist()) for i, rates in enumerate(drops)
        )
        self.batch_norm = nn.BatchNorm2d(config.num_mel_bins)
        self.norm = nn.LayerNorm(config.patch_embeds_hidden_size * 2 ** (stages - 1))


class AudioModel(PreTrainedModel):
    """Reads spectrograms."""

    main_input_name = "input_features"
    input_modalities = "audio"
    embeddings_path = "audio_encoder.patch_embed.proj"
    _no_split_modules = ["Patches", "Block"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.audio_encoder = AudioEncoder(config)

    def forward(
        self,
        input_features: Tensor | None = None,
        is_longer: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """A map of the sound, (batch, dim, frequencies, places), and a vector for it.

        Args:
            input_features: spectrograms, (batch, 1 or 4, frames, bins): the whole sound, and three pieces to fuse.
            is_longer: (batch, 1), whether a sound has pieces to fuse.
            output_attentions: also give the weights of each stage's last block.
            output_hidden_states: also give the maps after each stage, (batch, dim, rows, columns).
            return_dict: False gives a tuple.
        """
        config, encoder = self.config, self.audio_encoder
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(kernel=kernel_of(config), attentions=[] if attentions else None)
        x = encoder.patch_embed(self.image(input_features), is_longer)
        side = encoder.patch_embed.grid
        seen, weights = [x.transpose(1, 2).unflatten(2, side)], []
        for stage in encoder.layers:
            for block in stage.blocks:  # type: ignore[union-attr]
                x = self.run(block, x, context)
            if context.attentions:
                weights.append(context.attentions[-1])
            if stage.downsample is not None:
                x, side = stage.downsample(x), (side[0] // 2, side[1] // 2)  # type: ignore[operator]
            seen.append(x.transpose(1, 2).unflatten(2, side))
        x = encoder.norm(x).transpose(1, 2).unflatten(2, side)  # (batch, dim, rows, columns)
        x = x.unflatten(2, (encoder.fold, -1)).transpose(2, 3).flatten(3)  # unfolded in time
        shown: dict[str, Any] = dict(hidden_states=tuple(seen) if states else None)
        shown["attentions"] = tuple(weights) if attentions else None
        return finish(BaseModelOutputWithPooling(x, x.flatten(2).mean(2), **shown), return_dict, config)

    def image(self, spectrogram: Tensor | None) -> Tensor:
        """Squares, (batch, channels, height, width), of stretches of time below each other."""
        config, fold = self.config, self.audio_encoder.fold
        longest, channels = config.spec_size * fold, 4 if config.enable_fusion else config.patch_embed_input_channels
        found = None if spectrogram is None else tuple(spectrogram.shape)
        fits = found is not None and len(found) == 4 and found[1] == channels
        if spectrogram is None or not fits or found[3] != config.num_mel_bins or found[2] > longest:  # type: ignore[index]
            text = f"(batch, {channels}, at most {longest} frames, {config.num_mel_bins} bins)"
            raise ArgumentError(f"forward: input_features is {found}, expected {text}.", name="input_features")
        x = spectrogram.to(self.audio_encoder.batch_norm.weight.dtype)
        x = self.audio_encoder.batch_norm(x.transpose(1, 3)).transpose(1, 3)
        if x.shape[2] < longest:
            x = F.interpolate(x, (longest, x.shape[3]), mode="bicubic", align_corners=True)
        return x.unflatten(2, (fold, -1)).transpose(3, 4).flatten(2, 3)
