"""Perceiver: a few latent vectors look at inputs of any kind, then at themselves; queries look at the latents.

Jaegle et al. 2021 (arXiv:2107.14795).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import Head
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, encoder_mask, kernel_of
from autoload.losses import classification_loss, token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.perceiver_inputs import (
    ConvImageInput,
    FourierImageInput,
    LearnedImageInput,
    LearnedPositions,
    TextInput,
)
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class PerceiverModelOutput(ModelOutput):
    """`last_hidden_state` (batch, latents, dim), and `logits` where there is a decoder."""

    logits: Tensor | None = None
    last_hidden_state: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class PerceiverMaskedLMOutput(ModelOutput):
    """`logits` (batch, all places, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class PerceiverClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


class Attention(nn.Module):
    """Norms, projections and heads; over other vectors where `source_dim` is given."""

    def __init__(
        self, config: Any, dim: int, source_dim: int | None, heads: int, qk_size: int | None, v_size: int | None
    ):
        super().__init__()
        if qk_size is None:
            kind = config.cross_attention_shape_for_attention
            if kind not in ("q", "kv"):
                raise ConfigError("cross_attention_shape_for_attention", kind, "'q' or 'kv'")
            qk_size = dim if source_dim is None or kind == "q" else source_dim
        v_size = v_size or qk_size
        for name, size in (("qk_channels", qk_size), ("v_channels", v_size)):
            if size % heads:
                raise ConfigError(name, size, f"a multiple of the number of heads ({heads})")
        self.heads, self.scale, self.cross = heads, (qk_size // heads) ** -0.5, source_dim is not None
        self.layernorm1 = nn.LayerNorm(dim)
        self.layernorm2 = nn.Identity() if source_dim is None else nn.LayerNorm(source_dim)
        self.query = nn.Linear(dim, qk_size)
        self.key = nn.Linear(source_dim or dim, qk_size)
        self.value = nn.Linear(source_dim or dim, v_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.layernorm1(x)
        source = self.layernorm2(context.encoder) if self.cross else x
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, seq, dim)
            for t in (self.query(x), self.key(source), self.value(source))
        )
        mask = context.encoder_mask if self.cross else None
        weights = context.cross_attentions if self.cross else context.attentions
        dropout = self.dropout.p if self.training else 0.0
        return attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, weights_to=weights)


class Output(nn.Module):
    """Projection."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.dense = nn.Linear(size, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x)


class AttentionBlock(nn.Module):
    """Attention, projection, and a residual unless queries are mere positions."""

    def __init__(self, config: Any, dim: int, source_dim: int | None, heads: int, sizes: Any, residual: bool):
        super().__init__()
        self.self = Attention(config, dim, source_dim, heads, *sizes)
        size = self.self.value.out_features
        self.output = Output(size, size if source_dim is None else dim)
        self.residual = residual

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.output(self.self(x, context))
        return out + x if self.residual else out


class MLP(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any, dim: int, widening: int):
        super().__init__()
        self.dense1 = nn.Linear(dim, widening * dim)
        self.intermediate_act_fn = Activation(config.hidden_act)
        self.dense2 = nn.Linear(widening * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense2(self.intermediate_act_fn(self.dense1(x)))


class PerceiverLayer(nn.Module):
    """Attention and a wide layer; norms before both."""

    def __init__(
        self,
        config: Any,
        dim: int,
        source_dim: int | None = None,
        heads: int = 1,
        sizes: tuple[int | None, int | None] = (None, None),  # of queries and keys, of values
        widening: int = 1,
        residual: bool = True,
    ):
        super().__init__()
        self.attention = AttentionBlock(config, dim, source_dim, heads, sizes, residual)
        self.layernorm = nn.LayerNorm(dim)
        self.mlp = MLP(config, dim, widening)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(x, context)
        return x + self.mlp(self.layernorm(x))


class Encoder(nn.Module):
    """Latents look at the inputs once, at themselves many times; the stack may run more than once."""

    def __init__(self, config: Any, source_dim: int):
        super().__init__()
        dim, sizes = config.d_latents, (config.qk_channels, config.v_channels)
        for name in ("num_self_attention_heads", "num_cross_attention_heads"):
            if dim % getattr(config, name):
                raise ConfigError(name, getattr(config, name), f"a divisor of d_latents ({dim})")
        self.cross_attention = PerceiverLayer(
            config,
            dim,
            source_dim,
            config.num_cross_attention_heads,
            sizes,
            config.cross_attention_widening_factor,
            config.use_query_residual,
        )
        self.self_attends = nn.ModuleList(
            PerceiverLayer(
                config, dim, None, config.num_self_attention_heads, sizes, config.self_attention_widening_factor
            )
            for _ in range(config.num_self_attends_per_block)
        )


class Latents(nn.Module):
    """The latent vectors to begin with."""

    def __init__(self, config: Any):
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(config.num_latents, config.d_latents))

    def init_own(self, std: float) -> None:
        self.latents.normal_(0.0, std)


class Decoder(nn.Module):
    """Learned queries look at the latents; (batch, queries, dim)."""

    def __init__(
        self,
        config: Any,
        queries: int,
        dim: int,
        out: int | None = None,
        heads: int = 1,
        sizes: tuple[int | None, int | None] = (None, None),
    ):
        super().__init__()
        self.output_position_encodings = LearnedPositions(queries, dim)
        residual = out is not None
        self.decoding_cross_attention = PerceiverLayer(config, dim, config.d_latents, heads, sizes, residual=residual)
        self.final_layer = nn.Identity() if out is None else nn.Linear(dim, out)

    def forward(self, latents: Tensor, context: Context) -> Tensor:
        queries = self.output_position_encodings().expand(len(latents), -1, -1)
        return self.final_layer(self.decoding_cross_attention(queries, context))


class LabelDecoder(nn.Module):
    """One query, for labels; (batch, labels)."""

    def __init__(self, config: Any):
        super().__init__()
        self.decoder = Decoder(config, 1, config.d_latents, config.num_labels)

    def forward(self, latents: Tensor, context: Context) -> Tensor:
        return self.decoder(latents, context)[:, 0]


class Model(PreTrainedModel):
    """Perceiver: its latents, and with a decoder what that makes of them.

    Args:
        config: of the model.
        decoder: from latents to scores.
        input_preprocessor: from raw inputs to vectors; None: vectors of size `d_model` are given.
    """

    main_input_name = "inputs"
    _no_split_modules = ["PerceiverLayer"]

    def __init__(self, config: Any, decoder: nn.Module | None = None, input_preprocessor: Any = None):
        super().__init__(config)
        self.input_preprocessor = input_preprocessor
        self.embeddings = Latents(config)
        self.encoder = Encoder(config, config.d_model if input_preprocessor is None else input_preprocessor.dim)
        self.decoder = decoder

    def get_input_embeddings(self) -> Any:
        return self.embeddings.latents

    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.latents = value

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Latents, and scores where there is a decoder.

        Args:
            inputs: (batch, inputs, d_model), or what the preprocessor takes: tokens (batch, seq), images (batch, 3, height,
                width).
            attention_mask: (batch, inputs), 0 at padding.
            output_attentions, output_hidden_states: also give these, of every layer.
            interpolate_pos_encoding: fit learned places to the size of the image.
            return_dict: False gives a tuple.
        """
        config, encoder = self.config, self.encoder
        asked = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if self.input_preprocessor is not None:
            inputs = self.input_preprocessor(inputs, interpolate_pos_encoding)
        elif inputs.shape[-1] != config.d_model:
            text = f"forward: inputs have size {inputs.shape[-1]}, expected {config.d_model} (d_model)."
            raise ArgumentError(text, name="inputs")
        context = Context(
            kernel=kernel_of(config),
            attentions=[] if asked else None,
            encoder=inputs,
            encoder_mask=encoder_mask(attention_mask),
            cross_attentions=[] if asked else None,
        )
        x = self.embeddings.latents.expand(len(inputs), -1, -1)
        x = self.run(encoder.cross_attention, x, context)
        seen = []
        for _ in range(config.num_blocks):
            for layer in encoder.self_attends:
                seen.append(x)
                x = self.run(layer, x, context)
            seen.append(x)
        logits = None if self.decoder is None else self.decoder(x, replace(context, encoder=x, encoder_mask=None))
        shown = (None if w is None else tuple(w) for w in (context.attentions, context.cross_attentions))
        return finish(PerceiverModelOutput(logits, x, tuple(seen) if states else None, *shown), return_dict, config)


class PerceiverHead(Head):
    """A model with what goes before and after it."""

    main_input_name = "inputs"
    reads = ("input_ids", "pixel_values")
    other_name: ClassVar[str] = "input_ids"  # under which inputs may come too
    input_class: ClassVar[Any] = TextInput
    output_class: ClassVar[Any] = PerceiverClassifierOutput
    further_outputs = ("cross_attentions",)

    def __init__(self, config: Any):
        super(Head, self).__init__(config)
        self.perceiver = self.base_class(config, self.make_decoder(config), self.input_class(config))
        self.num_labels = config.num_labels

    def make_decoder(self, config: Any) -> nn.Module:
        return LabelDecoder(config)

    def scores(self, logits: Tensor) -> Tensor:
        """From what the decoder gives."""
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(logits, labels, self.config)

    def forward(
        self,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """inputs: tokens or images, also under the name `input_ids` or `pixel_values`."""
        other = kwargs.pop(self.other_name, None)
        if (inputs is None) == (other is None):
            raise ArgumentError(f"forward: pass inputs or {self.other_name}, one of them.", name="inputs")
        out = self.perceiver(
            other if inputs is None else inputs,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            **kwargs,
        )
        logits = self.scores(out.logits)
        loss = None if labels is None else self.loss(logits, labels)
        return finish(self.hand_on(self.output_class, out, loss=loss, logits=logits), return_dict, self.config)


class WordScores(nn.Module):
    """The table of words, turned round, and a bias."""

    def __init__(self, config: Any):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return F.linear(x, table, self.bias)


class MaskedLM(PerceiverHead):
    """Hidden bytes; scores for as many places as the model has."""

    output_class = PerceiverMaskedLMOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.embedding_decoder = WordScores(config)

    def make_decoder(self, config: Any) -> nn.Module:
        sizes = (8 * 32, config.d_model)
        return Decoder(config, config.max_position_embeddings, config.d_model, heads=8, sizes=sizes)

    def scores(self, logits: Tensor) -> Tensor:
        return self.embedding_decoder(logits, self.perceiver.input_preprocessor.embeddings.weight)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels)


class TextClassification(PerceiverHead):
    """A label for a text."""


class ImageClassification(PerceiverHead):
    """A label for an image, with learned places."""

    other_name = "pixel_values"
    input_class = LearnedImageInput


class FourierClassification(ImageClassification):
    """A label for an image, with places as Fourier features."""

    input_class = FourierImageInput


class ConvClassification(ImageClassification):
    """A label for an image, after a convolution."""

    input_class = ConvImageInput


VARIANTS = {"perceiver": Variant(members={"base_model_prefix": "perceiver"})}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "SequenceClassification": TextClassification,
    "ImageClassification": ImageClassification,
    "ImageClassificationFourier": FourierClassification,
    "ImageClassificationConvProcessing": ConvClassification,
}
