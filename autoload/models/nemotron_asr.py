"""Nemotron's speech recognition: a conformer that hears a sound piece by piece, and a transducer over it.

Noroozi et al. 2023 (arXiv:2312.17279).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.generation.transducer import Frames
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, kernel_of
from autoload.layers.cache import DynamicCache
from autoload.layers.relative import by_key, distance_waves
from autoload.model import Variant, finish
from autoload.models import parakeet, transducer
from autoload.models.nemotron_asr_convolution import CausalConv1d, ConvCache, Subsampling
from autoload.outputs import (
    Nemotron3_5AsrRNNTOutput,
    NemotronAsrStreamingEncoderModelOutput,
    NemotronAsrStreamingGenerateOutput,
    NemotronAsrStreamingRNNTOutput,
)

ENDLESS = 10**9  # steps of a stream, whose length nobody knows


class Attention(parakeet.Attention):
    """Also looks at keys of earlier pieces."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config)
        self.layer_idx = layer_idx

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        table = self.split(self.relative_k_proj(context.extra["waves"])).transpose(1, 2)  # (heads, dim, distances)
        scale, dropout = self.dim**-0.5, self.dropout if self.training else 0.0
        options: dict[str, Any] = dict(scale=scale, dropout=dropout, weights_to=context.attentions)
        options["bias"] = by_key((q + self.bias_v[:, None]) @ table) * scale
        out = attend(q + self.bias_u[:, None], k, v, context.masks["full"], context, **options)
        real = context.extra["real"]
        return self.o_proj(out if real is None else out.masked_fill(~real[..., None], 0.0))


class Convolution(nn.Module):
    """A gate, a causal convolution of each channel by itself, and projections around them."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size, kernel, bias = config.hidden_size, config.conv_kernel_size, config.convolution_bias
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, 1, bias=bias)
        self.depthwise_conv = CausalConv1d(size, kernel, f"conv.{layer_idx}", bias)
        self.norm = nn.LayerNorm(size)
        self.pointwise_conv2 = nn.Conv1d(size, size, 1, bias=bias)
        self.activation = Activation(config.hidden_act)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x, real = F.glu(self.pointwise_conv1(x.transpose(1, 2)), 1), context.extra["real"]  # (batch, dim, frames)
        x = x if real is None else x.masked_fill(~real[:, None], 0.0)
        x = self.norm(self.depthwise_conv(x, context.extra["padding_cache"]).transpose(1, 2))
        return self.pointwise_conv2(self.activation(x).transpose(1, 2)).transpose(1, 2)


class Block(parakeet.Block):
    """Hears no more than a stream has brought."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config)
        self.self_attn, self.conv = Attention(config, layer_idx), Convolution(config, layer_idx)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + 0.5 * self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x), context)
        x = x + self.conv(self.norm_conv(x), context)
        return self.norm_out(x + 0.5 * self.feed_forward2(self.norm_feed_forward2(x)))


class Streaming(parakeet.Parakeet):
    """What Nemotron's models know about lengths."""

    def _get_subsampling_output_length(self, input_lengths: Tensor) -> Tensor:
        config = getattr(self.config, "encoder_config", self.config)
        for _ in range(config.subsampling_factor.bit_length() - 1):
            input_lengths = (input_lengths + config.subsampling_conv_stride - 2) // config.subsampling_conv_stride + 1
        return input_lengths


class Model(Streaming):
    """The encoder: each vector sees its own piece of the sound and some before it."""

    base_model_prefix = "encoder"
    embeddings_path = "subsampling"

    def __init__(self, config: Any):
        super().__init__(config)
        self.subsampling = Subsampling(config)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.dropout, self.dropout_positions = nn.Dropout(config.dropout), nn.Dropout(config.dropout_positions)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        output_attention_mask: bool = True,
        use_cache: bool | None = None,
        padding_cache: ConvCache | None = None,
        num_lookahead_tokens: int | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, of fewer frames than were given.

        Args:
            input_features: (batch, frames, bins); with caches, the next piece of a stream.
            attention_mask: (batch, frames), 0 at padding.
            position_ids: without effect.
            past_key_values: keys and values of earlier pieces.
            output_attention_mask: also give the mask of the hidden states, where a mask was given.
            use_cache: give back what the next piece needs; this one does not end the sound.
            padding_cache: frames of earlier pieces, for the convolutions.
            num_lookahead_tokens: a piece has one vector more than that; default the configuration's.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_features is None:
            raise ArgumentError("forward: pass input_features, the spectrogram.", name="input_features")
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if use_cache:
            past_key_values = DynamicCache(config=config) if past_key_values is None else past_key_values
            padding_cache = ConvCache() if padding_cache is None else padding_cache
        lengths = None if attention_mask is None else attention_mask.sum(-1)
        x = self.subsampling(input_features, lengths, padding_cache)
        x = x * config.hidden_size**0.5 if config.scale_input else x
        real = None if attention_mask is None else self._get_output_attention_mask(attention_mask, x.shape[1])
        context = self.make_context(x, real, past_key_values, num_lookahead_tokens)
        context.extra["padding_cache"] = padding_cache
        context.attentions = [] if attentions else None
        x = self.dropout(x)
        seen = [x]
        for layer in self.layers:
            if not self.training or config.layerdrop == 0 or torch.rand([]) >= config.layerdrop:
                x = self.run(layer, x, context)
            seen.append(x)
        out = NemotronAsrStreamingEncoderModelOutput(
            x,
            hidden_states=tuple(seen) if states else None,
            attentions=None if context.attentions is None else tuple(context.attentions),
            attention_mask=real.int() if real is not None and output_attention_mask else None,
            past_key_values=past_key_values,
            padding_cache=padding_cache,
        )
        return finish(out, return_dict, config)

    def make_context(self, x: Tensor, real: Tensor | None, cache: Any, lookahead: int | None) -> Context:
        """What all blocks are told; `extra["real"]` is True at vectors that see anything."""
        config, queries = self.config, x.shape[1]
        keys, start = (queries, 0) if cache is None else cache.get_mask_sizes(queries, 0)
        before = keys - queries
        if keys > config.max_position_embeddings:
            text = f"at most {config.max_position_embeddings} vectors (max_position_embeddings)"
            raise ArgumentError(f"forward: expected {text}, found {keys}.", name="input_features")
        mask = self.pieces(keys, start, queries, lookahead, x.device)[None, None]  # (1, 1, queries, keys)
        sees = None
        if real is not None:  # what a cache holds is real
            mask = mask & F.pad(real, (before, 0), value=True)[:, None, None]
            sees = mask.any(-1)[:, 0]
        waves = self.dropout_positions(distance_waves(x, before))
        return Context(
            {"full": Mask(mask)}, cache=cache, kernel=kernel_of(config), extra={"real": sees, "waves": waves}
        )

    def pieces(self, keys: int, start: int, queries: int, lookahead: int | None, device: Any) -> Tensor:
        """True where a vector may look: at its own piece, and at as many before it as the window has room for."""
        config = self.config
        size = 1 + (config.default_num_lookahead_tokens if lookahead is None else int(lookahead))
        if size < 1:
            text = f"forward: num_lookahead_tokens is {size - 1}, expected 0 or more."
            raise ArgumentError(text, name="num_lookahead_tokens")
        piece = torch.arange(start, start + keys, device=device) // size
        back = piece[keys - queries :, None] - piece
        reach = (config.sliding_window - 1) // size if config.sliding_window else keys
        return (back >= 0) & (back <= reach)


class RNNT(Streaming, transducer.RNNT):
    """A transducer that transcribes a stream while it comes in."""

    encoder_output_class = NemotronAsrStreamingEncoderModelOutput
    output_class: type[NemotronAsrStreamingRNNTOutput] = NemotronAsrStreamingRNNTOutput
    generate_class = NemotronAsrStreamingGenerateOutput
    handed_on = {
        **transducer.RNNT.handed_on,
        "encoder_past_key_values": "past_key_values",
        "padding_cache": "padding_cache",
    }

    @classmethod
    def named_inputs(cls) -> tuple[str, ...]:
        return ("num_lookahead_tokens",)

    @torch.no_grad()
    def generate(self, inputs: Any = None, generation_config: Any = None, **kwargs: Any) -> Any:
        """The likeliest token or blank at each step, until the sound ends.

        Args:
            inputs: (batch, frames, bins), the same as `input_features`; or an iterator of pieces of a stream, which are
                read when they are needed. The first piece has `subsampling_factor * num_lookahead_tokens + 1` frames,
                each other one `subsampling_factor * (num_lookahead_tokens + 1)`.
            generation_config: settings; default the model's own.
            **kwargs: as of every `generate`, and inputs of the model; with a stream, `num_lookahead_tokens` must be one.

        Returns:
            `sequences` (batch, steps), which begin with the start token, and `durations`, the frames that each step goes
            on by.

        Raises:
            ArgumentError: a piece of another size, or an iterator that has none.
        """
        features = inputs if inputs is not None else kwargs.get("input_features")
        if not isinstance(features, Iterator):
            return super().generate(inputs, generation_config, **kwargs)
        kwargs.pop("input_features", None)
        lookahead = kwargs.pop("num_lookahead_tokens", None)
        if lookahead is None:
            text = "generate: a stream needs num_lookahead_tokens, for which its pieces were cut."
            raise ArgumentError(text, name="num_lookahead_tokens")
        told = {name: kwargs.pop(name) for name in self.named_inputs() if name in kwargs}
        heard = self.listen(features, int(lookahead), told)
        if (first := next(heard, None)) is None:
            raise ArgumentError("generate: the stream ended before its first piece.", name="input_features")
        lengths = torch.full(first.shape[:1], first.shape[1], device=first.device)
        kwargs["encoder_outputs"] = NemotronAsrStreamingEncoderModelOutput(first)
        frames = Frames(first, lengths, heard)
        return self.transcribe(lambda **inputs: frames, ENDLESS, None, generation_config, kwargs)

    def listen(self, stream: Iterator[Tensor], lookahead: int, told: dict[str, Any]) -> Iterator[Tensor]:
        """What the joint network reads of each piece of a stream, (batch, vectors, dim)."""
        factor, caches = self.config.encoder_config.subsampling_factor, {}
        wanted = factor * lookahead + 1
        for piece in stream:
            if piece.shape[1] != wanted:
                which = "next" if caches else "first"
                text = f"the {which} piece has {piece.shape[1]} frames, expected {wanted} for num_lookahead_tokens"
                raise ArgumentError(f"generate: {text}={lookahead}. Fill the last one up.", name="input_features")
            piece = piece.to(self.device, self.dtype)
            out = self.encoder(piece, use_cache=True, num_lookahead_tokens=lookahead, return_dict=True, **caches)
            caches = {"past_key_values": out.past_key_values, "padding_cache": out.padding_cache}
            wanted = factor * (lookahead + 1)
            yield self.project(out.last_hidden_state, **told)


class PromptProjector(nn.Module):
    """Tells vectors the language."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.encoder_config.hidden_size
        self.linear_1 = nn.Linear(size + config.num_prompts, config.prompt_intermediate_size)
        self.linear_2 = nn.Linear(config.prompt_intermediate_size, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.relu(self.linear_1(x)))


class PromptedRNNT(RNNT):
    """A transducer that is told the language, or to find it out."""

    output_class = Nemotron3_5AsrRNNTOutput
    reads = ("prompt_ids",)

    def __init__(self, config: Any):
        super().__init__(config)
        self.prompt_projector = PromptProjector(config)

    @classmethod
    def named_inputs(cls) -> tuple[str, ...]:
        return ("num_lookahead_tokens", "prompt_ids")

    def project(self, states: Tensor, prompt_ids: Tensor | None = None, **kwargs: Any) -> Tensor:
        """`prompt_ids` (batch,) are numbers of languages."""
        if prompt_ids is None:
            prompt_ids = torch.full(states.shape[:1], self.config.default_prompt_id)
        told = F.one_hot(prompt_ids.to(states.device), self.config.num_prompts).to(states.dtype)
        x = torch.cat([states, told[:, None].expand(-1, states.shape[1], -1)], -1)
        return super().project(self.prompt_projector(x))


VARIANTS = {
    "nemotron3_5_asr": Variant(heads={"RNNT": PromptedRNNT}),
    "nemotron_asr_streaming": Variant(),
    "nemotron_asr_streaming_encoder": Variant(),
}
TASKS = {"Model": Model, "RNNT": RNNT}
