"""wav2vec 2.0 and HuBERT: convolutions make frames of a waveform, an encoder reads the frames.

Baevski et al. 2020 (arXiv:2006.11477); Hsu et al. 2021 (arXiv:2106.07447); Pratap et al. 2023 (arXiv:2305.13516).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.layers.augment import augmented, without_channels
from autoload.layers.convolution import BatchNorm1d, FeatureEncoder, SpeechConv1d, UniformLinear, WeightNormConv1d
from autoload.model import Variant, finish
from autoload.models import wav2vec2_heads as heads
from autoload.models.wav2vec2_adapters import MultilingualCTC
from autoload.models.wav2vec2_heads import SpeechModel
from autoload.models.wav2vec2_pretraining import PreTraining
from autoload.outputs import BaseModelOutput, Wav2Vec2BaseModelOutput


@dataclass(frozen=True)
class Spec:
    """What tells one encoder of waveforms from another. Classes default to wav2vec 2.0's."""

    norm: str = "group"  # of the convolutions
    stable: bool = False  # norms before the residuals, and one at the end
    feature_norm: bool = True  # frames are normalised before the projection
    adapts: bool = False  # convolutions after the encoder shorten the sequence
    positions: type | None = None
    attention: type | None = None
    encoder: type | None = None
    adapter: type | None = None


class FeatureProjection(nn.Module):
    """From the convolutions' channels to the encoder's width; also gives what it projects."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        size = config.conv_dim[-1]
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps) if spec.feature_norm else None
        self.projection = UniformLinear(size, config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x if self.layer_norm is None else self.layer_norm(x)
        return self.dropout(self.projection(x)), x


class ConvPositions(nn.Module):
    """A wide convolution over the frames says where each stands."""

    conv: nn.Module

    def __init__(self, config: Any):
        super().__init__()
        size, kernel, groups = config.hidden_size, config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        normed = getattr(config, "conv_pos_batch_norm", False)
        self.batch_norm = BatchNorm1d(size) if normed else None
        if normed:
            self.conv = SpeechConv1d(size, size, kernel, padding=kernel // 2, groups=groups)
        else:
            self.conv = WeightNormConv1d(size, kernel, groups)
        self.activation = Activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        frames, x = x.shape[1], x.transpose(1, 2)
        x = self.conv(x if self.batch_norm is None else self.batch_norm(x))[
            ..., :frames
        ]  # an even kernel gives one more
        return self.activation(x).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention in both directions."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size = config.hidden_size
        self.layer_idx, self.heads, self.dropout = layer_idx, config.num_attention_heads, config.attention_dropout
        self.dim = size // self.heads
        self.k_proj, self.v_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.q_proj, self.out_proj = nn.Linear(size, size), nn.Linear(size, size)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, frames, dim)

    def bias(self, x: Tensor, context: Context) -> Tensor | None:
        """What is added to the scores; (batch, heads, queries, keys)."""
        return None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        dropout = self.dropout if self.training else 0.0
        options: dict[str, Any] = dict(scale=self.dim**-0.5, dropout=dropout, bias=self.bias(x, context))
        return self.out_proj(attend(q, k, v, context.masks["full"], context, **options, weights_to=context.attentions))


class FeedForward(nn.Module):
    """The wide layer and the way back."""

    def __init__(self, config: Any, size: int | None = None, act: str | None = None):
        super().__init__()
        size = size or config.hidden_size
        self.intermediate_dropout = nn.Dropout(config.activation_dropout)
        self.intermediate_dense = nn.Linear(size, config.intermediate_size)
        self.intermediate_act_fn = Activation(act or config.hidden_act)
        self.output_dense = nn.Linear(config.intermediate_size, size)
        self.output_dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.intermediate_dropout(self.intermediate_act_fn(self.intermediate_dense(x)))
        return self.output_dropout(self.output_dense(x))


class LanguageAdapter(nn.Module):
    """A narrow layer that one language brings; the rest of the model serves all of them."""

    def __init__(self, config: Any):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.linear_1 = nn.Linear(config.hidden_size, config.adapter_attn_dim)
        self.linear_2 = nn.Linear(config.adapter_attn_dim, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.relu(self.linear_1(self.norm(x))))


class Layer(nn.Module):
    """Attention and a wide layer; norms after the residuals, or before them in a stable one."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.attention = (spec.attention or Attention)(config, layer_idx)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.stable = spec.stable
        adapts = spec.stable and getattr(config, "adapter_attn_dim", None) is not None
        self.adapter_layer = LanguageAdapter(config) if adapts else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if not self.stable:
            x = self.layer_norm(x + self.dropout(self.attention(x, context)))
            return self.final_layer_norm(x + self.feed_forward(x))
        x = x + self.dropout(self.attention(self.layer_norm(x), context))
        x = x + self.feed_forward(self.final_layer_norm(x))
        return x if self.adapter_layer is None else x + self.adapter_layer(x)


class Encoder(nn.Module):
    """Positions, the stack of layers, and a norm before it or, in a stable one, after it."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.pos_conv_embed = (spec.positions or ConvPositions)(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(Layer(config, spec, i) for i in range(config.num_hidden_layers))
        self.stable = spec.stable

    def begin(self, x: Tensor, context: Context) -> Tensor:
        """From the frames to the first layer's input; a place to put what all layers share into the context."""
        x = x + self.pos_conv_embed(x)
        return self.dropout(x if self.stable else self.layer_norm(x))

    def end(self, x: Tensor, context: Context) -> Tensor:
        return self.layer_norm(x) if self.stable else x


class AdapterLayer(nn.Module):
    """A convolution with a gate."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.output_hidden_size
        self.conv = SpeechConv1d(size, 2 * size, config.adapter_kernel_size, config.adapter_stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.conv(x), 1)


class Adapter(nn.Module):
    """Shortens the sequence after the encoder."""

    def __init__(self, config: Any):
        super().__init__()
        size, narrower = config.output_hidden_size, config.output_hidden_size != config.hidden_size
        self.proj = nn.Linear(config.hidden_size, size) if narrower else None
        self.proj_layer_norm = nn.LayerNorm(size) if narrower else None
        self.layers = nn.ModuleList(AdapterLayer(config) for _ in range(config.num_adapter_layers))
        self.layerdrop = config.layerdrop

    def forward(self, x: Tensor) -> Tensor:
        if self.proj is not None and self.proj_layer_norm is not None:
            x = self.proj_layer_norm(self.proj(x))
        x = x.transpose(1, 2)
        for layer in self.layers:
            if not self.training or np.random.random() > self.layerdrop:
                x = layer(x)
        return x.transpose(1, 2)


class Model(SpeechModel):
    """An encoder of waveforms without a head."""

    embeddings_path = "feature_extractor"
    _no_split_modules = ["Layer", "ConvPositions"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.make_frontend(config, spec)
        self.masked_spec_embed: nn.Parameter | None = None
        if config.mask_time_prob > 0 or config.mask_feature_prob > 0:
            self.masked_spec_embed = nn.Parameter(torch.zeros(config.hidden_size))
        self.encoder = (spec.encoder or Encoder)(config, spec)
        self.adapter = (spec.adapter or Adapter)(config) if spec.adapts else None

    def make_frontend(self, config: Any, spec: Spec) -> None:
        """What makes frames of the sound."""
        self.feature_extractor = FeatureEncoder(config, spec.norm)
        self.feature_projection = FeatureProjection(config, spec)

    def listen(self, sound: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The encoder's input, the frames before their projection, and which are real (batch, frames)."""
        frames = self.feature_extractor(sound)
        mask = None
        if attention_mask is not None:
            mask = self._get_feature_vector_attention_mask(frames.shape[1], attention_mask, add_adapter=False)
        return *self.feature_projection(frames), mask

    def init_own(self, std: float) -> None:
        if self.masked_spec_embed is not None:
            self.masked_spec_embed.uniform_()

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask_time_indices: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the frames.

        Args:
            input_values: (batch, samples).
            attention_mask: (batch, samples), 0 at padding.
            mask_time_indices: (batch, frames), True at frames to hide; a tensor or an array.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_values is None:
            raise ArgumentError("forward: pass input_values, the samples of the sound.", name="input_values")
        config = self.config
        x, frames, mask = self.listen(input_values, attention_mask)
        x = self.augment(x, mask_time_indices, mask)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(mask)}, kernel=kernel_of(config), extra={"real": mask})
        context.attentions = [] if attentions else None
        x, seen = self.encode(x if mask is None else x.masked_fill(~mask[..., None], 0.0), context)
        x = self.adapt(x, context)
        kept: dict[str, Any] = dict(
            hidden_states=tuple(seen) if states else None,
            attentions=None if context.attentions is None else tuple(context.attentions),
        )
        return finish(self.make_output(x, frames, **kept), return_dict, config)

    def adapt(self, x: Tensor, context: Context) -> Tensor:
        """What comes after the encoder."""
        return x if self.adapter is None else self.adapter(x)

    def make_output(self, x: Tensor, frames: Tensor, **kept: Any) -> Any:
        """The result; `frames` are what the encoder was given."""
        return Wav2Vec2BaseModelOutput(x, frames, **kept)

    def augment(self, x: Tensor, chosen: Any, mask: Tensor | None) -> Tensor:
        """Hide frames that the caller chose and, in training, random ones."""
        config = self.config
        if not getattr(config, "apply_spec_augment", True):
            return x
        if self.training or chosen is not None:
            x = augmented(x, config, self.masked_spec_embed, chosen, mask)
        return without_channels(x, config) if self.training and config.mask_feature_prob > 0 else x

    def encode(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The encoder's output, and the states between its layers."""
        x = self.encoder.begin(x, context)
        seen = [x]
        for i, layer in enumerate(self.encoder.layers):
            if not self.drops(i):
                x = self.run(layer, x, context)
            seen.append(x)
        return self.encoder.end(x, context), seen

    def drops(self, layer_idx: int) -> bool:
        """Whether a layer is left out, at random, in training (arXiv:1909.11556)."""
        return self.training and self.config.layerdrop > 0 and bool(torch.rand([]) < self.config.layerdrop)


class HubertModel(Model):
    """Does not show what its encoder was given."""

    def make_output(self, x: Tensor, frames: Tensor, **kept: Any) -> Any:
        return BaseModelOutput(x, **kept)


def speech(config: Any, **own: Any) -> Spec:
    """The settings that configurations of this kind share."""
    adapts = getattr(config, "add_adapter", False)
    return Spec(config.feat_extract_norm, config.do_stable_layer_norm, adapts=adapts, **own)


def hubert(config: Any) -> Spec:
    return speech(config, feature_norm=config.feat_proj_layer_norm)


VARIANTS = {
    "wav2vec2": Variant(speech, {"CTC": MultilingualCTC}, members={"base_model_prefix": "wav2vec2"}),
    "hubert": Variant(hubert, {"Model": HubertModel}, members={"base_model_prefix": "hubert"}),
}
TASKS = heads.TASKS | {"Model": Model, "PreTraining": PreTraining}
