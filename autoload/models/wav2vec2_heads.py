"""Heads on encoders of sound: characters, labels, labels of frames, vectors of speakers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import Head
from autoload.layers.convolution import conv_lengths, mask_of_lengths
from autoload.losses import cross_entropy, ctc_loss
from autoload.model import PreTrainedModel, finish
from autoload.outputs import CausalLMOutput, SequenceClassifierOutput, TokenClassifierOutput, XVectorOutput


class SpeechModel(PreTrainedModel):
    """What models of waveforms know about lengths."""

    main_input_name = "input_values"
    input_modalities = "audio"

    def _get_feat_extract_output_lengths(self, input_lengths: Any, add_adapter: bool | None = None) -> Any:
        """How many frames are made of that many samples; a number or a tensor of them."""
        config = self.config
        lengths = conv_lengths(input_lengths, zip(config.conv_kernel, config.conv_stride, strict=True))
        if getattr(config, "add_adapter", False) if add_adapter is None else add_adapter:
            lengths = conv_lengths(lengths, [(1, config.adapter_stride)] * config.num_adapter_layers)
        return lengths

    def _get_feature_vector_attention_mask(
        self, feature_vector_length: int, attention_mask: Tensor, add_adapter: bool | None = None
    ) -> Tensor:
        """True at real frames, (batch, frames); from the mask of the samples, whose padding counts as on the right."""
        lengths = self._get_feat_extract_output_lengths(attention_mask.sum(-1), add_adapter)
        return mask_of_lengths(lengths, feature_vector_length)

    def freeze_feature_encoder(self) -> None:
        """Keep the convolutions as they are in training."""
        self.base_model.feature_extractor._freeze_parameters()


class SpeechHead(SpeechModel, Head):
    """A head on an encoder of sound."""

    def freeze_base_model(self) -> None:
        """Train the head alone."""
        self.base_model.requires_grad_(False)


class CTC(SpeechHead):
    """Scores of the characters for each frame."""

    output_path = "lm_head"

    def __init__(self, config: Any):
        super().__init__(config)
        if config.vocab_size is None:
            raise ConfigError("vocab_size", None, "the number of characters")
        self.dropout = nn.Dropout(config.final_dropout)
        adapted = getattr(config, "add_adapter", False)
        self.lm_head = nn.Linear(config.output_hidden_size if adapted else config.hidden_size, config.vocab_size)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, most characters), filled up with -100."""
        if labels is not None and (highest := int(labels.max())) >= self.config.vocab_size:
            text = f"forward: labels go up to {highest}, expected less than vocab_size, {self.config.vocab_size}."
            raise ArgumentError(text, name="labels")
        out = self.base_model(input_values, attention_mask=attention_mask, return_dict=True, **kwargs)
        logits = self.lm_head(self.dropout(out.last_hidden_state))
        loss = None
        if labels is not None:
            loss = ctc_loss(logits, labels, self._lengths(input_values, attention_mask), self.config)
        return finish(CausalLMOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)

    def _lengths(self, sound: Any, attention_mask: Tensor | None) -> Tensor:
        """How many frames of each recording are real; (batch,)."""
        if attention_mask is None:
            samples = torch.full((len(sound),), sound.shape[1], device=sound.device)
        else:
            samples = attention_mask.sum(-1)
        return self._get_feat_extract_output_lengths(samples)


class PooledHead(SpeechHead):
    """A head that may read a weighted sum of all layers."""

    adapts = False  # whether it goes with convolutions after the encoder

    def __init__(self, config: Any):
        if getattr(config, "add_adapter", False) and not self.adapts:
            raise ConfigError("add_adapter", True, f"false: {type(self).__name__} does not take an adapter")
        super().__init__(config)
        if config.use_weighted_layer_sum:
            count = config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(torch.ones(count) / count)

    def init_own(self, std: float) -> None:
        if self.config.use_weighted_layer_sum:
            self.layer_weights.fill_(1 / len(self.layer_weights))

    def hear(self, sound: Any, attention_mask: Tensor | None, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
        """The states that the head reads, (batch, frames, dim), and what it hands on."""
        config, asked = self.config, kwargs.pop("output_hidden_states", None)
        asked = config.output_hidden_states if asked is None else asked
        states = asked or config.use_weighted_layer_sum
        out = self.base_model(
            sound, attention_mask=attention_mask, output_hidden_states=states, return_dict=True, **kwargs
        )
        x = out.last_hidden_state
        if config.use_weighted_layer_sum:
            weights = self.layer_weights.softmax(-1)
            x = (torch.stack(out.hidden_states, 1) * weights[:, None, None]).sum(1)
        return x, {"hidden_states": out.hidden_states if asked else None, "attentions": out.attentions}


class AudioClassification(PooledHead):
    """A label for a recording, from the mean of its frames."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,)."""
        x, shown = self.hear(input_values, attention_mask, **kwargs)
        x = self.projector(x)
        if attention_mask is None:
            pooled = x.mean(1)
        else:
            real = self._get_feature_vector_attention_mask(x.shape[1], attention_mask)[..., None]
            pooled = x.masked_fill(~real, 0.0).sum(1) / real.sum(1)
        logits = self.classifier(pooled)
        loss = None if labels is None else cross_entropy(logits, labels.view(-1))
        return finish(SequenceClassifierOutput(loss, logits, **shown), return_dict, self.config)


class AudioFrameClassification(PooledHead):
    """A label for each frame."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch, frames, labels), the highest of a frame being its label."""
        x, shown = self.hear(input_values, attention_mask, **kwargs)
        logits = self.classifier(x)
        loss = None
        if labels is not None:
            loss = cross_entropy(logits.flatten(0, 1), labels.view(-1, self.num_labels).argmax(1))
        return finish(TokenClassifierOutput(loss, logits, **shown), return_dict, self.config)


class TDNNLayer(nn.Module):
    """A dilated convolution over the frames; its kernel is stored as that of a dense layer over the taps."""

    def __init__(self, config: Any, index: int):
        super().__init__()
        before, size = config.tdnn_dim[max(index - 1, 0)], config.tdnn_dim[index]
        self.taps, self.dilation = config.tdnn_kernel[index], config.tdnn_dilation[index]
        self.kernel = nn.Linear(before * self.taps, size)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.kernel.weight.unflatten(1, (self.taps, -1)).transpose(1, 2)  # (size, before, taps)
        return F.relu(F.conv1d(x.transpose(1, 2), weight, self.kernel.bias, dilation=self.dilation)).transpose(1, 2)


class AMSoftmaxLoss(nn.Module):
    """Cross entropy of cosines, the right one less a margin (arXiv:1801.05599)."""

    def __init__(self, size: int, labels: int, scale: float = 30.0, margin: float = 0.4):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.weight = nn.Parameter(torch.zeros(size, labels))

    def init_own(self, std: float) -> None:
        self.weight.normal_()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = labels.flatten()
        cosines = F.normalize(x, dim=1) @ F.normalize(self.weight, dim=0)  # (batch, labels)
        right = F.one_hot(labels, self.weight.shape[1]).bool()
        return cross_entropy(self.scale * torch.where(right, cosines - self.margin, cosines), labels)


class AudioXVector(PooledHead):
    """A vector for the speaker, from the mean and the deviation of the frames."""

    adapts = True

    def __init__(self, config: Any):
        super().__init__(config)
        self.projector = nn.Linear(config.hidden_size, config.tdnn_dim[0])
        self.tdnn = nn.ModuleList(TDNNLayer(config, i) for i in range(len(config.tdnn_dim)))
        self.feature_extractor = nn.Linear(config.tdnn_dim[-1] * 2, config.xvector_output_dim)
        self.classifier = nn.Linear(config.xvector_output_dim, config.xvector_output_dim)
        self.objective = AMSoftmaxLoss(config.xvector_output_dim, config.num_labels)

    def _get_tdnn_output_lengths(self, input_lengths: Any) -> Any:
        """How many vectors count of that many frames. Dilation is left out of the reckoning, as in training."""
        return conv_lengths(input_lengths, [(kernel, 1) for kernel in self.config.tdnn_kernel])

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,), which speaker it is."""
        x, shown = self.hear(input_values, attention_mask, **kwargs)
        x = self.projector(x)
        for layer in self.tdnn:
            x = layer(x)
        if attention_mask is None:
            pooled = torch.cat([x.mean(1), x.std(1)], -1)
        else:
            lengths = self._get_tdnn_output_lengths(self._get_feat_extract_output_lengths(attention_mask.sum(1)))
            pooled = self.pool(x, lengths)
        embeddings = self.feature_extractor(pooled)
        logits = self.classifier(embeddings)
        loss = None if labels is None else self.objective(logits, labels)
        return finish(XVectorOutput(loss, logits, embeddings, **shown), return_dict, self.config)

    @staticmethod
    def pool(x: Tensor, lengths: Tensor) -> Tensor:
        """Mean and deviation of the first vectors of each row; (batch, 2 dim)."""
        real = mask_of_lengths(lengths, x.shape[1])[..., None]
        count = real.sum(1)
        mean = x.masked_fill(~real, 0.0).sum(1) / count
        squares = (x - mean[:, None]).masked_fill(~real, 0.0).square().sum(1)
        return torch.cat([mean, (squares / (count - 1)).sqrt()], -1)


TASKS = {
    "CTC": CTC,
    "AudioClassification": AudioClassification,
    "AudioFrameClassification": AudioFrameClassification,
    "AudioXVector": AudioXVector,
}
