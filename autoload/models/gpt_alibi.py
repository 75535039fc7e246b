"""Decoders with linear biases in place of positions: bloom, falcon (which may rotate instead), mpt.

Le Scao et al. 2022 (arXiv:2211.05100), Almazrouei et al. 2023 (arXiv:2311.16867), MosaicML 2023.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.alibi import alibi, key_positions, slopes
from autoload.layers.attention import Context
from autoload.layers.rope import Rotary
from autoload.model import Variant
from autoload.models.gpt_decoder import HEADS, MLP, Attention, Decoder, FusedAttention, in_order, reorder

# -- bloom


class BloomLayer(nn.Module):
    """Attention and MLP, each after a norm; the norm's output may take the stream's place."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_epsilon
        self.input_layernorm = nn.LayerNorm(size, eps=eps)
        self.self_attention = FusedAttention(size, config.n_head, layer_idx, dropout=config.attention_dropout)
        self.post_attention_layernorm = nn.LayerNorm(size, eps=eps)
        self.mlp = MLP(size, 4 * size, "gelu_fast")
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.replaces = config.apply_residual_connection_post_layernorm

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h = self.input_layernorm(x)
        x = (h if self.replaces else x) + self.dropout(self.self_attention(h, context))
        h = self.post_attention_layernorm(x)
        return (h if self.replaces else x) + self.dropout(self.mlp(h))


class BloomModel(Decoder):
    """BLOOM without a head: a norm follows the embeddings."""

    embeddings_path = "word_embeddings"
    crosses = False
    packs = False
    _no_split_modules = ["BloomLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        size, eps = config.hidden_size, config.layer_norm_epsilon
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.word_embeddings_layernorm = nn.LayerNorm(size, eps=eps)
        self.h = nn.ModuleList(BloomLayer(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(size, eps=eps)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return self.word_embeddings_layernorm(x)

    def make_bias(self, attention_mask: Tensor | None, keys: int, positions: Tensor, x: Tensor) -> Tensor:
        places = key_positions(attention_mask, keys, x.device)
        return alibi(slopes(self.config.n_head, device=x.device), places).to(x.dtype)


# -- falcon


class FalconAttention(FusedAttention):
    """One key head, a few, or as many as queries."""

    def __init__(self, config: Any, layer_idx: int):
        size, heads = config.hidden_size, config.num_attention_heads
        kv_heads = heads
        if config.new_decoder_architecture:
            kv_heads = config.num_kv_heads
        elif config.multi_query:
            kv_heads = 1
        dropout = config.attention_dropout if config.alibi else 0.0  # with rotation it was never applied
        super().__init__(size, heads, layer_idx, kv_heads=kv_heads, bias=config.bias, dropout=dropout)


class FalconLayer(nn.Module):
    """Attention and MLP both read one norm of the stream."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_attention = FalconAttention(config, layer_idx)
        self.mlp = MLP(config.hidden_size, config.ffn_hidden_size, config.activation, config.bias)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.make_norms(config)

    def make_norms(self, config: Any) -> None:
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h = self.input_layernorm(x)
        return x + self.dropout(self.mlp(h) + self.self_attention(h, context))


class FalconTwoNormLayer(FalconLayer):
    """Attention and MLP read the stream each through its own norm."""

    def make_norms(self, config: Any) -> None:
        self.ln_attn = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.ln_mlp = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        looked = self.self_attention(self.ln_attn(x), context)
        return x + self.dropout(self.mlp(self.ln_mlp(x)) + looked)


class FalconSequentialLayer(FalconLayer):
    """One part after the other."""

    def make_norms(self, config: Any) -> None:
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attention_dropout = nn.Dropout(config.attention_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attention_dropout(self.self_attention(self.input_layernorm(x), context))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


def falcon_layer(c: Any) -> type:
    """How attention and MLP are wired."""
    if c.new_decoder_architecture and c.num_ln_in_parallel_attn in (None, 2):
        return FalconTwoNormLayer
    return FalconLayer if c.new_decoder_architecture or c.parallel_attn else FalconSequentialLayer


class FalconModel(Decoder):
    """Falcon without a head: heads turn, or linear biases."""

    embeddings_path = "word_embeddings"
    packs = False
    _no_split_modules = ["FalconLayer", "FalconTwoNormLayer", "FalconSequentialLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        size, layer = config.hidden_size, falcon_layer(config)
        self.head_dim = size // config.num_attention_heads
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.h = nn.ModuleList(layer(config, i) for i in range(config.num_hidden_layers))
        self.ln_f = nn.LayerNorm(size, eps=config.layer_norm_epsilon)
        self.rotary_emb = Rotary(config.rope_parameters, self.head_dim, config.max_position_embeddings)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return x

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {} if self.config.alibi else {"full": self.rotary_emb(positions, x.dtype)}

    def make_bias(self, attention_mask: Tensor | None, keys: int, positions: Tensor, x: Tensor) -> Tensor | None:
        if not self.config.alibi:
            return None
        # Falcon was trained with slopes in bfloat16, and with biases that are scaled as the scores are.
        slope = slopes(self.config.num_attention_heads, device=x.device).bfloat16()
        return alibi(slope, key_positions(attention_mask, keys, x.device)).to(x.dtype) * self.head_dim**-0.5


# -- mpt


class MptAttention(Attention):
    """Queries, keys and values in one matrix, one after the other; they may be clipped."""

    def __init__(self, config: Any, layer_idx: int):
        size, own = config.d_model, config.attn_config
        super().__init__(size, config.n_heads, layer_idx, scale=own.softmax_scale, dropout=own.attn_pdrop)
        self.clip = own.clip_qkv
        self.Wqkv = nn.Linear(size, 3 * size, bias=False)
        self.out_proj = nn.Linear(size, size, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.Wqkv(x)
        if self.clip:
            x = x.clamp(-self.clip, self.clip)
        q, k, v = (self.split(t) for t in x.chunk(3, -1))
        return q, k, v

    def output(self, x: Tensor) -> Tensor:
        return self.out_proj(x)


class MptMLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, size: int):
        super().__init__()
        self.up_proj = nn.Linear(size, 4 * size, bias=False)
        self.down_proj = nn.Linear(4 * size, size, bias=False)
        self.act = Activation("gelu")

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act(self.up_proj(x)))


class MptBlock(nn.Module):
    """Attention and MLP, each after a norm without bias."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size, eps = config.d_model, config.layer_norm_epsilon
        self.norm_1 = nn.LayerNorm(size, eps=eps, bias=False)
        self.attn = MptAttention(config, layer_idx)
        self.norm_2 = nn.LayerNorm(size, eps=eps, bias=False)
        self.ffn = MptMLP(size)
        self.dropout = nn.Dropout(config.attn_config.attn_pdrop)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.attn(self.norm_1(x), context))
        return x + self.dropout(self.ffn(self.norm_2(x)))


class MptModel(Decoder):
    """MPT without a head."""

    layers_path = "blocks"
    norm_path = "norm_f"
    packs = False
    _no_split_modules = ["MptBlock"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(MptBlock(config, i) for i in range(config.n_layers))
        self.norm_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon, bias=False)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return x

    def make_bias(self, attention_mask: Tensor | None, keys: int, positions: Tensor, x: Tensor) -> Tensor:
        # Distances from each query: unlike places, they are small, and exact in bfloat16, where it matters.
        distances = torch.arange(keys, device=x.device) - positions[..., None]  # (batch or 1, seq, keys)
        return (slopes(self.config.n_heads, device=x.device)[:, None, None] * distances[:, None]).to(x.dtype)


BLOOM_ORDER = "past_key_values attention_mask inputs_embeds labels use_cache"
BLOOM_SPANS = "attention_mask inputs_embeds start_positions end_positions"
FALCON_ORDER = "past_key_values attention_mask position_ids inputs_embeds labels use_cache"

VARIANTS = {
    "bloom": Variant(heads=in_order(BLOOM_ORDER, HEADS | {"Model": BloomModel}, BLOOM_SPANS)),
    "falcon": Variant(
        heads=in_order(BLOOM_ORDER, HEADS | {"Model": FalconModel}, BLOOM_SPANS)
        | {
            "Model": reorder(FalconModel, FALCON_ORDER.replace("labels ", "")),
            "CausalLM": reorder(HEADS["CausalLM"], FALCON_ORDER, base_model_prefix="transformer"),
        }
    ),
    "mpt": Variant(heads=in_order(BLOOM_ORDER, HEADS | {"Model": MptModel}, BLOOM_SPANS)),
}
TASKS: dict[str, type] = {}  # each variant brings its own
