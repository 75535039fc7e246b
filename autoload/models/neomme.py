"""NeoMME: text tokens and patches of document pages in one encoder with windows and rotary positions on two axes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import MaskedLMHead
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, decoder_mask, kernel_of
from autoload.layers.norms import UnweightedRMSNorm
from autoload.layers.rope import Rotary, rotate
from autoload.model import PreTrainedModel, Variant, finish, resized
from autoload.outputs import BaseModelOutput, MaskedLMOutput


class ZeroLinear(nn.Linear):
    """A fresh one gives nothing."""

    def init_own(self, std: float) -> None:
        for parameter in self.parameters():
            parameter.zero_()


class ZeroEmbedding(nn.Embedding):
    """A fresh one gives nothing."""

    def init_own(self, std: float) -> None:
        self.weight.zero_()


class RankEmbedding(nn.Embedding):
    """Fresh vectors have length one or so."""

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, self.embedding_dim**-0.5)


class RankLinear(nn.Linear):
    """Fresh rows have length one or so."""

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, self.in_features**-0.5)


class Embeddings(nn.Module):
    """A narrow table and a projection to the width of the model."""

    def __init__(self, config: Any):
        super().__init__()
        self.word_embeddings = RankEmbedding(config.vocab_size, config.embedding_rank)
        self.embedding_projection = nn.Linear(config.embedding_rank, config.hidden_size, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.embedding_projection(self.word_embeddings(input_ids))


class PatchEmbeddings(nn.Module):
    """Norm, wide layer and back, from the pixels of a patch."""

    def __init__(self, config: Any):
        super().__init__()
        self.size = 3 * config.patch_size**2
        self.norm = nn.LayerNorm(self.size)
        self.up_proj = nn.Linear(self.size, 2 * config.hidden_size, bias=False)
        self.down_proj = nn.Linear(2 * config.hidden_size, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.up_proj(self.norm(pixels.to(self.norm.weight.dtype)))))


class Exclusion(nn.Module):
    """Takes from what a head gathered the part along the token's own value, as far as each head wants."""

    def __init__(self, config: Any):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(config.num_attention_heads))

    def init_own(self, std: float) -> None:
        self.alpha.zero_()

    def forward(self, seen: Tensor, v: Tensor) -> Tensor:
        """seen: (batch, seq, heads, dim); v: (batch, key heads, seq, dim)."""
        v = v.repeat_interleave(seen.shape[2] // v.shape[1], 1).transpose(1, 2)
        own = F.normalize(v.float(), dim=-1).to(seen.dtype)
        share = torch.tanh(self.alpha).to(seen.dtype)[:, None]  # (heads, 1)
        return seen - share * (seen * own).sum(-1, keepdim=True) * own


class GatedProjection(nn.Module):
    """The output of attention, behind a gate that reads the attention's input."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.num_attention_heads * config.head_dim
        self.gate_proj = nn.Linear(config.hidden_size, size, bias=False)
        self.o_proj = ZeroLinear(size, config.hidden_size, bias=config.attention_bias)

    def forward(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.o_proj(seen * torch.sigmoid(self.gate_proj(x)))


class Attention(nn.Module):
    """Grouped-query attention over a window or everything; some layers add an embedding of the token to its value."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.kind, self.window = config.layer_types[layer_idx], window_of(config, layer_idx)
        full = [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"]
        self.reads_values = layer_idx in (full[0], full[-1])
        self.dim, self.dropout = config.head_dim, config.attention_dropout
        heads, kv_heads, bias = config.num_attention_heads, config.num_key_value_heads, config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, heads * self.dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_heads * self.dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_heads * self.dim, bias=bias)
        self.q_norm = UnweightedRMSNorm(self.dim, config.norm_eps)
        self.k_norm = UnweightedRMSNorm(self.dim, config.norm_eps)
        self.exclusive_self_attention = Exclusion(config)
        self.output_projection = GatedProjection(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        values = self.v_proj(x)
        if self.reads_values:
            values = values + context.extra["values"]
        q, k, v = (
            t.unflatten(-1, (-1, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)
            for t in (self.q_proj(x), self.k_proj(x), values)
        )
        cos, sin = context.rope[self.kind]
        q, k = rotate(self.q_norm(q), cos, sin), rotate(self.k_norm(k), cos, sin)
        dropout, mask = self.dropout if self.training else 0.0, context.masks[self.window]
        seen = attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)
        seen = self.exclusive_self_attention(seen.unflatten(-1, (-1, self.dim)), v)
        return self.output_projection(seen.flatten(-2), x)


def window_of(config: Any, layer_idx: int) -> int | None:
    """How far a layer sees to either side; None: everything."""
    own = {int(key): fields for key, fields in config.per_layer_config.items()}.get(layer_idx, {})
    return own.get("sliding_window", config.sliding_window)


class MLP(nn.Module):
    """Wide and back."""

    def __init__(self, config: Any):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = ZeroLinear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)
        self.act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.up_proj(x)))


class Layer(nn.Module):
    """Attention, which also reads the first layer's input, and MLP; each after a norm without weights."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_attn = Attention(config, layer_idx)
        self.mlp = MLP(config)
        self.lambdas = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.input_layernorm = UnweightedRMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = UnweightedRMSNorm(config.hidden_size, config.norm_eps)
        self.scale = config.residual_multiplier

    def init_own(self, std: float) -> None:
        self.lambdas.copy_(torch.tensor([1.0, 0.0]))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        mixed = self.lambdas[0] * x + self.lambdas[1] * context.extra["first"]
        x = x + self.scale * self.self_attn(self.input_layernorm(mixed), context)
        return x + self.scale * self.mlp(self.post_attention_layernorm(x))


class Model(PreTrainedModel):
    """NeoMME without a head."""

    embeddings_path = "embed_tokens.word_embeddings"
    _no_split_modules = ["Layer"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.embed_tokens = Embeddings(config)
        self.patch_embeddings = PatchEmbeddings(config)
        self.embedding_norm = UnweightedRMSNorm(config.hidden_size, config.norm_eps)
        self.final_norm = UnweightedRMSNorm(config.hidden_size, config.norm_eps)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.value_embeddings = ZeroEmbedding(config.vocab_size, config.num_key_value_heads * config.head_dim)
        rope, length = config.rope_parameters, config.max_position_embeddings
        kinds = sorted(set(config.layer_types))
        self.rotary_emb = nn.ModuleDict({kind: Rotary(rope[kind], config.head_dim, length) for kind in kinds})

    def set_input_embeddings(self, value: nn.Module) -> None:
        """A table with other tokens comes with as many values."""
        super().set_input_embeddings(value)
        count = int(value.num_embeddings)  # type: ignore[arg-type]
        if count != self.value_embeddings.num_embeddings:
            self.value_embeddings = resized(self.value_embeddings, count)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq); `image_token_id` stands where a patch goes, but for right after `document_token_id`.
            attention_mask: (batch, seq), 0 at padding; or a ready mask (batch, 1, queries, keys).
            position_ids: (batch, seq), or (2, batch, seq): rows and columns on a page.
            pixel_values: (patches, 3 * patch_size ** 2), of all pages, in the order of their places.
            inputs_embeds: refused, as values are looked up by token.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_ids is None or inputs_embeds is not None:
            raise ArgumentError(
                "forward: pass input_ids; inputs_embeds do not say which tokens these are.", name="input_ids"
            )
        config = self.config
        x = self.embedding_norm(self.embed(input_ids, pixel_values))  # (batch, seq, dim)
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks=self.make_masks(attention_mask, x),
            rope={kind: on_page(rotary, position_ids, x.dtype) for kind, rotary in self.rotary_emb.items()},
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            extra={"values": self.value_embeddings(input_ids)},
        )
        packing = context.packing_of(attention_mask)
        if packing is not None:
            context = context.packed(packing, self.make_masks(None, x))
            x, context.extra["values"] = packing.pack(x), packing.pack(context.extra["values"])
        context.extra["first"] = x
        seen = []
        for layer in self.layers:
            if states:
                seen.append(x)
            x = self.run(layer, x, context)
        x = self.final_norm(x)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(BaseModelOutput(x, (*seen, x) if states else None, shown), return_dict, config)

    def embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Vectors of tokens, and of patches in their places; (batch, seq, dim)."""
        x = self.embed_tokens(input_ids)
        if pixel_values is None:
            return x
        if pixel_values.shape[-1] != self.patch_embeddings.size:
            text = f"forward: patches have {pixel_values.shape[-1]} numbers, expected {self.patch_embeddings.size}."
            raise ArgumentError(text, name="pixel_values")
        before = F.pad(input_ids[:, :-1], (1, 0), value=self.config.pad_token_id or 0)
        places = (input_ids == self.config.image_token_id) & (before != self.config.document_token_id)
        if int(places.sum()) != len(pixel_values):
            text = f"forward: {len(pixel_values)} patches for {int(places.sum())} places in input_ids."
            raise ArgumentError(text, name="pixel_values")
        return x.masked_scatter(places[..., None], self.patch_embeddings(pixel_values).to(x.dtype))

    def make_masks(self, attention_mask: Any, x: Tensor) -> dict[int | None, Mask]:
        """One mask for each window."""
        seq, masks = x.shape[1], {}
        for window in {window_of(self.config, i) for i in range(len(self.layers))}:
            width = None if window is None else window + 1
            masks[window] = decoder_mask(attention_mask, seq, seq, 0, 0, x.device, window=width, bidirectional=True)
        return masks


def on_page(rotary: Any, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin, (batch, seq, rotated dims); of two axes, the first takes every other frequency."""
    if positions.dim() == 2:
        return rotary(positions, dtype)
    rows, columns = rotary(positions[0], dtype), rotary(positions[1], dtype)
    even = torch.arange(rows[0].shape[-1], device=positions.device) % 2 == 0
    return torch.where(even, rows[0], columns[0]), torch.where(even, rows[1], columns[1])


class MaskedLM(MaskedLMHead):
    """NeoMME's hidden tokens, through the factors of the embeddings."""

    base_options = {}
    output_class = MaskedLMOutput
    output_path = "lm_head"

    def __init__(self, config: Any):
        super().__init__(config)
        self.unembedding_projection = nn.Linear(config.embedding_rank, config.hidden_size, bias=False)
        self.lm_head = RankLinear(config.embedding_rank, config.vocab_size, bias=False)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        embeddings = "model.embed_tokens"
        return {
            "lm_head.weight": f"{embeddings}.word_embeddings.weight",
            "unembedding_projection.weight": f"{embeddings}.embedding_projection.weight",
        }

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state @ self.unembedding_projection.weight)


VARIANTS = {"neomme": Variant()}
TASKS = {"Model": Model, "MaskedLM": MaskedLM}
