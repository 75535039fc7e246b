"""Audio Spectrogram Transformer: overlapping patches of a spectrogram, read as those of an image.

Gong et al. 2021 (arXiv:2104.01778).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.keys import Rename
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.losses import classification_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutputWithPooling, SequenceClassifierOutput


class Patches(nn.Module):
    """Vectors of the patches."""

    def __init__(self, config: Any):
        super().__init__()
        strides = (config.frequency_stride, config.time_stride)
        self.projection = nn.Conv2d(1, config.hidden_size, config.patch_size, strides)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(batch, frames, bins) to (batch, patches, dim)."""
        return self.projection(spectrogram[:, None].transpose(2, 3)).flatten(2).transpose(1, 2)


class Embeddings(nn.Module):
    """Two tokens that stand for the whole, and the patches, each with a position."""

    def __init__(self, config: Any):
        super().__init__()
        sides = ((config.num_mel_bins, config.frequency_stride), (config.max_length, config.time_stride))
        rows, columns = ((side - config.patch_size) // stride + 1 for side, stride in sides)
        self.shape = (config.max_length, config.num_mel_bins)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = Patches(config)
        self.position_embeddings = nn.Parameter(torch.zeros(1, rows * columns + 2, config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def init_own(self, std: float) -> None:
        for parameter in (self.cls_token, self.distillation_token, self.position_embeddings):
            parameter.zero_()

    def forward(self, spectrogram: Tensor) -> Tensor:
        patches = self.patch_embeddings(spectrogram)
        if patches.shape[1] + 2 != self.position_embeddings.shape[1]:
            found, expected = (" by ".join(map(str, s)) for s in (spectrogram.shape[1:], self.shape))
            text = f"forward: input_values are {found}, expected {expected} (max_length by num_mel_bins)."
            raise ArgumentError(text, name="input_values")
        tokens = (token.expand(len(patches), -1, -1) for token in (self.cls_token, self.distillation_token))
        return self.dropout(torch.cat([*tokens, patches], 1) + self.position_embeddings)


class Attention(nn.Module):
    """Multi-head attention in both directions."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads = config.hidden_size, config.num_attention_heads
        self.dim, self.dropout = size // self.heads, config.attention_probs_dropout_prob
        self.q_proj = nn.Linear(size, size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(size, size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(size, size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(size, size)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        options: dict[str, Any] = dict(scale=self.dim**-0.5, dropout=self.dropout if self.training else 0.0)
        return self.o_proj(attend(q, k, v, context.masks["full"], context, **options, weights_to=context.attentions))


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
    """Attention and a wide layer, each after a norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = Attention(config)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.attention(self.layernorm_before(x), context))
        return x + self.dropout(self.mlp(self.layernorm_after(x)))


class Model(PreTrainedModel):
    """The encoder of spectrograms without a head."""

    main_input_name = "input_values"
    input_modalities = ("audio",)
    embeddings_path = "embeddings.patch_embeddings"
    _no_split_modules = ["Embeddings", "Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of two tokens that stand for the whole and of the patches; pooled: the mean of the two.

        Args:
            input_values: (batch, frames, bins), the spectrogram.
            attention_mask: (batch, 2 + patches), 0 at what is not to be looked at.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_values is None:
            raise ArgumentError("forward: pass input_values, the spectrogram.", name="input_values")
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": encoder_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        x = self.embeddings(input_values)
        seen = [x]
        for layer in self.layers:
            x = self.run(layer, x, context)
            seen.append(x)
        x = self.layernorm(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        out = BaseModelOutputWithPooling(x, x[:, :2].mean(1), tuple(seen) if states else None, shown)
        return finish(out, return_dict, config)


class MLPHead(nn.Module):
    """Norm and projection."""

    def __init__(self, config: Any):
        super().__init__()
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.num_labels) if config.num_labels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.layernorm(x))


class AudioClassification(Head):
    """A label for a recording."""

    main_input_name = "input_values"
    input_modalities = ("audio",)

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = MLPHead(config)

    def forward(
        self,
        input_values: Tensor | None = None,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        out = self.base_model(input_values, attention_mask=attention_mask, return_dict=True, **kwargs)
        logits = self.classifier(out.pooler_output)
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return finish(self.hand_on(SequenceClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)


# The Hub's files name the parts as BERT's do.
KEYS = (
    Rename("encoder.layer", "layers"),
    Rename("attention.attention.query", "attention.q_proj"),
    Rename("attention.attention.key", "attention.k_proj"),
    Rename("attention.attention.value", "attention.v_proj"),
    Rename("attention.output.dense", "attention.o_proj"),
    Rename("intermediate.dense", "mlp.fc1"),
    Rename("output.dense", "mlp.fc2"),
)
VARIANTS = {
    "audio-spectrogram-transformer": Variant(
        members={"base_model_prefix": "audio_spectrogram_transformer"},
        keys=KEYS,
    )
}
TASKS = {"Model": Model, "AudioClassification": AudioClassification}
