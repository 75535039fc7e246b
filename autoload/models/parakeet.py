"""Parakeet: convolutions shorten a spectrogram, conformer blocks read what is left.

Rekesh et al. 2023 (arXiv:2305.05084).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, biased, kernel_of
from autoload.layers.convolution import BatchNorm1d, conv_lengths, mask_of_lengths
from autoload.layers.relative import by_key, distance_waves
from autoload.losses import ctc_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import CausalLMOutput, ParakeetCTCGenerateOutput, ParakeetEncoderModelOutput


class Subsampling(nn.Module):
    """Convolutions with strides over time and pitch; what they make of padding is zero after each."""

    def __init__(self, config: Any):
        super().__init__()
        size, kernel, stride = (
            getattr(config, f"subsampling_conv_{name}") for name in ("channels", "kernel_size", "stride")
        )
        count, around = config.subsampling_factor.bit_length() - 1, (kernel - 1) // 2
        layers: list[nn.Module] = [nn.Conv2d(1, size, kernel, stride, around), nn.ReLU()]
        for _ in range(count - 1):
            alone = nn.Conv2d(size, size, kernel, stride, around, groups=size)  # each channel by itself
            layers += [alone, nn.Conv2d(size, size, 1), nn.ReLU()]
        self.layers = nn.ModuleList(layers)
        self.linear = nn.Linear(size * (config.num_mel_bins // stride**count), config.hidden_size)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(batch, frames, bins) to (batch, fewer frames, dim)."""
        x = x[:, None]
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.Conv2d) and lengths is not None:
                if layer.stride[0] > 1:
                    lengths = fewer(lengths, layer.kernel_size[0], layer.stride[0])
                x = x * mask_of_lengths(lengths, x.shape[2])[:, None, :, None]
        return self.linear(x.transpose(1, 2).flatten(2))


def fewer(lengths: Tensor, kernel: int, stride: int) -> Tensor:
    """How many frames a convolution makes that pads on both sides."""
    return conv_lengths(lengths + (kernel - 1) // 2 * 2, [(kernel, stride)])


class FeedForward(nn.Module):
    """The wide layer and the way back."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.attention_bias)
        self.linear2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.attention_bias)
        self.activation = Activation(config.hidden_act)
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class Attention(nn.Module):
    """Multi-head attention in both directions that scores distances too (arXiv:1901.02860)."""

    def __init__(self, config: Any):
        super().__init__()
        size, bias = config.hidden_size, config.attention_bias
        self.heads, self.dropout = config.num_attention_heads, config.attention_dropout
        self.dim = size // self.heads
        self.q_proj, self.k_proj = nn.Linear(size, size, bias=bias), nn.Linear(size, size, bias=bias)
        self.v_proj, self.o_proj = nn.Linear(size, size, bias=bias), nn.Linear(size, size, bias=bias)
        self.relative_k_proj = nn.Linear(size, size, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(self.heads, self.dim))
        self.bias_v = nn.Parameter(torch.zeros(self.heads, self.dim))

    def init_own(self, std: float) -> None:
        self.bias_u.normal_(0.0, std)
        self.bias_v.normal_(0.0, std)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(-3, -2)  # (..., heads, seq, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        table = self.split(self.relative_k_proj(context.extra["waves"])).transpose(1, 2)  # (heads, dim, distances)
        scale, dropout = self.dim**-0.5, self.dropout if self.training else 0.0
        mask = biased(context.masks["full"], by_key((q + self.bias_v[:, None]) @ table) * scale, x.shape[1])
        options: dict[str, Any] = dict(scale=scale, dropout=dropout, weights_to=context.attentions)
        return self.o_proj(attend(q + self.bias_u[:, None], k, v, mask, context, **options))


class Convolution(nn.Module):
    """A gate, a convolution of each channel by itself, and projections around them."""

    def __init__(self, config: Any):
        super().__init__()
        size, kernel, bias = config.hidden_size, config.conv_kernel_size, config.convolution_bias
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, 1, bias=bias)
        self.depthwise_conv = nn.Conv1d(size, size, kernel, padding=(kernel - 1) // 2, groups=size, bias=bias)
        self.norm = BatchNorm1d(size)
        self.pointwise_conv2 = nn.Conv1d(size, size, 1, bias=bias)
        self.activation = Activation(config.hidden_act)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), 1)  # (batch, dim, frames)
        x = x if real is None else x.masked_fill(~real[:, None], 0.0)
        return self.pointwise_conv2(self.activation(self.norm(self.depthwise_conv(x)))).transpose(1, 2)


class Block(nn.Module):
    """Half a wide layer, attention, convolution, half a wide layer; each after a norm, and a norm at the end."""

    attention_class: ClassVar[type[nn.Module]] = Attention
    convolution_class: ClassVar[type[nn.Module]] = Convolution

    def __init__(self, config: Any):
        super().__init__()
        self.feed_forward1, self.feed_forward2 = FeedForward(config), FeedForward(config)
        self.self_attn, self.conv = self.attention_class(config), self.convolution_class(config)
        self.norm_feed_forward1, self.norm_feed_forward2 = self.make_norm(config), self.make_norm(config)
        self.norm_self_att, self.norm_conv = self.make_norm(config), self.make_norm(config)
        self.norm_out = self.make_norm(config)

    def make_norm(self, config: Any) -> nn.Module:
        return nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + 0.5 * self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x), context)
        x = self.convolve(x, context.extra["real"])
        return self.norm_out(x + 0.5 * self.feed_forward2(self.norm_feed_forward2(x)))

    def convolve(self, x: Tensor, real: Tensor | None) -> Tensor:
        return x + self.conv(self.norm_conv(x), real)


class Parakeet(PreTrainedModel):
    """What Parakeet's models know about lengths."""

    main_input_name = "input_features"
    input_modalities = "audio"
    _no_split_modules = ["Block"]

    def _get_subsampling_output_length(self, input_lengths: Tensor) -> Tensor:
        """How many vectors are made of that many frames."""
        config = getattr(self.config, "encoder_config", self.config)
        for _ in range(config.subsampling_factor.bit_length() - 1):
            input_lengths = fewer(input_lengths, config.subsampling_conv_kernel_size, config.subsampling_conv_stride)
        return input_lengths

    def _get_output_attention_mask(self, attention_mask: Tensor, target_length: int | None = None) -> Tensor:
        """True at real vectors, (batch, vectors); from the mask of the frames."""
        lengths = self._get_subsampling_output_length(attention_mask.sum(-1))
        return mask_of_lengths(lengths, int(lengths.max()) if target_length is None else target_length)


class Encoder(Parakeet):
    """The steps of a forward pass. Subclasses say what comes before the blocks, and what these are told."""

    base_model_prefix = "encoder"
    gives_mask: ClassVar[bool] = True  # of the hidden states, where nothing is said
    layers: nn.ModuleList

    def read(self, input_features: Tensor, attention_mask: Tensor | None) -> Tensor:
        """What the first block reads, (batch, vectors, dim)."""
        raise NotImplementedError

    def make_context(self, x: Tensor, attention_mask: Tensor | None) -> Context:
        """What all blocks are told; `extra["real"]` is True at real vectors."""
        raise NotImplementedError

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The last hidden states, and those of all layers, the first one's input before them."""
        seen, dropped = [x], self.config.layerdrop if self.training else 0.0
        for layer in self.layers:
            if not dropped or torch.rand([]) >= dropped:
                x = self.run(layer, x, context)
            seen.append(x)
        return x, seen

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attention_mask: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, of fewer frames than were given.

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding.
            output_attention_mask: also give the mask of the hidden states, where a mask was given.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_features is None:
            raise ArgumentError("forward: pass input_features, the spectrogram.", name="input_features")
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        masked = self.gives_mask if output_attention_mask is None else output_attention_mask
        x = self.read(input_features, attention_mask)
        context = self.make_context(x, attention_mask)
        context.attentions = [] if attentions else None
        x, seen = self.run_layers(x, context)
        real = context.extra["real"]
        out = ParakeetEncoderModelOutput(
            x,
            hidden_states=tuple(seen) if states else None,
            attentions=tuple(context.attentions) if context.attentions else None,
            attention_mask=real.int() if real is not None and masked else None,
        )
        return finish(out, return_dict, config)


class Model(Encoder):
    """Parakeet's encoder."""

    embeddings_path = "subsampling"

    def __init__(self, config: Any):
        super().__init__(config)
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.dropout, self.dropout_positions = nn.Dropout(config.dropout), nn.Dropout(config.dropout_positions)

    def read(self, input_features: Tensor, attention_mask: Tensor | None) -> Tensor:
        x = self.subsampling(input_features, None if attention_mask is None else attention_mask.sum(-1))
        return x * self.config.hidden_size**0.5 if self.config.scale_input else x

    def make_context(self, x: Tensor, attention_mask: Tensor | None) -> Context:
        real = None if attention_mask is None else self._get_output_attention_mask(attention_mask, x.shape[1])
        mask = Mask() if real is None else Mask((real[:, None] & real[..., None])[:, None])
        waves = self.dropout_positions(distance_waves(x))
        return Context({"full": mask}, kernel=kernel_of(self.config), extra={"real": real, "waves": waves})

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        return super().run_layers(self.dropout(x), context)


class PointwiseConv1d(nn.Conv1d):
    """A projection of each vector, stored as a convolution."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class CTC(Parakeet):
    """Scores of the vocabulary for each vector."""

    reads = ("output_attention_mask",)

    base_model_prefix = "model"
    embeddings_path = "encoder.subsampling"

    def __init__(self, config: Any):
        super().__init__(config)
        from autoload import registry

        self.encoder = registry.class_for(config.encoder_config, "Model")(config.encoder_config)
        self.ctc_head = self.make_head(config.encoder_config.hidden_size, config.vocab_size)

    def make_head(self, size: int, count: int) -> nn.Module:
        return PointwiseConv1d(size, count, 1)

    def set_attn_implementation(self, name: str) -> None:
        super().set_attn_implementation(name)
        self.encoder.set_attn_implementation(name)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, most tokens), filled up with -100."""
        kwargs["output_attention_mask"] = True  # the loss counts by it
        out = self.encoder(input_features, attention_mask, return_dict=True, **kwargs)
        logits = self.ctc_head(out.last_hidden_state)
        loss = None
        if labels is not None:
            shape, real = logits.shape[:2], out.attention_mask
            real = torch.ones(shape, dtype=torch.int, device=logits.device) if real is None else real
            loss = ctc_loss(logits, labels, real.sum(-1), self.config)
        return finish(CausalLMOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_features: Tensor,
        attention_mask: Tensor | None = None,
        return_dict_in_generate: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The likeliest token of each vector, repeats and blanks included; (batch, vectors).

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding.
            return_dict_in_generate: also give the scores.
            **kwargs: of the forward pass.
        """
        out = self(input_features, attention_mask, return_dict=True, **kwargs)
        tokens = out.logits.argmax(-1)
        if attention_mask is not None:
            real = self._get_output_attention_mask(attention_mask, tokens.shape[1])
            tokens = tokens.masked_fill(~real, self.config.pad_token_id)
        if not return_dict_in_generate:
            return tokens
        return ParakeetCTCGenerateOutput(tokens, out.logits, out.attentions, out.hidden_states)


VARIANTS = {
    "parakeet_ctc": Variant(),
    "parakeet_encoder": Variant(),
}
TASKS = {"Model": Model, "CTC": CTC}
