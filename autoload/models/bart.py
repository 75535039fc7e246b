"""BART and the encoder-decoders that share its wiring: mbart, pegasus, marian, m2m_100, blenderbot, plbart and more.

Lewis et al. 2019 (arXiv:1910.13461).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import seq2seq, seq2seq_heads
from autoload.models.gpt_decoder import SeparateAttention
from autoload.models.gpt_fairseq import OffsetEmbedding, ScaledEmbedding
from autoload.models.seq2seq import finite


@dataclass(frozen=True)
class Spec:
    """What tells one BART-like model from another."""

    pre_norm: bool = False  # norms before each part, and one after the last layer
    embedding_norm: bool = True
    positions: type = OffsetEmbedding


class Layer(nn.Module):
    """Attention, in a decoder cross-attention, and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, heads: int, inner: int, layer_idx: int, crosses: bool):
        super().__init__()
        size = config.d_model
        if size % heads:
            side = "decoder" if crosses else "encoder"
            raise ConfigError(f"{side}_attention_heads", heads, f"a divisor of d_model ({size})")
        self.self_attn = SeparateAttention(size, heads, layer_idx, dropout=config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.crosses = crosses
        if crosses:
            self.encoder_attn = SeparateAttention(size, heads, layer_idx, cross=True, dropout=config.attention_dropout)
            self.encoder_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)
        self.final_layer_norm = nn.LayerNorm(size)
        self.activation_fn = Activation(config.activation_function)
        self.dropout, self.activation_dropout = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def mlp(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation_dropout(self.activation_fn(self.fc1(x)))))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, context)))
        if self.crosses and context.encoder is not None:
            x = self.encoder_attn_layer_norm(x + self.dropout(self.encoder_attn(x, context)))
        return finite(self.final_layer_norm(x + self.mlp(x)))


class PreNormLayer(Layer):
    """Norms before each part."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), context))
        if self.crosses and context.encoder is not None:
            x = x + self.dropout(self.encoder_attn(self.encoder_attn_layer_norm(x), context))
        return finite(x + self.mlp(self.final_layer_norm(x)))


def make_table(config: Any, spec: Spec) -> nn.Module:
    """The table of tokens, which scales what it gives where the configuration says so."""
    scale = config.d_model**0.5 if config.scale_embedding else 1.0
    return ScaledEmbedding(config.vocab_size, config.d_model, config.pad_token_id, scale)


class Side(seq2seq.Stack):
    """The parameters of either side."""

    def __init__(self, config: Any, spec: Spec, count: int, heads: int, inner: int, crosses: bool):
        super().__init__(config)
        size = config.d_model
        self.embed_tokens = make_table(config, spec)
        self.embed_positions = spec.positions(config.max_position_embeddings, size)
        self.layernorm_embedding = nn.LayerNorm(size) if spec.embedding_norm else nn.Identity()
        layer = PreNormLayer if spec.pre_norm else Layer
        self.layers = nn.ModuleList(layer(config, heads, inner, i, crosses) for i in range(count))
        self.layer_norm = nn.LayerNorm(size) if spec.pre_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device) + past
        return self.dropout(self.layernorm_embedding(x + self.embed_positions(positions)))

    def close(self, x: Tensor) -> Tensor:
        return self.layer_norm(x)


class Encoder(Side, seq2seq.Encoder):
    """Reads the source."""

    def __init__(self, config: Any, spec: Spec):
        heads, inner = config.encoder_attention_heads, config.encoder_ffn_dim
        super().__init__(config, spec, config.encoder_layers, heads, inner, crosses=False)
        self.layerdrop = config.encoder_layerdrop


class Decoder(Side, seq2seq.Decoder):
    """Writes the target."""

    def __init__(self, config: Any, spec: Spec):
        heads, inner = config.decoder_attention_heads, config.decoder_ffn_dim
        super().__init__(config, spec, config.decoder_layers, heads, inner, crosses=True)
        self.layerdrop = config.decoder_layerdrop


class Model(seq2seq.Model):
    """BART-like encoder and decoder without a head."""

    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: Spec) -> None:
        self.shared = make_table(config, spec)


class DecoderLM(seq2seq_heads.DecoderLM):
    """Scores of the next token, by BART's decoder alone."""

    decoder_class = Decoder


VARIANTS = {
    "bart": Variant(lambda c: Spec(), members={"denoises": True}),
}
TASKS = {
    "Model": Model,
    "CausalLM": DecoderLM,
    "Seq2SeqLM": seq2seq_heads.BiasedLM,
    "QuestionAnswering": seq2seq_heads.QuestionAnswering,
    "SequenceClassification": seq2seq_heads.SequenceClassification,
}
