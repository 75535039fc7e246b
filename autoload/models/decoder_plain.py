"""Decoders whose MLP has no gate: apertus, arcee, jais2, nanochat, nemotron, persimmon, phi, starcoder2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.norms import UnweightedRMSNorm, ZeroCentredLayerNorm
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, hidden_act

# -- MLPs: one form, and the names that each type has for its matrices


class UpDownMLP(nn.Module):
    """Two matrices with an activation between them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=spec.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=spec.mlp_bias)
        self.act_fn = XIELU() if hidden_act(config) == "xielu" else Activation(hidden_act(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.up_proj(x)))


class NumberedMLP(nn.Module):
    """Its matrices are `fc1` and `fc2`."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=spec.mlp_bias)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=spec.mlp_bias)
        self.activation_fn = Activation(hidden_act(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class ConvNamedMLP(nn.Module):
    """Its matrices are `c_fc` and `c_proj`."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.c_fc = nn.Linear(config.hidden_size, config.intermediate_size, bias=spec.mlp_bias)
        self.c_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=spec.mlp_bias)
        self.act = Activation(hidden_act(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class DenseNamedMLP(nn.Module):
    """Its matrices are `dense_h_to_4h` and `dense_4h_to_h`; the only part of its layer with dropout."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = Activation(hidden_act(config))
        self.dropout = nn.Dropout(spec.mlp_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.dense_4h_to_h(self.act(self.dense_h_to_4h(x))))


class XIELU(nn.Module):
    """The expanded integral of ELU, with learned slopes on both sides (arXiv:2411.13010)."""

    beta: Tensor
    eps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.empty(1))
        self.alpha_n = nn.Parameter(torch.empty(1))
        self.register_buffer("beta", torch.tensor(0.5))
        self.register_buffer("eps", torch.tensor(-1e-6))  # keeps expm1 away from 0
        self.init_own(0.0)

    def init_own(self, std: float) -> None:
        """Both slopes begin at 0.8."""
        with torch.no_grad():
            self.alpha_p.fill_(0.8).expm1_().log_()
            self.alpha_n.fill_(0.3).expm1_().log_()
            self.beta.fill_(0.5)
            self.eps.fill_(-1e-6)

    def forward(self, x: Tensor) -> Tensor:
        positive, negative = F.softplus(self.alpha_p), self.beta + F.softplus(self.alpha_n)
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * negative
        return torch.where(x > 0, positive * x * x, below) + self.beta * x


# -- attention


class DenseAttention(decoder.Attention):
    """Its last matrix is `dense`, and its norms are `q_layernorm` and `k_layernorm`, over each head."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=spec.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=spec.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=spec.qkv_bias)
        self.dense = nn.Linear(self.heads * self.dim, config.hidden_size, bias=spec.o_bias)

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = spec.qk_norm
        if spec.qk_norm is not None:
            self.q_layernorm = spec.norm(self.dim, decoder.norm_eps(config))
            self.k_layernorm = spec.norm(self.dim, decoder.norm_eps(config))

    def normalise(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return (self.q_layernorm(q), self.k_layernorm(k)) if self.qk_norm else (q, k)

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.dense(seen)


class FusedDenseAttention(DenseAttention):
    """Query, key and value of each head lie side by side in one matrix."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=spec.qkv_bias)
        self.dense = nn.Linear(self.heads * self.dim, config.hidden_size, bias=spec.o_bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.query_key_value(x).unflatten(-1, (self.heads, 3, self.dim)).unbind(-2)
        return q.flatten(2), k.flatten(2), v.flatten(2)  # (batch, seq, heads * dim)


class NormAfterRotation(decoder.Attention):
    """Turns clockwise, then norms each head."""

    def normalise(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return q, k

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        cos, sin = context.rope[self.kind]
        return self.q_norm(self.turn(q, cos, -sin)), self.k_norm(self.turn(k, cos, -sin))


# -- layers and models


class ApertusLayer(decoder.Layer):
    """Names its norms after what they precede."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.attention_layernorm = norm()
        self.feedforward_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.self_attn(self.attention_layernorm(x), context))
        return self.add(x, self.mlp(self.feedforward_layernorm(x)))


class FinalLayerNormModel(decoder.Model):
    """Its last norm is `final_layernorm`."""

    def make_final_norm(self, norm: nn.Module) -> None:
        self.final_layernorm = norm

    def final_norm(self, x: Tensor) -> Tensor:
        return self.final_layernorm(x)


class NormedEmbeddingModel(decoder.Model):
    """Its last norm is also its first."""

    def enter(self, x: Tensor) -> Tensor:
        return self.norm(x)


class BiasedCausalLM(decoder.CausalLM):
    """The scores have a bias."""

    head_bias = True


VARIANTS = {
    "phi": Variant(
        lambda c: Spec(
            norm=nn.LayerNorm,
            layer=decoder.ParallelLayer,
            attention=DenseAttention,
            mlp=NumberedMLP,
            qk_norm="head" if c.qk_layernorm else None,
            qkv_bias=True,
            o_bias=True,
            mlp_bias=True,
            embedding_dropout=c.embd_pdrop,
            residual_dropout=c.resid_pdrop,
        ),
        heads={"Model": FinalLayerNormModel, "CausalLM": BiasedCausalLM},
    ),
    "starcoder2": Variant(
        lambda c: Spec(
            norm=nn.LayerNorm,
            mlp=ConvNamedMLP,
            qkv_bias=c.use_bias,
            o_bias=c.use_bias,
            mlp_bias=c.use_bias,
            embedding_dropout=c.embedding_dropout,
            residual_dropout=c.residual_dropout,
        )
    ),
    "persimmon": Variant(
        lambda c: Spec(
            norm=nn.LayerNorm,
            attention=FusedDenseAttention,
            mlp=DenseNamedMLP,
            mlp_dropout=c.hidden_dropout,
            qk_norm="head" if c.qk_layernorm else None,
            qkv_bias=True,
            o_bias=True,
        ),
        heads={"Model": FinalLayerNormModel},
    ),
    "nemotron": Variant(
        lambda c: Spec(
            norm=ZeroCentredLayerNorm,
            mlp=UpDownMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
        )
    ),
    "jais2": Variant(
        lambda c: Spec(
            norm=nn.LayerNorm, mlp=UpDownMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias
        )
    ),
    "arcee": Variant(
        lambda c: Spec(mlp=UpDownMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias)
    ),
    "apertus": Variant(
        lambda c: Spec(
            layer=ApertusLayer, mlp=UpDownMLP, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias
        )
    ),
    "nanochat": Variant(
        lambda c: Spec(
            norm=UnweightedRMSNorm,
            attention=NormAfterRotation,
            mlp=NumberedMLP,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            logits_softcap=c.final_logit_softcapping,
        ),
        heads={"Model": NormedEmbeddingModel},
    ),
}
TASKS = decoder.TASKS
