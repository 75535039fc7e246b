"""Decoders with several kinds of layers: windows here, no rotation there, or bases of their own.

cohere2, cwm, exaone4, gemma3_text, granite_swa, ministral, ministral3, olmo3, smollm3, vaultgemma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.layers.attention import Context
from autoload.layers.norms import LayerNormFP32, RMSNormFP32, ZeroCentredRMSNorm
from autoload.layers.rope import Rotary
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec


def without_rope(kinds: list[str], kind: str) -> frozenset[int]:
    """Numbers of the layers of a kind."""
    return frozenset(i for i, k in enumerate(kinds) if k == kind)


class PreNormLayer(decoder.Layer):
    """Calls its second norm after the MLP that it precedes."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.pre_feedforward_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.self_attn(self.input_layernorm(x), context))
        return self.add(x, self.mlp(self.pre_feedforward_layernorm(x)))


class SinkAttention(decoder.Attention):
    """Each head may look at nothing, and each layer turns at its own rate."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.rope_key = config.layer_rope_theta[layer_idx]
        self.rotates = bool(self.rope_key)
        self.sinks = nn.Parameter(torch.zeros(self.heads))

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        out = super().look(q, k, v, context, self.sinks)
        if context.attentions is not None:  # shown as shares among the keys, without what the sink took
            shares = context.attentions[-1]
            context.attentions[-1] = shares / shares.sum(-1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
        return out


class ThetaModel(decoder.Model):
    """One rotary table for each base that its layers name."""

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        self.thetas = sorted({theta for theta in config.layer_rope_theta if theta})
        size, length = decoder.head_dim(config), config.max_position_embeddings
        tables = (Rotary(config.rope_parameters | {"rope_theta": theta}, size, length) for theta in self.thetas)
        return nn.ModuleDict({str(i): table for i, table in enumerate(tables)})

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[Any, Any]:
        tables = zip(self.thetas, self.rotary_emb.values(), strict=True)
        return {theta: rotary(positions, x.dtype) for theta, rotary in tables}


class LongAttention(decoder.Attention):
    """Queries grow with their position, beyond the length of pre-training."""

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        q, k = super().place(q, k, context)
        return q * context.extra["query_scale"], k


class LongModel(decoder.Model):
    """Makes the factor for the queries (Llama 4's temperature tuning)."""

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        rope = self.config.rope_parameters
        lengths = torch.floor(positions / rope["original_max_position_embeddings"])
        scale = 1 + rope["llama_4_scaling_beta"] * torch.log1p(lengths)
        return {"query_scale": scale[:, None, :, None].to(x.dtype)}  # (batch, 1, seq, 1)


def gemma3(c: Any) -> Spec:
    return Spec(
        norm=ZeroCentredRMSNorm,
        layer=decoder.SandwichLayer,
        qk_norm="head",
        qkv_bias=c.attention_bias,
        o_bias=c.attention_bias,
        scale=c.query_pre_attn_scalar**-0.5,
        logits_softcap=c.final_logit_softcapping,
        embedding_class=decoder.ScaledEmbedding,
        bidirectional=bool(c.use_bidirectional_attention),
        # The file's window counts both sides; ours is one side and the token itself.
        window=c.sliding_window // 2 + 1 if c.use_bidirectional_attention else None,
    )


VARIANTS = {
    "gemma3_text": Variant(gemma3),
    "vaultgemma": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            layer=PreNormLayer,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=c.query_pre_attn_scalar**-0.5,
            softcap=c.attn_logit_softcapping,
            logits_softcap=c.final_logit_softcapping,
            embedding_class=decoder.ScaledEmbedding,
        )
    ),
    "smollm3": Variant(
        lambda c: Spec(
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            no_rope=frozenset(i for i, turns in enumerate(c.no_rope_layers) if not turns),
        )
    ),
    "ministral": Variant(lambda c: Spec()),
    "ministral3": Variant(
        lambda c: Spec(attention=LongAttention),
        heads={"Model": LongModel, "QuestionAnswering": heads.DecoderQuestionAnswering},
    ),
    "olmo3": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=decoder.PostNormLayer,
            qk_norm="full",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
        )
    ),
    "cohere2": Variant(
        lambda c: Spec(
            norm=LayerNormFP32,
            layer=decoder.ParallelLayer,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
            turn_fp32=True,
            no_rope=without_rope(c.layer_types, "full_attention"),
            logits_scale=c.logit_scale,
        )
    ),
    "exaone4": Variant(
        lambda c: Spec(
            layer=decoder.PostNormLayer,
            qk_norm="head",
            no_rope=without_rope(c.layer_types, "full_attention") if c.sliding_window else frozenset(),
        )
    ),
    "cwm": Variant(lambda c: Spec(mlp_bias=c.mlp_bias)),
    "granite_swa": Variant(
        lambda c: Spec(
            attention=SinkAttention,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
        ),
        heads={"Model": ThetaModel, "CausalLM": decoder.GraniteCausalLM},
    ),
}
TASKS = decoder.TASKS
