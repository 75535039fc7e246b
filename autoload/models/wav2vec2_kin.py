"""Encoders of waveforms that differ from wav2vec 2.0's in a part: data2vec, UniSpeech, UniSpeech-SAT, SEW.

Baevski et al. 2022 (arXiv:2202.03555); Wang et al. 2021 (arXiv:2101.07597); Chen et al. 2021 (arXiv:2110.05752);
Wu et al. 2021 (arXiv:2109.06870).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context, encoder_mask
from autoload.layers.convolution import FeatureEncoder, SpeechConv1d, WeightNormConv1d
from autoload.model import Variant, finish
from autoload.models import wav2vec2_heads as heads
from autoload.models.wav2vec2 import HubertModel, Layer, Model, Spec, speech
from autoload.models.wav2vec2_heads import SpeechHead
from autoload.models.wav2vec2_pretraining import Quantizer
from autoload.outputs import UniSpeechForPreTrainingOutput, UniSpeechSatForPreTrainingOutput

# -- data2vec


class PositionLayer(nn.Module):
    """Convolution, norm without weights, activation."""

    def __init__(self, config: Any):
        super().__init__()
        size, kernel = config.hidden_size, config.conv_pos_kernel_size
        groups = config.num_conv_pos_embedding_groups
        self.conv = SpeechConv1d(size, size, kernel, padding=kernel // 2, groups=groups)
        self.layer_norm = nn.LayerNorm(size, elementwise_affine=False)
        self.activation = Activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        return self.activation(self.layer_norm(x))


class StackedPositions(nn.Module):
    """Several narrower convolutions in place of a wide one."""

    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(PositionLayer(config) for _ in range(config.num_conv_pos_embeddings))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def data2vec(config: Any) -> Spec:
    return Spec("layer", adapts=config.add_adapter, positions=StackedPositions)


# -- UniSpeech


class UniSpeechPreTraining(SpeechHead):
    """Both views of the frames; the loss is not part of it."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout_features = nn.Dropout(config.feat_quantizer_dropout)
        self.quantizer = Quantizer(config)
        self.project_q = nn.Linear(config.codevector_dim, config.proj_codevector_dim)
        self.project_hid = nn.Linear(config.proj_codevector_dim, config.hidden_size)
        self.ctc_proj = nn.Linear(config.hidden_size, config.num_ctc_classes)  # for the loss

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """attention_mask: (batch, samples), 0 at padding."""
        out = self.base_model(input_values, attention_mask, return_dict=True, **kwargs)
        quantized, perplexity = self.quantizer(self.dropout_features(out.extract_features))
        quantized = self.project_hid(self.project_q(quantized.to(self.project_q.weight.dtype)))
        views = (out.last_hidden_state, quantized, perplexity)
        result = UniSpeechForPreTrainingOutput(None, *views, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


class UniSpeechSatModel(Model):
    """Always has a vector for hidden frames."""

    def __init__(self, config: Any):
        super().__init__(config)
        if self.masked_spec_embed is None:
            self.masked_spec_embed = nn.Parameter(torch.zeros(config.hidden_size))


class UniSpeechSatPreTraining(SpeechHead):
    """Frames before and after the encoder; the loss is not part of it, what it needs is."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout_features = nn.Dropout(config.feat_quantizer_dropout)
        self.quantizer = Quantizer(config, config.hidden_size)
        self.project_q = nn.Linear(config.codevector_dim, config.proj_codevector_dim)
        self.project_hid = nn.Linear(config.hidden_size, config.proj_codevector_dim)
        self.speaker_proj = nn.Linear(config.hidden_size, config.codevector_dim)
        self.label_embeddings_concat = nn.Parameter(torch.zeros(config.num_clusters, config.codevector_dim))
        self.layer_norm_for_extract = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def init_own(self, std: float) -> None:
        self.label_embeddings_concat.zero_()

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """attention_mask: (batch, samples), 0 at padding."""
        out = self.base_model(input_values, attention_mask, return_dict=True, **kwargs)
        frames = self.dropout_features(out.extract_features)
        result = UniSpeechSatForPreTrainingOutput(
            None, frames, out.last_hidden_state, hidden_states=out.hidden_states, attentions=out.attentions
        )
        return finish(result, return_dict, self.config)


# -- SEW


class SqueezedPositions(nn.Module):
    """A wide convolution with a stride."""

    def __init__(self, config: Any):
        super().__init__()
        kernel, groups = config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups
        self.conv = WeightNormConv1d(config.hidden_size, kernel, groups, config.squeeze_factor)
        self.even = kernel % 2 == 0
        self.activation = Activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(1, 2))
        return self.activation(x[..., :-1] if self.even else x).transpose(1, 2)


class Upsampling(nn.Module):
    """Each vector becomes several."""

    def __init__(self, config: Any):
        super().__init__()
        self.factor = config.squeeze_factor
        self.projection = nn.Linear(config.hidden_size, config.hidden_size * self.factor)
        self.activation = Activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.projection(x)).unflatten(-1, (self.factor, -1)).flatten(1, 2)


class SqueezedEncoder(nn.Module):
    """Layers read a shorter sequence, of the means of neighbouring frames."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.pos_conv_embed = SqueezedPositions(config)
        self.make_layers(config, spec)
        self.upsample = Upsampling(config)
        self.factor = config.squeeze_factor

    def make_layers(self, config: Any, spec: Spec) -> None:
        """The layers, and what stands before them."""
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(Layer(config, spec, i) for i in range(config.num_hidden_layers))

    def begin(self, x: Tensor, context: Context) -> Tensor:
        return self.dropout(self.layer_norm(self.squeeze(x, context)))

    def squeeze(self, x: Tensor, context: Context) -> Tensor:
        """Fewer frames that know their places, and a mask for them."""
        context.extra["frames"] = x.shape[1]
        places = self.pos_conv_embed(x)
        x = F.avg_pool1d(x.transpose(1, 2), self.factor).transpose(1, 2)
        if (real := context.extra["real"]) is not None:
            context.masks["full"] = encoder_mask(F.max_pool1d(real[:, None].float(), self.factor)[:, 0])
        return x + places[:, : x.shape[1]]

    def end(self, x: Tensor, context: Context) -> Tensor:
        x = self.upsample(x)
        return F.pad(x, (0, 0, 0, context.extra["frames"] - x.shape[1]))


class SewModel(HubertModel):
    """SEW without a head."""

    def make_frontend(self, config: Any, spec: Spec) -> None:
        size = config.conv_dim[-1]
        self.feature_extractor = FeatureEncoder(config, spec.norm)
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.feature_projection = nn.Linear(size, config.hidden_size) if size != config.hidden_size else nn.Identity()
        self.feature_dropout = nn.Dropout(config.feat_proj_dropout)

    def listen(self, sound: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        frames = self.layer_norm(self.feature_extractor(sound))
        mask = None
        if attention_mask is not None:
            mask = self._get_feature_vector_attention_mask(frames.shape[1], attention_mask)
        return self.feature_dropout(self.feature_projection(frames)), frames, mask


def sew(config: Any) -> Spec:
    return Spec(config.feat_extract_norm, encoder=SqueezedEncoder)


VARIANTS = {
    "data2vec-audio": Variant(data2vec, members={"base_model_prefix": "data2vec_audio"}),
    "sew": Variant(sew, {"Model": SewModel}, members={"base_model_prefix": "sew"}),
    "unispeech": Variant(speech, {"PreTraining": UniSpeechPreTraining}, members={"base_model_prefix": "unispeech"}),
    "unispeech-sat": Variant(
        speech,
        {"Model": UniSpeechSatModel, "PreTraining": UniSpeechSatPreTraining},
        members={"base_model_prefix": "unispeech_sat"},
    ),
}
TASKS = heads.TASKS | {"Model": Model}
