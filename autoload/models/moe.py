"""Decoders with experts whose routers end in a softmax.

flex_olmo, gpt_oss, granitemoe, granitemoeshared, mixtral, olmoe, qwen2_moe, qwen3_moe.

Jiang et al. 2024 (arXiv:2401.04088) and what followed. The stack is that of the dense decoders; here are the parts that
take the place of the MLP, and what the routers add to the outputs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.keys import Rename, Stack
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Groups, Routed, balance_loss, product, softmax_then_top, top_then_softmax
from autoload.layers.norms import RMSNormFP32
from autoload.model import Variant, finish
from autoload.models import decoder
from autoload.models.decoder import GatedMLP, Spec, hidden_act
from autoload.outputs import MoeCausalLMOutputWithPast, MoeModelOutputWithPast


def _first(config: Any, *names: str) -> Any:
    return next(value for name in names if (value := getattr(config, name, None)) is not None)


def expert_count(config: Any) -> int:
    """Number of experts in a layer, by whichever name the type has it."""
    return _first(config, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def expert_picks(config: Any) -> int:
    """Experts that a token passes through."""
    return _first(config, "num_experts_per_tok", "moe_topk")


def make_experts(config: Any) -> Experts:
    wide = _first(config, "moe_intermediate_size", "intermediate_size")
    return Experts(config, expert_count(config), wide, hidden_act(config))


class Router(nn.Module):
    """Probabilities over all experts, of which a token takes the largest."""

    def __init__(self, config: Any):
        super().__init__()
        self.picks = expert_picks(config)
        self.normalise: bool = getattr(config, "norm_topk_prob", True)
        self.weight = nn.Parameter(torch.empty(expert_count(config), config.hidden_size))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.weight, std=std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (tokens, experts); weights and numbers of the chosen ones (tokens, k). x: (tokens, dim)."""
        logits = F.linear(x, self.weight)
        return logits, *softmax_then_top(logits, self.picks, self.normalise)


class RoundedRouter(Router):
    """Rounds the weights to the dtype of the stream."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, weights, chosen = super().forward(x)
        return logits, weights.to(logits.dtype), chosen


class TopRouter(Router):
    """Softmax among the chosen experts alone, in fp32."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight).float()
        weights, chosen = top_then_softmax(logits, self.picks)
        return logits, weights.to(x.dtype), chosen


class BiasedTopRouter(Router):
    """Softmax among the chosen experts; its scores have a bias."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.bias = nn.Parameter(torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.weight, std=std)
        nn.init.normal_(self.bias, std=std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight, self.bias)
        return logits, *top_then_softmax(logits, self.picks)


class SparseMLP(Routed):
    """Experts and their router."""

    router: type[nn.Module] = RoundedRouter

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.gate = self.router(config)
        self.experts = make_experts(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x)


class JitterMLP(SparseMLP):
    """Shakes its inputs in training; weights stay fp32."""

    router = Router

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.jitter = config.router_jitter_noise

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.training and self.jitter > 0:
            x = x * torch.empty_like(x).uniform_(1.0 - self.jitter, 1.0 + self.jitter)
        return super().forward(x, context)


class GatedShareMLP(SparseMLP):
    """One more expert that all tokens pass through, behind a gate."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.shared_expert = GatedMLP(config, spec, size=config.shared_expert_intermediate_size)
        self.shared_expert_gate = nn.Linear(config.hidden_size, 1, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        shared = self.shared_expert_gate(x).sigmoid() * self.shared_expert(x)
        return super().forward(x, context) + shared


def is_sparse(config: Any, layer_idx: int) -> bool:
    """Whether Qwen has experts in a layer: each `decoder_sparse_step`-th, but for some."""
    every = (layer_idx + 1) % config.decoder_sparse_step == 0
    return every and layer_idx not in config.mlp_only_layers and expert_count(config) > 0


def gated_share(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (GatedShareMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


def sparse(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (SparseMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


class ClampedExperts(Experts):
    """Matrices (experts, in, out) with biases; gate and value alternate and are clamped."""

    def make_weights(self, dim: int) -> None:
        self.gate_up_proj = nn.Parameter(torch.empty(self.count, dim, 2 * self.wide))
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(self.count, 2 * self.wide))
        self.down_proj = nn.Parameter(torch.empty(self.count, self.wide, dim))
        self.down_proj_bias = nn.Parameter(torch.zeros(self.count, dim))

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.gate_up_proj, groups) + self.gate_up_proj_bias[groups.numbers]

    def gate(self, x: Tensor) -> Tensor:
        limit = self.config.swiglu_limit
        gate, value = x[..., ::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
        return (value + 1) * (gate * torch.sigmoid(gate * self.config.swiglu_alpha))

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.down_proj, groups) + self.down_proj_bias[groups.numbers]


class ClampedMLP(Routed):
    """GPT-OSS's experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.router = BiasedTopRouter(config)
        self.experts = ClampedExperts(config, config.num_local_experts, config.intermediate_size, config.hidden_act)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class SinkAttention(decoder.Attention):
    """Each head may look at nothing."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.sinks = nn.Parameter(torch.empty(self.heads))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.sinks, std=std)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        return super().look(q, k, v, context, self.sinks)


class ClippedAttention(decoder.Attention):
    """Norms queries and keys; then they, and the values, are kept within a bound."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.qk_norm = None  # done in `project`, before the bound
        self.bound = config.clip_qkv if config.clip_qkv is not None else math.inf

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x)
        q, k, v = (t.clamp(-self.bound, self.bound) for t in (self.q_norm(q), self.k_norm(k), v))
        return q, k, v


class GraniteMLP(Routed):
    """Granite's experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.router = TopRouter(config)
        self.experts = make_experts(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class GraniteSharedMLP(nn.Module):
    """What all tokens pass through beside the experts."""

    def __init__(self, config: Any):
        super().__init__()
        self.input_linear = nn.Linear(config.hidden_size, 2 * config.shared_intermediate_size, bias=False)
        self.output_linear = nn.Linear(config.shared_intermediate_size, config.hidden_size, bias=False)
        self.activation = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.input_linear(x).chunk(2, -1)
        return self.output_linear(self.activation(gate) * value)


class GraniteLayer(decoder.Layer):
    """Calls its experts `block_sparse_moe`, and may have an MLP beside them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.block_sparse_moe = self.mlp
        del self.mlp
        self.shared_mlp = GraniteSharedMLP(config) if getattr(config, "shared_intermediate_size", 0) else None

    def feed(self, x: Tensor, context: Context) -> Tensor:
        out = self.block_sparse_moe(x, context)
        return out if self.shared_mlp is None else out + self.shared_mlp(x)


class Model(decoder.Model):
    """A decoder with experts, without a head."""

    reads = ("output_router_logits",)

    def __init__(self, config: Any):
        super().__init__(config)
        self.shows_routers = hasattr(config, "output_router_logits")  # some types only do when asked

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {"router_logits": []}

    def result(self, out: Any, context: Context, output_router_logits: bool | None = None, **kwargs: Any) -> Any:
        wanted = output_router_logits
        if wanted is None and self.shows_routers:
            wanted = self.config.output_router_logits
        scores = tuple(context.extra["router_logits"]) if wanted else None
        return MoeModelOutputWithPast(
            out.last_hidden_state, out.past_key_values, out.hidden_states, out.attentions, scores
        )


class CausalLM(decoder.CausalLM):
    """Scores of the next token, and of the experts where they are asked for."""

    balances: ClassVar[bool] = True  # whether the experts' loss counts, where the configuration has a share for it

    def __init__(self, config: Any):
        super().__init__(config)
        self.balance_share, self.picks = self.balancing(config)

    def balancing(self, config: Any) -> tuple[float | None, int]:
        """Share of the experts' loss in the whole, and experts that a token passes through."""
        share = getattr(config, "router_aux_loss_coef", getattr(config, "aux_loss_coef", None))
        return share if self.balances else None, expert_picks(config)

    def balance(self, scores: tuple[Tensor, ...], attention_mask: Tensor | None) -> Tensor:
        """The experts' loss from the routers' scores, (tokens, experts) of each layer."""
        return balance_loss(scores, self.picks, attention_mask)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_router_logits: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As other decoders.

        Args:
            output_router_logits: also give the routers' scores, (tokens, experts) of each layer; where the
                configuration has `router_aux_loss_coef`, also a loss that is small when experts are used evenly. It is
                added to the loss of the labels.
        """
        inputs = (input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, labels, use_cache)
        kwargs |= dict(return_dict=True, output_router_logits=output_router_logits)
        out = super().forward(*inputs, logits_to_keep, **kwargs)
        share = self.balance_share
        if out.router_logits and share is not None:
            balance = self.balance(out.router_logits, attention_mask)
            out = replace(out, aux_loss=balance, loss=None if out.loss is None else out.loss + share * balance)
        return finish(out, return_dict, self.config)

    def output(self, loss: Tensor | None, logits: Tensor, out: Any) -> Any:
        return MoeCausalLMOutputWithPast(
            loss, None, logits, out.past_key_values, out.hidden_states, out.attentions, out.router_logits
        )


class GraniteCausalLM(CausalLM):
    """Divides the scores."""

    score = decoder.GraniteCausalLM.score


SEPARATE = (
    Stack(("experts.#.gate_proj.weight", "experts.#.up_proj.weight"), "experts.gate_up_proj"),
    Stack(("experts.#.down_proj.weight",), "experts.down_proj"),
)
MIXTRAL_KEYS = (
    Rename("block_sparse_moe", "mlp"),
    Stack(("experts.#.w1.weight", "experts.#.w3.weight"), "experts.gate_up_proj"),
    Stack(("experts.#.w2.weight",), "experts.down_proj"),
)
GRANITE_KEYS = (
    Rename("block_sparse_moe.input_linear.weight", "block_sparse_moe.experts.gate_up_proj"),
    Rename("block_sparse_moe.output_linear.weight", "block_sparse_moe.experts.down_proj"),
    Rename("block_sparse_moe.router.layer.weight", "block_sparse_moe.router.weight"),
)


def granite(c: Any) -> Spec:
    return Spec(
        layer=GraniteLayer,
        mlp=GraniteMLP,
        qkv_bias=c.attention_bias,
        o_bias=c.attention_bias,
        scale=c.attention_multiplier,
        embedding_scale=c.embedding_multiplier,
        residual_scale=c.residual_multiplier,
    )


VARIANTS = {
    "mixtral": Variant(lambda c: Spec(mlp=JitterMLP), keys=MIXTRAL_KEYS),
    "qwen2_moe": Variant(lambda c: Spec(mlp=gated_share, qkv_bias=c.qkv_bias), keys=SEPARATE),
    "qwen3_moe": Variant(
        lambda c: Spec(mlp=sparse, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        heads={"QuestionAnswering": decoder.TransformerQuestionAnswering},
        keys=SEPARATE,
    ),
    "gpt_oss": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            attention=SinkAttention,
            mlp=ClampedMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
        ),
        members={"keep_fp32": ("post_attention_layernorm", "input_layernorm", "norm")},
    ),
    "olmoe": Variant(
        lambda c: Spec(
            attention=ClippedAttention,
            mlp=SparseMLP,
            qk_norm="full",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
        ),
        keys=SEPARATE,
    ),
    "flex_olmo": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=decoder.PostNormLayer,
            mlp=SparseMLP,
            qk_norm="full",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
        ),
        keys=SEPARATE,
    ),
    "granitemoe": Variant(granite, heads={"CausalLM": GraniteCausalLM}, keys=GRANITE_KEYS),
    "granitemoeshared": Variant(granite, heads={"CausalLM": GraniteCausalLM}, keys=GRANITE_KEYS),
}
TASKS = decoder.TASKS | {
    "Model": Model,
    "CausalLM": CausalLM,
    "QuestionAnswering": heads.DecoderQuestionAnswering,
}
