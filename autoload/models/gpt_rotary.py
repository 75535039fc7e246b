"""The first decoders with rotary positions: gpt_neox, gpt_neox_japanese, gptj, codegen.

Wang and Komatsuzaki 2021, Black et al. 2022 (arXiv:2204.06745), Nijkamp et al. 2022 (arXiv:2203.13474).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.keys import Rename
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.rope import Rotary, rotate_pairs
from autoload.model import Variant
from autoload.models.gpt_decoder import (
    HEADS,
    MLP,
    Attention,
    CausalLM,
    Decoder,
    FusedAttention,
    SeparateAttention,
    TokenClassification,
    in_order,
    reorder,
)


@dataclass(frozen=True)
class Spec:
    """What tells one of GPT-NeoX's kin from another."""

    layer: type
    attention: type
    inner: int
    bias: bool = True  # in the MLP


class NeoXAttention(FusedAttention):
    """Biases as the configuration says."""

    def __init__(self, config: Any, layer_idx: int):
        options: dict[str, Any] = dict(bias=config.attention_bias, dropout=config.attention_dropout)
        super().__init__(config.hidden_size, config.num_attention_heads, layer_idx, **options)


class JapaneseAttention(FusedAttention):
    """No biases, but for the output's in the last layer."""

    def __init__(self, config: Any, layer_idx: int):
        options: dict[str, Any] = dict(bias=False, dropout=config.attention_dropout)
        super().__init__(config.hidden_size, config.num_attention_heads, layer_idx, **options)
        last = layer_idx == config.num_hidden_layers - 1
        self.dense_bias = nn.Parameter(torch.zeros(config.hidden_size)) if last else None

    def output(self, x: Tensor) -> Tensor:
        x = self.dense(x)
        return x if self.dense_bias is None else x + self.dense_bias

    def init_own(self, std: float) -> None:
        if self.dense_bias is not None:
            self.dense_bias.zero_()


class Layer(nn.Module):
    """Attention and MLP, each after a norm."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.input_layernorm = nn.LayerNorm(size, eps=eps)
        self.post_attention_layernorm = nn.LayerNorm(size, eps=eps)
        self.attention = spec.attention(config, layer_idx)
        self.mlp = MLP(size, spec.inner, config.hidden_act, spec.bias)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.attention(self.input_layernorm(x), context))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class ParallelLayer(Layer):
    """Attention and MLP both read the stream, each through its own norm."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        looked = self.dropout(self.attention(self.input_layernorm(x), context))
        return self.dropout(self.mlp(self.post_attention_layernorm(x))) + looked + x


class NeoXModel(Decoder):
    """GPT-NeoX without a head: part of each head turns."""

    base_model_prefix = "gpt_neox"
    embeddings_path = "embed_in"
    layers_path = "layers"
    norm_path = "final_layer_norm"
    _no_split_modules = ["Layer", "ParallelLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        size = config.hidden_size
        self.embed_in = nn.Embedding(config.vocab_size, size)
        self.emb_dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(spec.layer(config, spec, i) for i in range(config.num_hidden_layers))
        self.final_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        head = size // config.num_attention_heads
        self.rotary_emb = Rotary(config.rope_parameters, head, config.max_position_embeddings)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return self.emb_dropout(x)

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {"full": self.rotary_emb(positions, x.dtype)}


class JapaneseModel(NeoXModel):
    """No dropout on the embeddings."""

    base_model_prefix = "gpt_neox_japanese"

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return x


class JapaneseCausalLM(CausalLM):
    """Another name for the scoring layer."""

    output_path = "embed_out"


# -- gptj, codegen


class GPTJAttention(SeparateAttention):
    """No biases; neighbours turn together."""

    def __init__(self, config: Any, layer_idx: int):
        options: dict[str, Any] = dict(bias=False, out_bias=False, dropout=config.attn_pdrop)
        super().__init__(config.n_embd, config.n_head, layer_idx, **options)
        self.resid_dropout, self.rotate = nn.Dropout(config.resid_pdrop), rotate_pairs

    def output(self, x: Tensor) -> Tensor:
        return self.resid_dropout(self.out_proj(x))


class CodeGenAttention(Attention):
    """One matrix in four blocks, as four TPU cores held it; in each block queries, values, keys."""

    BLOCKS = 4

    def __init__(self, config: Any, layer_idx: int):
        size, heads = config.n_embd, config.n_head
        if heads % self.BLOCKS:
            raise ConfigError("n_head", heads, f"a multiple of {self.BLOCKS}, the number of blocks of qkv_proj")
        super().__init__(size, heads, layer_idx, dropout=config.attn_pdrop)
        self.qkv_proj = nn.Linear(size, 3 * size, bias=False)
        self.out_proj = nn.Linear(size, size, bias=False)
        self.resid_dropout, self.rotate = nn.Dropout(config.resid_pdrop), rotate_pairs

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv_proj(x).unflatten(-1, (self.BLOCKS, 3, -1)).unbind(-2)  # each (batch, seq, blocks, size / 4)
        q, v, k = (self.split(part.flatten(2)) for part in parts)
        return q, k, v

    def output(self, x: Tensor) -> Tensor:
        return self.resid_dropout(self.out_proj(x))


class GPTJMLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any):
        super().__init__()
        inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
        self.fc_in = nn.Linear(config.n_embd, inner)
        self.fc_out = nn.Linear(inner, config.n_embd)
        self.act = Activation(config.activation_function)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc_out(self.act(self.fc_in(x))))


class Block(nn.Module):
    """Attention and MLP both read one norm of the stream."""

    def __init__(self, config: Any, attention: type, layer_idx: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = attention(config, layer_idx)
        self.mlp = GPTJMLP(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h = self.ln_1(x)
        return self.attn(h, context) + self.mlp(h) + x


class GPTJModel(Decoder):
    """GPT-J without a head; the variant's specification is its attention."""

    _no_split_modules = ["Block"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        attention = self.variant.spec(config)
        self.h = nn.ModuleList(Block(config, attention, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        head, turning = config.n_embd // config.n_head, config.rotary_dim
        if turning % 2 or turning > head:
            raise ConfigError("rotary_dim", turning, f"an even number up to the size of a head ({head})")
        rope = {"rope_type": "default", "rope_theta": 10000.0}
        self.rotary = Rotary(rope, turning, config.n_positions, interleaved=True)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return self.drop(x if token_type_ids is None else x + self.wte(token_type_ids))

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {"full": self.rotary(positions, x.dtype)}


NEOX_ORDER = "attention_mask position_ids inputs_embeds past_key_values labels use_cache"
GPTJ_ORDER = "past_key_values attention_mask token_type_ids position_ids inputs_embeds labels use_cache"
GPTJ_TASKS = HEADS | {"Model": GPTJModel}

VARIANTS = {
    "gpt_neox": Variant(
        lambda c: Spec(ParallelLayer if c.use_parallel_residual else Layer, NeoXAttention, c.intermediate_size),
        heads=in_order(NEOX_ORDER, HEADS | {"Model": NeoXModel})
        | {"TokenClassification": reorder(TokenClassification, GPTJ_ORDER, base_model_prefix="gpt_neox")},
        keys=(Rename("embed_out", "lm_head"),),
    ),
    "gpt_neox_japanese": Variant(
        lambda c: Spec(Layer, JapaneseAttention, int(c.hidden_size * c.intermediate_multiple_size), bias=False),
        heads=in_order(NEOX_ORDER, {"Model": JapaneseModel, "CausalLM": JapaneseCausalLM}),
    ),
    "gptj": Variant(lambda c: GPTJAttention, heads=in_order(GPTJ_ORDER, GPTJ_TASKS), members={"head_bias": True}),
    "codegen": Variant(lambda c: CodeGenAttention, heads=in_order(GPTJ_ORDER, GPTJ_TASKS), members={"head_bias": True}),
}
TASKS: dict[str, type] = {}  # each variant brings its own
