"""Decoders that were trained with fairseq, and keep its names: opt, biogpt, xglm; and ctrl, with positions as theirs.

Zhang et al. 2022 (arXiv:2205.01068), Luo et al. 2022 (arXiv:2210.10341), Lin et al. 2021 (arXiv:2112.10668), Keskar et
al. 2019 (arXiv:1909.05858).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.losses import token_loss
from autoload.model import Variant
from autoload.models.gpt_decoder import (
    HEADS,
    Attention,
    CausalLM,
    Decoder,
    SeparateAttention,
    TokenClassification,
    in_order,
    reorder,
)


@dataclass(frozen=True)
class Spec:
    """What tells one of them from another, but for where the positions come from."""

    inner: int
    activation: str
    dropout: float
    attention_dropout: float
    activation_dropout: float = 0.0
    bias: bool = True
    affine: bool = True  # norms have a weight and a bias
    post_norm: bool = False
    crosses: bool = False
    embedding_scale: float = 1.0


class OffsetEmbedding(nn.Embedding):
    """Learned positions; the first two rows are left over from fairseq's special tokens."""

    def __init__(self, count: int, size: int):
        super().__init__(count + 2, size)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 2)


class ScaledEmbedding(nn.Embedding):
    """Multiplies what it gives."""

    def __init__(self, count: int, size: int, padding_idx: int | None, scale: float):
        super().__init__(count, size, padding_idx)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * self.scale


def sinusoids(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Sines, then cosines: (batch, seq) to (batch, seq, 2 * frequencies)."""
    angles = positions[..., None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


class Layer(nn.Module):
    """Attention, cross-attention where the configuration adds it, and MLP, each after a norm."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        size, count = config.hidden_size, config.num_attention_heads
        options: dict[str, Any] = dict(bias=spec.bias, out_bias=spec.bias, dropout=spec.attention_dropout)
        self.self_attn = SeparateAttention(size, count, layer_idx, **options)
        self.self_attn_layer_norm = nn.LayerNorm(size, elementwise_affine=spec.affine)
        self.crosses = spec.crosses
        if self.crosses:
            self.encoder_attn = SeparateAttention(size, count, layer_idx, cross=True, **options)
            self.encoder_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, spec.inner, bias=spec.bias)
        self.fc2 = nn.Linear(spec.inner, size, bias=spec.bias)
        self.final_layer_norm = nn.LayerNorm(size, elementwise_affine=spec.affine)
        self.activation_fn = Activation(spec.activation)
        self.dropout, self.activation_dropout = nn.Dropout(spec.dropout), nn.Dropout(spec.activation_dropout)

    def mlp(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation_dropout(self.activation_fn(self.fc1(x)))))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), context))
        if self.crosses and context.encoder is not None:
            x = x + self.dropout(self.encoder_attn(self.encoder_attn_layer_norm(x), context))
        return x + self.mlp(self.final_layer_norm(x))


class PostNormLayer(Layer):
    """Norms after each part is added, as in the 350M OPT."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, context)))
        return self.final_layer_norm(x + self.mlp(x))


class OPTDecoder(nn.Module):
    """Holds OPT's parameters, which lie one level deeper than the others'."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        size, outer = config.hidden_size, config.word_embed_proj_dim
        self.embed_tokens = nn.Embedding(config.vocab_size, outer, config.pad_token_id)
        self.embed_positions = OffsetEmbedding(config.max_position_embeddings, size)
        projects = outer != size
        self.project_in = nn.Linear(outer, size, bias=False) if projects else nn.Identity()
        self.project_out = nn.Linear(size, outer, bias=False) if projects else nn.Identity()
        closes = config.do_layer_norm_before and not config._remove_final_layer_norm
        self.final_layer_norm = nn.LayerNorm(size, elementwise_affine=spec.affine) if closes else nn.Identity()
        layer = PostNormLayer if spec.post_norm else Layer
        self.layers = nn.ModuleList(layer(config, spec, i) for i in range(config.num_hidden_layers))


class OPTModel(Decoder):
    """OPT without a head: learned positions that count what is no padding."""

    base_model_prefix = "model"
    embeddings_path = "decoder.embed_tokens"
    layers_path = "decoder.layers"
    packs = False
    _no_split_modules = ["Layer", "PostNormLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.decoder = OPTDecoder(config, self.variant.spec(config))

    def make_positions(self, attention_mask: Tensor | None, x: Tensor, past: Any) -> Tensor:
        if attention_mask is None or attention_mask.dim() != 2:
            return super().make_positions(attention_mask, x, past)
        real = attention_mask.long()
        places = real.cumsum(1) * real - 1  # (batch, all tokens so far), -1 at padding
        return places[:, past + torch.arange(x.shape[1], device=x.device)]

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return self.decoder.project_in(x) + self.decoder.embed_positions(positions)

    def close(self, x: Tensor) -> Tensor:
        return self.decoder.project_out(self.decoder.final_layer_norm(x))


class OPTCausalLM(CausalLM):
    """Reads the width of the embeddings."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = nn.Linear(config.word_embed_proj_dim, config.vocab_size, bias=False)


class OPTSequenceClassification(heads.LastTokenClassification):
    """Reads the width of the embeddings."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.score = nn.Linear(config.word_embed_proj_dim, config.num_labels, bias=False)


class OPTQuestionAnswering(heads.DecoderQuestionAnswering):
    """Reads the width of the embeddings."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.word_embed_proj_dim, 2)


class Model(Decoder):
    """BioGPT without a head: scaled embeddings, learned positions."""

    base_model_prefix = "biogpt"
    embeddings_path = "embed_tokens"
    layers_path = "layers"
    norm_path = "layer_norm"
    packs = False
    _no_split_modules = ["Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        size = config.hidden_size
        self.embed_tokens = ScaledEmbedding(config.vocab_size, size, config.pad_token_id, spec.embedding_scale)
        self.embed_positions = self.position_module(config)
        self.dropout = nn.Dropout(spec.dropout)
        self.layers = nn.ModuleList(Layer(config, spec, i) for i in range(config.num_hidden_layers))
        self.layer_norm = nn.LayerNorm(size)

    def position_module(self, config: Any) -> nn.Module:
        return OffsetEmbedding(config.max_position_embeddings, config.hidden_size)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return self.dropout(x + self.embed_positions(positions).to(x.dtype))


class SinusoidalPositions(nn.Module):
    """Sines and cosines, from the third row on unless told otherwise; the padding token's row is zero."""

    def __init__(self, size: int, padding_idx: int | None, offset: int = 2):
        super().__init__()
        self.size, self.padding_idx, self.offset = size, padding_idx, offset

    def forward(self, positions: Tensor) -> Tensor:
        half, rows = self.size // 2, positions + self.offset
        steps = torch.arange(half, device=positions.device).float()
        table = sinusoids(rows, torch.exp(steps * -(math.log(10000) / (half - 1))))
        table = nn.functional.pad(table, (0, self.size % 2))
        return table if self.padding_idx is None else table * (rows != self.padding_idx)[..., None]


class XGLMModel(Model):
    """XGLM without a head: fixed positions."""

    base_model_prefix = "model"
    crosses: bool = True

    def position_module(self, config: Any) -> nn.Module:
        return SinusoidalPositions(config.hidden_size, config.pad_token_id)


class BioGptCausalLM(CausalLM):
    """Another name for the scoring layer."""

    output_path = "output_projection"


class MaskedTokenClassification(TokenClassification):
    """Labels of padding do not count."""

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        if attention_mask is not None:
            labels = labels.masked_fill(attention_mask != 1, -100)
        return token_loss(logits, labels)


# -- ctrl


class CTRLAttention(Attention):
    """Separate projections by CTRL's names."""

    def __init__(self, config: Any, layer_idx: int):
        size = config.n_embd
        super().__init__(size, config.n_head, layer_idx)
        self.Wq = nn.Linear(size, size)
        self.Wk = nn.Linear(size, size)
        self.Wv = nn.Linear(size, size)
        self.dense = nn.Linear(size, size)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.split(self.Wq(x)), self.split(self.Wk(x)), self.split(self.Wv(x))

    def output(self, x: Tensor) -> Tensor:
        return self.dense(x)


class CTRLLayer(nn.Module):
    """Attention and MLP, each after a norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size = config.n_embd
        self.multi_head_attention = CTRLAttention(config, layer_idx)
        self.ffn = nn.Sequential(nn.Linear(size, config.dff), nn.ReLU(), nn.Linear(config.dff, size))
        self.layernorm1 = nn.LayerNorm(size, eps=1e-6)
        self.layernorm2 = nn.LayerNorm(size, eps=1e-6)
        self.dropout1 = nn.Dropout(config.resid_pdrop)
        self.dropout2 = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout1(self.multi_head_attention(self.layernorm1(x), context))
        return x + self.dropout2(self.ffn(self.layernorm2(x)))


class CTRLModel(Decoder):
    """CTRL without a head: scaled embeddings, fixed positions."""

    embeddings_path = "w"
    norm_path = "layernorm"
    _no_split_modules = ["CTRLLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.w = nn.Embedding(config.vocab_size, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(CTRLLayer(config, i) for i in range(config.n_layer))
        self.layernorm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        if token_type_ids is not None:
            x = x + self.w(token_type_ids)
        size = x.shape[-1]
        frequencies = 1 / 10000 ** (torch.arange(0, size, 2, device=x.device).float() / size)
        return self.dropout(x * size**0.5 + sinusoids(positions, frequencies).to(x.dtype))


class CTRLSequenceClassification(heads.LastTokenClassification):
    """Its layer is called `classifier`."""

    def __init__(self, config: Any):
        heads.Head.__init__(self, config)
        self.classifier = nn.Linear(config.n_embd, config.num_labels, bias=False)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.classifier(hidden)


OPT_ORDER = "attention_mask past_key_values inputs_embeds labels use_cache position_ids"
BIOGPT_ORDER = "attention_mask inputs_embeds past_key_values labels use_cache position_ids"
XGLM_ORDER = (
    "attention_mask position_ids encoder_hidden_states encoder_attention_mask past_key_values inputs_embeds "
    "labels use_cache"
)
CTRL_ORDER = "past_key_values attention_mask token_type_ids position_ids inputs_embeds labels use_cache"
OPT_TASKS = {
    "Model": OPTModel,
    "CausalLM": OPTCausalLM,
    "SequenceClassification": OPTSequenceClassification,
    "QuestionAnswering": OPTQuestionAnswering,
}
VARIANTS = {
    "opt": Variant(
        lambda c: Spec(
            inner=c.ffn_dim,
            activation=c.activation_function,
            dropout=c.dropout,
            attention_dropout=c.attention_dropout,
            bias=c.enable_bias,
            affine=c.layer_norm_elementwise_affine,
            post_norm=not c.do_layer_norm_before,
        ),
        heads=in_order(OPT_ORDER, OPT_TASKS, spans=OPT_ORDER.replace("labels", "start_positions end_positions")),
    ),
    "biogpt": Variant(
        lambda c: Spec(
            inner=c.intermediate_size,
            activation=c.hidden_act,
            dropout=c.hidden_dropout_prob,
            attention_dropout=c.attention_probs_dropout_prob,
            activation_dropout=c.activation_dropout,
            embedding_scale=c.hidden_size**0.5 if c.scale_embedding else 1.0,
        ),
        heads=in_order(BIOGPT_ORDER, {"Model": Model, "CausalLM": BioGptCausalLM})
        | {
            "SequenceClassification": reorder(heads.LastTokenClassification, OPT_ORDER, base_model_prefix="biogpt"),
            "TokenClassification": reorder(
                MaskedTokenClassification, "token_type_ids " + OPT_ORDER, base_model_prefix="biogpt"
            ),
        },
    ),
    "xglm": Variant(
        lambda c: Spec(
            inner=c.ffn_dim,
            activation=c.activation_function,
            dropout=c.dropout,
            attention_dropout=c.attention_dropout,
            activation_dropout=c.activation_dropout,
            crosses=c.add_cross_attention,
            embedding_scale=c.d_model**0.5 if c.scale_embedding else 1.0,
        ),
        heads=in_order(XGLM_ORDER, {"Model": XGLMModel, "CausalLM": CausalLM}),
    ),
    "ctrl": Variant(
        heads=in_order(CTRL_ORDER, HEADS | {"Model": CTRLModel, "SequenceClassification": CTRLSequenceClassification}),
        members={"head_bias": True},
    ),
}
TASKS: dict[str, type] = {}  # each variant brings its own
