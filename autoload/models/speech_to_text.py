"""Speech2Text: convolutions over filter banks, and a transformer with fixed positions.

Wang et al. 2020 (arXiv:2010.05171).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.attention import encoder_mask
from autoload.model import Variant, finish
from autoload.models import bart, seq2seq, speech
from autoload.models.bart import PRE_NORM, Spec, fixed
from autoload.outputs import BaseModelOutput


class Subsampler(nn.Module):
    """Convolutions with gates, each of which halves the frames."""

    def __init__(self, config: Any):
        super().__init__()
        last = config.num_conv_layers - 1
        first_width, inner = config.input_feat_per_channel * config.input_channels, config.conv_channels
        self.conv_layers = nn.ModuleList(
            nn.Conv1d(
                first_width if i == 0 else inner // 2,
                inner if i < last else 2 * config.d_model,
                kernel_size=size,
                stride=2,
                padding=size // 2,
            )
            for i, size in enumerate(config.conv_kernel_sizes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # (batch, filters, frames)
        for conv in self.conv_layers:
            x = nn.functional.glu(conv(x), dim=1)
        return x.transpose(1, 2)


class Encoder(seq2seq.Stack):
    """Reads filter banks."""

    main_input_name = "input_features"
    embeddings_path = "conv"

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config)
        heads, inner = config.encoder_attention_heads, config.encoder_ffn_dim
        self.conv = Subsampler(config)
        self.embed_positions = spec.positions(config)
        self.layers = nn.ModuleList(
            bart.PreNormLayer(config, heads, inner, i, crosses=False) for i in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.dropout, self.layerdrop = nn.Dropout(config.dropout), config.encoder_layerdrop
        self.scale = bart.embedding_scale(config)
        self._no_split_modules = [bart.PreNormLayer.__name__]

    def close(self, x: Tensor) -> Tensor:
        return self.layer_norm(x)

    def thinned(self, mask: Tensor | None, length: int) -> Tensor | None:
        """What is real after the convolutions, (batch, length), from (batch, frames)."""
        if mask is None:
            return None
        counts = mask.sum(-1)
        for _ in self.conv.conv_layers:
            counts = (counts - 1) // 2 + 1
        return (torch.arange(length, device=mask.device) < counts[:, None]).long()

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of a recording.

        Args:
            input_features: filter banks, (batch, frames, filters).
            attention_mask: (batch, frames), 0 at padding.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_features is None:
            raise ArgumentError("forward: pass input_features, or encoder_outputs.", name="input_features")
        x = self.conv(input_features) * self.scale
        mask = self.thinned(attention_mask, x.shape[1])
        x = self.dropout(x + self.places(x, mask))
        context = self.context(None, output_attentions, output_hidden_states)
        context.masks = {"full": encoder_mask(mask)}
        x, seen = self.run_layers(x, context)
        attentions = tuple(context.attentions) if context.attentions is not None else None
        return finish(BaseModelOutput(x, (*seen, x) if context.states else None, attentions), return_dict, self.config)

    def places(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Positions are counted from that of the padding token on, where 1 stands for padding and 0 for sound."""
        marks = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device) if mask is None else 1 - mask
        counted = (marks != self.config.pad_token_id).long()
        return self.embed_positions(counted.cumsum(1) * counted + self.config.pad_token_id).to(x.dtype)


class Model(speech.Model):
    """Speech2Text without a head."""

    encoder_class = Encoder
    decoder_class = bart.Decoder


VARIANTS = {
    "speech_to_text": Variant(
        lambda c: Spec(scaled_table=False, padded_from=c.pad_token_id, positions=fixed, **PRE_NORM)
    ),
}
TASKS = {"Model": Model, "SpeechSeq2Seq": speech.LM}
