"""Moonshine for streams: an encoder of whole frames that looks little ahead, so that it can run while someone speaks.

Kudlur et al. 2026 (arXiv:2602.12241).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Mask, band, encoder_mask
from autoload.layers.cache import EncoderDecoderCache
from autoload.layers.convolution import mask_of_lengths
from autoload.layers.rope import Rotary
from autoload.layers.selection import explicit, narrowed
from autoload.model import Variant, finish
from autoload.models import gpt_decoder, moonshine, seq2seq
from autoload.outputs import MoonshineStreamingEncoderModelOutput


class OffsetNorm(nn.Module):
    """Layer norm whose weight is an offset from one."""

    def __init__(self, size: int):
        super().__init__()
        self.ln = nn.LayerNorm(size, elementwise_affine=False)
        self.gamma = nn.Parameter(torch.zeros(size))

    def init_own(self, std: float) -> None:
        self.gamma.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(x) * (self.gamma + 1.0)


class Compression(nn.Module):
    """Large values grow as their logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.log_k = nn.Parameter(torch.tensor(0.75).log())

    def init_own(self, std: float) -> None:
        self.log_k.fill_(0.75).log_()

    def forward(self, x: Tensor) -> Tensor:
        return torch.asinh(self.log_k.exp() * x)


class CausalConv1d(nn.Conv1d):
    """Halves the number of frames, and looks at none that is still to come."""

    def __init__(self, before: int, after: int):
        super().__init__(before, after, kernel_size=5, stride=2)

    def thinned(self, real: Tensor) -> Tensor:
        """Which new frames see a real one; (batch, frames) of booleans to (batch, fewer frames)."""
        seen = F.max_pool1d(F.pad(real[:, None].float(), (4, 0)), 5, 2)
        return seen[:, 0] > 0

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (4, 0)))


class Embedder(nn.Module):
    """From the waveform to a vector for every four frames."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.frame = round(config.sample_rate * config.frame_ms / 1000.0)  # samples
        self.comp = Compression()
        self.linear = nn.Linear(self.frame, size, bias=False)
        self.conv1 = CausalConv1d(size, 2 * size)
        self.conv2 = CausalConv1d(2 * size, size)

    def levelled(self, frames: Tensor) -> Tensor:
        """Without the mean of each frame, and equally loud."""
        frames = frames - frames.mean(-1, keepdim=True)
        return frames / (frames.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def real(self, mask: Tensor) -> list[Tensor]:
        """Which frames are real before and after each convolution, from (batch, samples); padding is on the right."""
        first = mask_of_lengths(mask.sum(-1) // self.frame, mask.shape[1] // self.frame)
        second = self.conv1.thinned(first)
        return [first, second, self.conv2.thinned(second)]

    def forward(self, sound: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, samples) to (batch, frames, dim), and which of these are real."""
        if sound.shape[1] % self.frame:
            text = f"forward: input_values has {sound.shape[1]} samples, expected a multiple of {self.frame}."
            raise ArgumentError(f"{text} The processor pads to one.", name="input_values")
        x = F.silu(self.linear(self.comp(self.levelled(sound.unflatten(1, (-1, self.frame))))))
        real: Any = [None] * 3 if mask is None else self.real(mask)
        x = self.hidden(x.transpose(1, 2), real[0])
        x = F.silu(self.hidden(self.conv1(x), real[1]))
        return self.hidden(self.conv2(x), real[2]).transpose(1, 2), real[2]

    @staticmethod
    def hidden(x: Tensor, real: Tensor | None) -> Tensor:
        """(batch, dim, frames) without what is no frame."""
        return x if real is None else x * real[:, None]


class EncoderAttention(gpt_decoder.Attention):
    """Sees a few frames before and fewer after; positions come from nowhere else."""

    def __init__(self, config: Any, layer_idx: int):
        size, heads, groups = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        super().__init__(size, heads, layer_idx, scale=config.head_dim**-0.5, dropout=config.attention_dropout)
        self.dim, bias = config.head_dim, config.attention_bias
        self.kind = tuple(config.sliding_windows[layer_idx])
        self.q_proj = nn.Linear(size, heads * self.dim, bias=bias)
        self.k_proj = nn.Linear(size, groups * self.dim, bias=bias)
        self.v_proj = nn.Linear(size, groups * self.dim, bias=bias)
        self.o_proj = nn.Linear(heads * self.dim, size, bias=bias)

    queries = moonshine.Attention.queries
    keys_values = moonshine.Attention.keys_values
    output = moonshine.Attention.output


class EncoderLayer(nn.Module):
    """Attention and a wide layer, each after its norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_attn = EncoderAttention(config, layer_idx)
        self.mlp = moonshine.MLP(config, config.hidden_act, gated=False)
        self.input_layernorm, self.post_attention_layernorm = (OffsetNorm(config.hidden_size) for _ in range(2))

    forward = moonshine.EncoderLayer.forward


class Encoder(seq2seq.Stack):
    """Reads the waveform."""

    main_input_name = "input_values"
    embeddings_path = "embedder.linear"
    _no_split_modules = ["EncoderLayer", "Embedder"]

    def __init__(self, config: Any, spec: Any):
        whole, config = config, config.encoder_config
        if config._attn_implementation is None:
            config._attn_implementation = whole._attn_implementation
        super().__init__(config)
        windows, count = config.sliding_windows, config.num_hidden_layers
        if len(windows) != count or not all(isinstance(w, (list, tuple)) and len(w) == 2 for w in windows):
            raise ConfigError("encoder_config.sliding_windows", windows, f"two numbers for each of the {count} layers")
        self.embedder = Embedder(config)
        self.layers = nn.ModuleList(EncoderLayer(config, i) for i in range(count))
        self.final_norm = OffsetNorm(config.hidden_size)

    def close(self, x: Tensor) -> Tensor:
        return self.final_norm(x)

    def thinned(self, mask: Tensor | None, length: int) -> Tensor | None:
        """What is real after the convolutions, (batch, length), from (batch, samples)."""
        return None if mask is None else self.embedder.real(mask)[-1]

    def make_masks(self, real: Tensor | None, x: Tensor) -> dict[Any, Mask]:
        """By the layers' windows, which go with a mask: without one all frames see each other, as in the reference."""
        windows = dict.fromkeys(tuple(window) for window in self.config.sliding_windows)
        if real is None:
            return {window: Mask() for window in windows}
        size, masks = x.shape[1], {}
        seen = explicit(encoder_mask(real), size, size, x.device)
        for behind, ahead in windows:
            near = band(size, behind, max(ahead, 1), x.device)
            masks[behind, ahead] = Mask(narrowed(seen, near))
        return masks

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of a recording.

        Args:
            input_values: waveforms, (batch, samples), of whole frames.
            attention_mask: (batch, samples), 0 at padding; without it all frames see each other.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_values is None:
            raise ArgumentError("forward: pass input_values, or encoder_outputs.", name="input_values")
        x, real = self.embedder(input_values, attention_mask)
        context = self.context(None, output_attentions, output_hidden_states)
        context.masks = self.make_masks(real, x)
        x, seen = self.run_layers(x, context)
        attentions = tuple(context.attentions) if context.attentions is not None else None
        out = MoonshineStreamingEncoderModelOutput(x, (*seen, x) if context.states else None, attentions, real)
        return finish(out, return_dict, self.config)


class Decoder(moonshine.Decoder):
    """Gives the encoder's states their places, and its own width."""

    def __init__(self, config: Any, spec: Any):
        super().__init__(config, spec)
        size, width = config.encoder_config.hidden_size, config.hidden_size
        self.pos_emb = nn.Embedding(config.max_position_embeddings, size)
        self.proj = nn.Linear(size, width, bias=False) if size != width else nn.Identity()

    def make_layers(self, config: Any) -> nn.ModuleList:
        heads = config.num_attention_heads
        return nn.ModuleList(
            moonshine.DecoderLayer(config, i, heads, config.hidden_act) for i in range(config.num_hidden_layers)
        )

    def make_rotary(self, config: Any) -> None:
        heads, groups = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
        if groups not in (None, heads):
            raise ConfigError("num_key_value_heads", groups, f"as many as there are heads ({heads})")
        self.rotary_emb = Rotary(config.rope_parameters, config.head_dim, config.max_position_embeddings, True)

    def placed(self, states: Tensor) -> Tensor:
        """States of the encoder that know their places, (batch, source, dim)."""
        if states.shape[1] > (most := self.pos_emb.num_embeddings):
            text = f"forward: the sound makes {states.shape[1]} states, expected at most {most}. Cut it into parts."
            raise ArgumentError(text, name="encoder_hidden_states")
        return states + self.pos_emb.weight[: states.shape[1]]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        if encoder_hidden_states is None:
            text = f"{type(self).__name__}: pass encoder_hidden_states; every layer looks at them."
            raise ArgumentError(text, name="encoder_hidden_states")
        made = isinstance(past_key_values, EncoderDecoderCache) and past_key_values.is_updated.get(0)
        states = encoder_hidden_states if made else self.proj(self.placed(encoder_hidden_states))
        return super().forward(input_ids, attention_mask, states, past_key_values=past_key_values, **kwargs)


class Model(moonshine.Model):
    """Moonshine for streams without a head."""

    encoder_class = Encoder
    decoder_class = Decoder

    def source_mask(self, source: Any, attention_mask: Tensor | None) -> Tensor | None:
        real = getattr(source, "attention_mask", None)
        return super().source_mask(source, attention_mask) if real is None else real

    def make_output(self, out: Any, source: Any) -> Any:
        """What it shows of the encoder is what the decoder looks at: states that know their places."""
        result = super().make_output(out, source)
        result.encoder_last_hidden_state = self.decoder.placed(source.last_hidden_state)
        if source.hidden_states is not None:
            result.encoder_hidden_states = (*source.hidden_states[:-1], result.encoder_last_hidden_state)
        return result


VARIANTS = {"moonshine_streaming": Variant()}
TASKS = {"Model": Model, "SpeechSeq2Seq": moonshine.LM}
