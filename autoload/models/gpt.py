"""GPT-2 and its nearest kin: gpt2 (gpt-sw3), gpt_bigcode, gpt_neo, imagegpt, openai-gpt.

Radford et al. 2018 and 2019, Chen et al. 2020. GPT-2's matrices are stored as (in, out), see `Conv1D`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from autoload import heads
from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask
from autoload.layers.linear import Conv1D
from autoload.layers.norms import RMSNorm
from autoload.losses import classification_loss
from autoload.model import Variant, finish
from autoload.models.gpt_decoder import GPT2_ORDER, HEADS, Attention, Decoder, SeparateAttention, in_order, split_groups
from autoload.outputs import SequenceClassifierOutputWithPast


@dataclass(frozen=True)
class Spec:
    """What tells one of them from another."""

    attention: type
    activation: str
    norm: Callable[..., nn.Module] = nn.LayerNorm
    linear: Callable[[int, int], nn.Module] = Conv1D  # (outside, inside)
    inner: int | None = None  # width of the MLP; None: four times the stream's
    dropout: float = 0.0  # of what is added to the stream
    embedding_dropout: float = 0.0


def dense(outside: int, inside: int) -> nn.Module:
    """`nn.Linear` with the sizes in `Conv1D`'s order."""
    return nn.Linear(inside, outside)


def gpt2_spec(c: Any, **other: Any) -> Spec:
    """The fields by GPT-2's names."""
    common: dict[str, Any] = dict(attention=GPT2Attention, dropout=c.resid_pdrop, embedding_dropout=c.embd_pdrop)
    if "activation" not in other:
        common |= dict(activation=c.activation_function, inner=c.n_inner)
    return Spec(**common | other)


class GPT2Attention(Attention):
    """Queries, keys and values in one matrix, stored as (in, out)."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        size, heads = config.hidden_size, config.num_attention_heads
        scale = (size // heads) ** -0.5 if getattr(config, "scale_attn_weights", True) else 1.0
        if getattr(config, "scale_attn_by_inverse_layer_idx", False):
            scale /= layer_idx + 1
        super().__init__(size, heads, layer_idx, scale=scale, dropout=config.attn_pdrop, cross=cross)
        self.c_attn = Conv1D((2 if cross else 3) * size, size)
        if cross:
            self.q_attn = Conv1D(size, size)
        self.c_proj = Conv1D(size, size)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q_attn(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        k, v = (self.split(t) for t in self.c_attn(x).split(self.size, -1))
        return k, v

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (self.split(t) for t in self.c_attn(x).split(self.size, -1))
        return q, k, v

    def output(self, x: Tensor) -> Tensor:
        x = self.c_proj(x)
        return self.resid_dropout(x) if self.training else x


class BigCodeAttention(Attention):
    """One key head for all queries, where `multi_query` is set (arXiv:1911.02150)."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        size, heads = config.n_embd, config.n_head
        super().__init__(
            size, heads, layer_idx, scale=None if config.scale_attn_weights else 1.0, dropout=config.attn_pdrop
        )
        if config.add_cross_attention:
            raise ConfigError("add_cross_attention", True, "false for gpt_bigcode, which was never trained with it")
        self.kv_heads = 1 if config.multi_query else heads
        self.c_attn = nn.Linear(size, size + 2 * self.kv_heads * self.dim)
        self.c_proj = nn.Linear(size, size)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return split_groups(self.c_attn(x), self.kv_heads, self.dim)

    def output(self, x: Tensor) -> Tensor:
        return self.resid_dropout(self.c_proj(x))


class NeoAttention(nn.Module):
    """Scores without a scale; every other layer sees a window. Holds the projections one level deeper."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.attention = SeparateAttention(
            config.hidden_size, config.num_heads, layer_idx, bias=False, scale=1.0, dropout=config.attention_dropout
        )
        self.attention.kind = config.attention_layers[layer_idx]
        self.resid_dropout = nn.Dropout(config.resid_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.resid_dropout(self.attention(x, context))


class MLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        size, inner = config.hidden_size, 4 * config.hidden_size if spec.inner is None else spec.inner
        self.c_fc = spec.linear(inner, size)
        self.c_proj = spec.linear(size, inner)
        self.act = Activation(spec.activation)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_proj(self.act(self.c_fc(x)))
        return self.dropout(x) if self.training else x


class Block(nn.Module):
    """Attention, cross-attention where the configuration adds it, and MLP, each after a norm."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_epsilon
        self.ln_1 = spec.norm(size, eps=eps)
        self.attn = spec.attention(config, layer_idx)
        self.ln_2 = spec.norm(size, eps=eps)
        self.crosses = getattr(config, "add_cross_attention", False)
        if self.crosses:
            self.crossattention = spec.attention(config, layer_idx, cross=True)
            self.ln_cross_attn = spec.norm(size, eps=eps)
        self.mlp = MLP(config, spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attn(self.ln_1(x), context)
        if self.crosses and context.encoder is not None:
            x = x + self.crossattention(self.ln_cross_attn(x), context)
        return x + self.mlp(self.ln_2(x))


class Model(Decoder):
    """GPT-2 without a head: learned positions, norms before each part."""

    crosses: bool = True
    _no_split_modules = ["Block"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        size = config.hidden_size
        self.wte = nn.Embedding(config.vocab_size, size)
        self.wpe = nn.Embedding(config.max_position_embeddings, size)
        self.drop = nn.Dropout(spec.embedding_dropout)
        self.h = nn.ModuleList(Block(config, spec, i) for i in range(config.num_hidden_layers))
        self.ln_f = spec.norm(size, eps=config.layer_norm_epsilon)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        x = x + self.wpe(positions)
        return self.drop(x if token_type_ids is None else x + self.wte(token_type_ids))


class NeoModel(Model):
    """Local layers see a window."""

    crosses = False

    def make_masks(self, mask: Callable[..., Mask]) -> dict[str, Mask]:
        return {"global": mask(), "local": mask(self.config.window_size)}


class ImageModel(Model):
    """Tokens are clustered colours."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.crosses = config.add_cross_attention  # weights of no layer are not given at all


class MeanClassification(heads.Head):
    """Labels from the mean over a sequence of pixels."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        out = self.base_model(input_ids, return_dict=True, **kwargs)
        logits = self.score(out.last_hidden_state.mean(1))
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        out = SequenceClassifierOutputWithPast(loss, logits, out.past_key_values, out.hidden_states, out.attentions)
        return finish(out, return_dict, self.config)


class PostNormBlock(nn.Module):
    """Norms after attention and MLP are added."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.attn = GPT2Attention(config, layer_idx)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config, spec)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.ln_1(x + self.attn(x, context))
        return self.ln_2(x + self.mlp(x))


class OpenAIModel(Decoder):
    """The first GPT: norms after each part, no cache of its own accord."""

    embeddings_path = "tokens_embed"
    norm_path = None
    packs = False
    _no_split_modules = ["PostNormBlock"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(spec.embedding_dropout)
        self.h = nn.ModuleList(PostNormBlock(config, spec, i) for i in range(config.n_layer))

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        x = x + self.positions_embed(positions)
        return self.drop(x if token_type_ids is None else x + self.tokens_embed(token_type_ids))


# The first GPT's names for activations: its "gelu" is the approximation.
OPENAI_ACTIVATIONS = {"gelu": "gelu_new"}
NEO_ORDER = "past_key_values attention_mask token_type_ids position_ids inputs_embeds labels use_cache"
OPENAI_ORDER = "attention_mask token_type_ids position_ids inputs_embeds labels"

VARIANTS = {
    "gpt2": Variant(gpt2_spec),
    "gpt_bigcode": Variant(lambda c: gpt2_spec(c, attention=BigCodeAttention, linear=dense)),
    "gpt_neo": Variant(
        lambda c: Spec(
            attention=NeoAttention,
            activation=c.activation_function,
            linear=dense,
            inner=c.intermediate_size,
            dropout=c.resid_dropout,
            embedding_dropout=c.embed_dropout,
        ),
        heads=in_order(NEO_ORDER, HEADS | {"Model": NeoModel}),
    ),
    "imagegpt": Variant(
        lambda c: gpt2_spec(c, norm=RMSNorm),
        heads=in_order(GPT2_ORDER, {"Model": ImageModel, "ImageClassification": MeanClassification}),
    ),
    "openai-gpt": Variant(
        lambda c: gpt2_spec(c, activation=OPENAI_ACTIVATIONS.get(c.afn, c.afn)),
        heads=in_order(OPENAI_ORDER, HEADS | {"Model": OpenAIModel}),
    ),
}
TASKS = in_order(GPT2_ORDER, HEADS | {"Model": Model})
