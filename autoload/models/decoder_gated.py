"""Decoders with a gated MLP and a twist of their own.

bitnet, diffllama, ernie4_5, glm, glm4, helium, hunyuan_v1_dense, hyperclovax, olmo, seed_oss, stablelm. The models of
internlm3 and iquestcoder are llama's; only their configurations differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.norms import RMSNorm, RMSNormFP32, UnweightedLayerNorm, UnweightedRMSNorm
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, norm_eps


class ClippedAttention(decoder.Attention):
    """Queries, keys and values stay within a bound."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.bound = config.clip_qkv if config.clip_qkv is not None else math.inf

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (t.clamp(-self.bound, self.bound) for t in super().project(x))
        return q, k, v


class NormedOutputAttention(decoder.Attention):
    """A norm before its last matrix (BitNet b1.58, arXiv:2402.17764)."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        super().make_norms(config, spec)
        self.attn_sub_norm = RMSNorm(config.hidden_size, norm_eps(config))

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.o_proj(self.attn_sub_norm(seen))


class NormedOutputMLP(decoder.GatedMLP):
    """A norm before its last matrix."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.ffn_sub_norm = RMSNorm(config.intermediate_size, norm_eps(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.ffn_sub_norm(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


class HeadNorms(nn.Module):
    """A layer norm for each head, each a module."""

    def __init__(self, heads: int, dim: int, eps: float):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps, bias=False) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:  # (batch, seq, heads, dim)
        return torch.stack([norm(head) for norm, head in zip(self.norms, x.unbind(2), strict=True)], 2)


class HeadNormsAttention(decoder.Attention):
    """Its norms are lists of one norm per head."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = spec.qk_norm
        if spec.qk_norm is not None:
            self.q_layernorm = HeadNorms(self.heads, self.dim, norm_eps(config))
            self.k_layernorm = HeadNorms(self.kv_heads, self.dim, norm_eps(config))

    def normalise(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return (self.q_layernorm(q), self.k_layernorm(k)) if self.qk_norm else (q, k)


class NormAfterRotation(decoder.Attention):
    """Norms each head after it is turned."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = None
        self.query_layernorm = RMSNorm(self.dim, norm_eps(config))
        self.key_layernorm = RMSNorm(self.dim, norm_eps(config))

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        q, k = super().place(q, k, context)
        return self.query_layernorm(q), self.key_layernorm(k)


class AlphaModel(decoder.Model):
    """A base that `alpha` stretches once and for all, where the configuration says "dynamic" with an alpha."""

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        rope, dim = config.rope_parameters, decoder.head_dim(config)
        if rope["rope_type"] != "dynamic" or not rope.get("alpha"):
            return super().make_rotary(config, spec)
        base = rope["rope_theta"] * rope["alpha"] ** (dim / (dim - 2))
        stretched = {"rope_type": "default", "rope_theta": base}
        return nn.ModuleDict({"all": decoder.Rotary(stretched, dim, config.max_position_embeddings)})


class DifferentialAttention(decoder.Attention):
    """The difference of two attentions, normed over pairs of heads (arXiv:2410.05258)."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.std, self.base = config.lambda_std_dev, 0.8 - 0.6 * math.exp(-0.3 * layer_idx)
        self.lambda_q1 = nn.Parameter(torch.zeros(self.dim))
        self.lambda_k1 = nn.Parameter(torch.zeros(self.dim))
        self.lambda_q2 = nn.Parameter(torch.zeros(self.dim))
        self.lambda_k2 = nn.Parameter(torch.zeros(self.dim))
        self.groupnorm = UnweightedRMSNorm(2 * self.dim, norm_eps(config))

    def init_own(self, std: float) -> None:
        for parameter in (self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2):
            parameter.normal_(0.0, self.std)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        # Both halves of the heads see both halves of the values; one call looks for them side by side.
        pairs = torch.cat([half.repeat(1, 2, 1, 1) for half in v.chunk(2, 1)], -1)  # (batch, kv heads, keys, 2 * dim)
        seen = super().look(q, k, pairs, context).unflatten(-1, (self.heads, 2 * self.dim))
        first, second = seen.chunk(2, 2)  # (batch, seq, heads / 2, 2 * dim)
        plus = (self.lambda_q1 * self.lambda_k1).sum(-1, dtype=torch.float32).exp().to(q.dtype)
        minus = (self.lambda_q2 * self.lambda_k2).sum(-1, dtype=torch.float32).exp().to(q.dtype)
        return ((1 - self.base) * self.groupnorm(first - (plus - minus + self.base) * second)).flatten(2)


class Glm4Layer(decoder.Layer):
    """Norms before and after attention and MLP, under GLM's names."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.post_self_attn_layernorm = norm()
        self.post_attention_layernorm = norm()
        self.post_mlp_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.post_self_attn_layernorm(self.self_attn(self.input_layernorm(x), context)))
        return self.add(x, self.post_mlp_layernorm(self.feed(self.post_attention_layernorm(x), context)))


class PeriLayer(decoder.Layer):
    """Numbers the norms that follow attention and MLP."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.post_norm1 = norm()
        self.post_attention_layernorm = norm()
        self.post_norm2 = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.post_norm1(self.self_attn(self.input_layernorm(x), context)))
        return self.add(x, self.post_norm2(self.mlp(self.post_attention_layernorm(x))))


def glm(c: Any) -> Spec:
    return Spec(mlp=decoder.FusedGatedMLP, qkv_bias=c.attention_bias, interleaved=True)


def stablelm(c: Any) -> Spec:
    return Spec(
        norm=nn.LayerNorm,
        layer=decoder.ParallelLayer if c.use_parallel_residual else None,
        attention=HeadNormsAttention,
        mlp_dropout=c.hidden_dropout,
        qk_norm="head" if c.qk_layernorm else None,
        qkv_bias=c.use_qkv_bias,
    )


VARIANTS = {
    "stablelm": Variant(stablelm),
    "olmo": Variant(
        lambda c: Spec(
            norm=UnweightedLayerNorm,
            attention=ClippedAttention,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
        )
    ),
    "glm": Variant(glm),
    "glm4": Variant(lambda c: replace(glm(c), layer=Glm4Layer)),
    "helium": Variant(
        lambda c: Spec(norm=RMSNormFP32, qkv_bias=c.attention_bias, mlp_bias=c.mlp_bias, interleaved=True)
    ),
    "seed_oss": Variant(
        lambda c: Spec(
            qkv_bias=c.attention_bias,
            o_bias=c.attention_out_bias,
            mlp_bias=c.mlp_bias,
            residual_dropout=c.residual_dropout,
        )
    ),
    "ernie4_5": Variant(
        lambda c: Spec(qkv_bias=c.use_bias, o_bias=c.use_bias, mlp_bias=c.use_bias, interleaved=True, rope_fp32=True)
    ),
    "hunyuan_v1_dense": Variant(
        lambda c: Spec(attention=NormAfterRotation, qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        heads={"Model": AlphaModel},
    ),
    "hyperclovax": Variant(
        lambda c: Spec(
            layer=PeriLayer if c.use_post_norm else None,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
            logits_scale=c.logits_scaling,
        )
    ),
    "bitnet": Variant(
        lambda c: Spec(
            attention=NormedOutputAttention, mlp=NormedOutputMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias
        )
    ),
    "diffllama": Variant(
        lambda c: Spec(attention=DifferentialAttention, qkv_bias=c.attention_bias, o_bias=c.attention_bias)
    ),
}
TASKS = decoder.TASKS
