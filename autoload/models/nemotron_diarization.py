"""Nemotron's diarization: who speaks when, in a recording that is read piece by piece.

Medennikov et al. 2025 (arXiv:2507.18446).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.layers.rope import Rotary, rotate
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.nemotron_speakers import SpeakerCache
from autoload.outputs import BaseModelOutput, Nemotron3DiarizationOutput


class FeatureStacking(nn.Module):
    """Makes a vector of several frames."""

    def __init__(self, config: Any):
        super().__init__()
        self.factor = config.subsampling_factor
        self.projection = nn.Linear(self.factor * config.num_mel_bins, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, bins) to (batch, vectors, dim); the last vector is filled up with zeros."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % self.factor))
        return self.projection(x.unflatten(1, (-1, self.factor)).flatten(2))


class Attention(nn.Module):
    """Attention in both directions with rotary positions; only the last projection has a bias."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.dropout = config.hidden_size, config.attention_dropout
        self.dim = size // config.num_attention_heads
        if config.num_key_value_heads != config.num_attention_heads:
            text = f"num_attention_heads ({config.num_attention_heads})"
            raise ConfigError("num_key_value_heads", config.num_key_value_heads, text)
        self.q_proj, self.k_proj = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
        self.v_proj, self.o_proj = nn.Linear(size, size, bias=False), nn.Linear(size, size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        projected = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (y.unflatten(-1, (-1, self.dim)).transpose(1, 2) for y in projected)  # (batch, heads, seq, dim)
        q, k = rotate(q, *context.rope["full"]), rotate(k, *context.rope["full"])
        options: dict[str, Any] = dict(dropout=self.dropout if self.training else 0.0, weights_to=context.attentions)
        return self.o_proj(attend(q, k, v, context.masks["full"], context, scale=self.dim**-0.5, **options))


class MLP(nn.Module):
    """The wide layer and the way back."""

    def __init__(self, config: Any):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class Layer(nn.Module):
    """Attention and a wide layer, each after its norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), MLP(config)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), context)
        return x + self.mlp(self.layer_norm2(x))


class Hearing(PreTrainedModel):
    """What models of recordings have in common."""

    main_input_name = "input_features"
    input_modalities = "audio"
    _no_split_modules = ["Layer"]


class AudioModel(Hearing):
    """The encoder: a transformer over vectors of several frames."""

    embeddings_path = "embedder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.embedder = FeatureStacking(config)
        self.input_layer_norm = nn.LayerNorm(config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.layer_norm = nn.LayerNorm(config.hidden_size)
        size = config.hidden_size // config.num_attention_heads
        self.rotary_emb = Rotary(config.rope_parameters, size, config.max_position_embeddings)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of vectors.

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding; beside inputs_embeds (batch, vectors).
            inputs_embeds: (batch, vectors, dim), in place of input_features.
            position_ids: (batch or 1, vectors).
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_features is None) == (inputs_embeds is None):
            text = "forward: pass one of input_features, the spectrogram, and inputs_embeds."
            raise ArgumentError(text, name="input_features")
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embedder(input_features) if inputs_embeds is None else inputs_embeds
        if inputs_embeds is None and attention_mask is not None:
            attention_mask = attention_mask[:, :: config.subsampling_factor]
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        rope = self.rotary_emb(position_ids, x.dtype)
        context = Context({"full": encoder_mask(attention_mask)}, {"full": rope}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        x = self.input_layer_norm(x)
        seen = []
        for layer in self.layers:
            seen.append(x)
            x = self.run(layer, x, context)
        x = self.layer_norm(x)
        out = BaseModelOutput(
            x,
            hidden_states=(*seen, x) if states else None,
            attentions=None if context.attentions is None else tuple(context.attentions),
        )
        return finish(out, return_dict, config)


class SubpixelConv1d(nn.Conv1d):
    """Makes several vectors of one; fresh ones are all that one."""

    def init_own(self, std: float) -> None:
        self.weight.zero_()
        eye = torch.eye(self.in_channels, device=self.weight.device, dtype=self.weight.dtype)
        self.weight[:, :, 1] = eye.repeat(self.out_channels // self.in_channels, 1)
        self.bias.zero_()  # type: ignore[union-attr]


class Upsampler(nn.Module):
    """From vectors back to frames."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.factor = config.hidden_size, config.subsampling_factor
        self.conv = SubpixelConv1d(size, size * self.factor, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)  # (batch, vectors, factor * dim)
        return x.unflatten(2, (self.factor, -1)).flatten(1, 2)


class Model(Hearing):
    """States of frames: the encoder's, back at the rate of the spectrogram."""

    embeddings_path = "audio_tower.embedder"

    def __init__(self, config: Any):
        super().__init__(config)
        from autoload import registry

        self.audio_tower = registry.class_for(config.audio_config, "Model")(config.audio_config)
        self.proj = nn.Linear(config.head_config.audio_hidden_size, config.head_config.hidden_size)
        self.upsampler = Upsampler(config.head_config)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Arguments are the encoder's."""
        inputs = (input_features, attention_mask, inputs_embeds, position_ids)
        out = self.audio_tower(*inputs, return_dict=True, **kwargs)
        x = self.upsampler(self.proj(out.last_hidden_state))
        return finish(BaseModelOutput(x, out.hidden_states, out.attentions), return_dict, self.config)


class Classifier(nn.Module):
    """Scores of speakers."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_speakers)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(F.relu(self.dense(F.relu(x))))


class AudioFrameClassification(Hearing):
    """For each frame, which speakers are heard; these are numbered as they come in."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.model = self.base_class(config)
        self.classifier = Classifier(config.head_config)
        self.silence_embeds = nn.Parameter(torch.zeros(config.audio_config.hidden_size))

    def init_own(self, std: float) -> None:
        self.silence_embeds.zero_()

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        speaker_cache: SpeakerCache | None = None,
        num_lookahead_frames: int | None = None,
        num_lookback_frames: int | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of speakers, (batch, frames, speakers); a recording, or with any of the last three a piece of a stream.

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding.
            speaker_cache: what the piece before gave back.
            num_lookahead_frames: how many of the piece's last vectors are only looked at, and come again.
            num_lookback_frames: how many of its first vectors came before.
            return_dict: False gives a tuple.
            **kwargs: output_attentions, output_hidden_states.
        """
        if input_features is None:
            raise ArgumentError("forward: pass input_features, the spectrogram.", name="input_features")
        config, factor = self.config, self.config.audio_config.subsampling_factor
        streams = any(given is not None for given in (speaker_cache, num_lookahead_frames, num_lookback_frames))
        ahead, back = num_lookahead_frames or 0, num_lookback_frames or 0
        if speaker_cache is None:
            sizes = () if streams else (config.fifo_length, config.speaker_cache_update_period)
            speaker_cache = SpeakerCache(config.streaming_config, *sizes)
        embeds = self.model.audio_tower.embedder(input_features)
        mask = None if attention_mask is None else attention_mask[:, ::factor].bool()
        end = embeds.shape[1] - ahead
        if min(ahead, back) < 0 or end <= back:
            text = f"expected num_lookback_frames ({back}) and num_lookahead_frames ({ahead}) to leave some of the"
            raise ArgumentError(f"forward: {text} {embeds.shape[1]} vectors.", name="num_lookahead_frames")
        length, before, after = config.chunk_length, config.chunk_left_context, config.chunk_right_context
        if streams:
            length, before, after = end - back, back, ahead
        logits, outputs = [], []
        for start in range(back, end, length):
            stop, first = min(start + length, end), max(start - before, 0)
            seen = slice(first, stop + after)
            part = None if mask is None else mask[:, seen]
            scores, out = self.step(embeds[:, seen], part, speaker_cache, start - first, stop - start, kwargs)
            logits.append(scores)
            outputs.append(out)
        scores = torch.cat(logits, 1)[:, : input_features.shape[1] - back * factor]
        shown = {
            name: tuple(x for out in outputs for x in out.get(name) or ()) or None
            for name in ("hidden_states", "attentions")
        }
        cache = speaker_cache if streams else None
        return finish(Nemotron3DiarizationOutput(scores, **shown, speaker_cache=cache), return_dict, config)

    def step(
        self, embeds: Tensor, mask: Tensor | None, cache: SpeakerCache, back: int, count: int, kwargs: dict[str, Any]
    ) -> tuple[Tensor, Any]:
        """Scores of `count` vectors' frames after the first `back` vectors, and what the encoder gave."""
        cached = cache.get_embeds(embeds)
        known, x = cached.shape[1], torch.cat([cached, embeds], 1)
        mask = None if mask is None else F.pad(mask, (known, 0), value=True)
        out = self.model(inputs_embeds=x, attention_mask=mask, return_dict=True, **kwargs)
        logits = self.classifier(out.last_hidden_state)
        cache.update(x, logits, self.silence_embeds, count, mask, back)
        begin, factor = known + back, self.config.audio_config.subsampling_factor
        return logits[:, begin * factor : (begin + count) * factor], out


VARIANTS = {
    "nemotron3_diarization": Variant(),
    "nemotron3_diarization_audio": Variant(heads={"Model": AudioModel}),
}
TASKS = {"Model": Model, "AudioFrameClassification": AudioFrameClassification}
