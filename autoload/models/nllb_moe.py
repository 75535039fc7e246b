"""NLLB-MoE: M2M-100's wiring with experts in some layers, of which each token takes two while there is room.

NLLB Team 2022 (arXiv:2207.04672). The reference's release 5.23 runs the first two experts alone, whatever the router
says; here the router's own choice runs, as in fairseq, where the published model comes from.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask
from autoload.layers.experts import balance_loss
from autoload.model import Variant, finish
from autoload.models import bart, seq2seq, seq2seq_heads
from autoload.models.gpt_decoder import SeparateAttention
from autoload.models.seq2seq import finite
from autoload.outputs import (
    MoEModelOutput,
    MoEModelOutputWithPastAndCrossAttentions,
    Seq2SeqMoEModelOutput,
    Seq2SeqMoEOutput,
)

POLICIES = ("all", "random", "sampling")


class Router(nn.Module):
    """Chooses two experts for each token, in a dtype of its own; an expert that is full turns tokens away."""

    def __init__(self, config: Any):
        super().__init__()
        self.count, self.policy = config.num_experts, config.second_expert_policy
        if self.policy not in POLICIES:
            raise ConfigError("second_expert_policy", self.policy, f"one of {', '.join(POLICIES)}")
        if self.count < 2:
            raise ConfigError("num_experts", self.count, "at least 2, for each token takes two")
        self.classifier = nn.Linear(config.d_model, self.count, bias=config.router_bias)
        self.dtype = getattr(torch, config.router_dtype)
        self.best_first = config.batch_prioritized_routing  # who is surest gets room first; else who stands first
        self.early = config.normalize_router_prob_before_dropping  # shares add up to one before tokens are turned away
        self.room, self.part = config.expert_capacity, config.moe_eval_capacity_token_fraction

    def forward(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each expert's share in each token, and all scores.

        Args:
            x: (tokens, dim).
            real: (tokens,), False at padding, which no expert reads.

        Returns:
            Twice (tokens, experts).
        """
        bias = self.classifier.bias
        bias = None if bias is None else bias.to(self.dtype)
        logits = F.linear(x.to(self.dtype), self.classifier.weight.to(self.dtype), bias)
        likely = logits.softmax(-1).to(x.dtype)
        first = F.one_hot(likely.argmax(-1), self.count)
        second = F.one_hot(self.noisy(logits).masked_fill(first == 1, -math.inf).argmax(-1), self.count)
        shares = self.shares(likely, first, second)
        if self.policy == "random":  # a second expert that is hardly wanted is often left out
            second = second * (2 * (likely * second).sum(1) > torch.rand(len(x), device=x.device))[:, None]
        if real is not None:
            first, second = first * real[:, None], second * real[:, None]
        room, taken = self.capacity(len(x)), first.sum(0)
        first_in, second_in = self.turn(first, likely) < room, self.turn(second, likely) + taken < room
        first, second = first * first_in, second * second_in
        one, two = shares if self.early else self.shares(likely, first, second)
        return one[:, None] * first + two[:, None] * second, logits

    def noisy(self, logits: Tensor) -> Tensor:
        """Scores by which the second expert is chosen."""
        if self.policy != "sampling":
            return logits
        return logits - torch.empty_like(logits).exponential_().log()  # Gumbel noise: a draw from the softmax

    def shares(self, likely: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of both experts, (tokens,) each, that add up to one."""
        one, two = (likely * first).sum(1), (likely * second).sum(1)
        both = (one + two).clamp(min=torch.finfo(likely.dtype).eps)
        return one / both, two / both

    def turn(self, chosen: Tensor, likely: Tensor) -> Tensor:
        """How many tokens come before each one at each expert, (tokens, experts)."""
        if not self.best_first:
            return chosen.cumsum(0) - 1
        order = likely.amax(1).argsort(descending=True, stable=True)
        return (chosen[order].cumsum(0) - 1)[order.argsort()]

    def capacity(self, tokens: int) -> int:
        """Tokens that an expert takes."""
        return math.ceil(self.part * tokens) if self.part > 0 and not self.training else self.room


class MLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any, inner: int):
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, inner)
        self.fc2 = nn.Linear(inner, config.d_model)
        self.act = Activation(config.activation_function)
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.fc2(self.dropout(self.act(self.fc1(x))))


class SparseMLP(nn.Module):
    """Experts; a token that found no room gets nothing."""

    def __init__(self, config: Any, inner: int):
        super().__init__()
        self.router = Router(config)
        self.experts = nn.ModuleDict({f"expert_{i}": MLP(config, inner) for i in range(config.num_experts)})
        self.masked = nn.Dropout(config.moe_token_dropout)
        self.kept = 1 - config.moe_token_dropout

    def forward(self, x: Tensor, context: Context) -> Tensor:
        tokens, real = x.flatten(0, -2), context.masks["routed"].allowed
        shares, logits = self.router(tokens, None if real is None else real.flatten())
        if (routed := context.extra["router_logits"]) is not None:
            routed.append(logits)
        # Training leaves out some experts' outputs, whole ones, and makes the others no larger.
        shares = self.masked(shares) * self.kept
        out = torch.zeros_like(tokens)
        for share, expert in zip(shares.unbind(1), self.experts.values(), strict=True):
            if torch.compiler.is_compiling():  # all tokens: which ones cannot be known
                out = out + (expert(tokens, context) * share[:, None]).to(x.dtype)
            elif len(rows := share.nonzero()[:, 0]):
                out = out.index_add(0, rows, (expert(tokens[rows], context) * share[rows, None]).to(x.dtype))
        return out.view_as(x)


class Layer(nn.Module):
    """Attention, in a decoder cross-attention, and a wide layer or experts; norms before each part."""

    def __init__(self, config: Any, heads: int, inner: int, layer_idx: int, crosses: bool):
        super().__init__()
        size, step = config.d_model, config.decoder_sparse_step if crosses else config.encoder_sparse_step
        if size % heads:
            side = "decoder" if crosses else "encoder"
            raise ConfigError(f"{side}_attention_heads", heads, f"a divisor of d_model ({size})")
        self.self_attn = SeparateAttention(size, heads, layer_idx, dropout=config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.crosses = crosses
        if crosses:
            self.cross_attention = SeparateAttention(
                size, heads, layer_idx, cross=True, dropout=config.attention_dropout
            )
            self.cross_attention_layer_norm = nn.LayerNorm(size)
        self.ffn = (SparseMLP if step > 0 and (layer_idx + 1) % step == 0 else MLP)(config, inner)
        self.ff_layer_norm = nn.LayerNorm(size)
        self.attn_dropout, self.ff_dropout = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attn_dropout(self.self_attn(self.self_attn_layer_norm(x), context))
        if self.crosses and context.encoder is not None:
            x = x + self.attn_dropout(self.cross_attention(self.cross_attention_layer_norm(x), context))
        return finite(x + self.ff_dropout(self.ffn(self.ff_layer_norm(x), context)))


class Routed(seq2seq.Stack):
    """A side that tells its routers where padding is, and may hand their scores on."""

    layer_class = Layer
    packs: ClassVar[bool] = False  # how much room experts have follows from the batch's length

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        asked = inputs.get("output_router_logits")
        return {"router_logits": [] if (self.config.output_router_logits if asked is None else asked) else None}

    def make_masks(self, attention_mask: Tensor | None, x: Tensor, *rest: Any) -> dict[Any, Mask]:
        """Of attention, and the tokens that experts read."""
        real = None
        if attention_mask is not None and attention_mask.dim() == 2 and not self.config.router_ignore_padding_tokens:
            real = attention_mask[:, -x.shape[1] :] != 0  # it is when padding is not ignored that no expert reads it
        return {**super().make_masks(attention_mask, x, *rest), "routed": Mask(real)}  # type: ignore[misc]

    def wrap(self, out: Any, context: Context) -> Any:
        routed = context.extra["router_logits"]
        kind = MoEModelOutputWithPastAndCrossAttentions if isinstance(self, seq2seq.Decoder) else MoEModelOutput
        return kind(**out, router_logits=tuple(routed) if routed else None)


class Encoder(Routed, bart.Encoder):
    """Reads the source."""


class Decoder(Routed, bart.Decoder):
    """Writes the target."""


class Model(bart.Model):
    """Both sides without a head."""

    reads = ("output_router_logits",)
    encoder_class = Encoder
    decoder_class = Decoder

    def make_output(self, out: Any, source: Any) -> Any:
        return Seq2SeqMoEModelOutput(
            **super().make_output(out, source),
            decoder_router_logits=out.router_logits,
            encoder_router_logits=getattr(source, "router_logits", None),
        )


class LM(seq2seq_heads.LM):
    """Scores of the target's next token, and with labels how unevenly tokens were spread over experts."""

    output_class = Seq2SeqMoEOutput

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_router_logits: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As elsewhere.

        Args:
            input_ids: (batch, source); this and the next are those of every encoder-decoder.
            labels: (batch, target), -100 where nothing is asked.
            output_router_logits: also give the routers' scores; with labels also a loss for each side that is small
                when experts are used evenly, which is part of the loss.
            return_dict: False gives a tuple.
        """
        asked = self.config.output_router_logits if output_router_logits is None else output_router_logits
        out = super().forward(
            *(input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(past_key_values, inputs_embeds, decoder_inputs_embeds, labels, use_cache),
            return_dict=True,
            output_router_logits=asked,
            **kwargs,
        )
        if asked and labels is not None:
            out.encoder_aux_loss = uneven(out.encoder_router_logits, attention_mask)
            out.decoder_aux_loss = uneven(out.decoder_router_logits, decoder_attention_mask)
            share = self.config.router_aux_loss_coef
            out.loss = out.loss + share * (out.encoder_aux_loss + out.decoder_aux_loss)
        return finish(Seq2SeqMoEOutput(**out), return_dict, self.config)  # with its fields in order


def uneven(logits: tuple[Tensor, ...] | None, attention_mask: Tensor | None) -> Tensor | int:
    """How unevenly one side's tokens are spread over experts."""
    return balance_loss(logits, 2, attention_mask) if logits else 0


VARIANTS = {
    "nllb-moe": Variant(
        lambda c: bart.Spec(padded_from=c.pad_token_id, positions=bart.fixed, **bart.PRE_NORM),
    ),
}
TASKS = {"Model": Model, "Seq2SeqLM": LM}
