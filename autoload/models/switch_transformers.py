"""Switch Transformers: T5 with experts in some layers, of which each token takes one while there is room.

Fedus et al. 2021 (arXiv:2101.03961).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.model import Variant, finish
from autoload.models import seq2seq, t5
from autoload.outputs import (
    MoEModelOutputWithPastAndCrossAttentions,
    Seq2SeqMoEModelOutput,
    Seq2SeqMoEOutput,
)


class Router(nn.Module):
    """Chooses one expert for each token, in a dtype of its own; an expert takes the first tokens of a sequence."""

    def __init__(self, config: Any):
        super().__init__()
        std = config.initializer_factor
        self.classifier = t5.Linear(config.d_model, config.num_experts, std, bias=config.router_bias)
        self.capacity, self.noise = config.expert_capacity, config.router_jitter_noise
        self.dtype = getattr(torch, config.router_dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Number of each token's expert, -1 where it is full; its share; all scores (batch, seq, experts)."""
        inner, bias = x.to(self.dtype), self.classifier.bias
        if self.training and self.noise > 0:
            inner = inner * torch.empty_like(inner).uniform_(1 - self.noise, 1 + self.noise)
        logits = F.linear(inner, self.classifier.weight.to(self.dtype), None if bias is None else bias.to(self.dtype))
        share, chosen = logits.softmax(-1).to(x.dtype).max(-1)  # (batch, seq)
        turn = F.one_hot(chosen, logits.shape[-1]).cumsum(1).gather(-1, chosen[..., None])[..., 0]
        return chosen.masked_fill(turn > self.capacity, -1), share, logits


class Expert(t5.MLP):
    """T5's, but for the size of fresh values."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.wo.std = config.initializer_factor * config.d_model**-0.5


class SparseMLP(nn.Module):
    """Experts; a token that found no room gets nothing."""

    def __init__(self, config: Any):
        super().__init__()
        self.router = Router(config)
        self.experts = nn.ModuleDict({f"expert_{i}": Expert(config) for i in range(config.num_experts)})

    def forward(self, x: Tensor, context: Context) -> Tensor:
        chosen, share, logits = self.router(x)
        if (routed := context.extra["router_logits"]) is not None:
            routed.append(logits)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts.values()):
            if len(x[mine := chosen == number]):
                out[mine] = (expert(x[mine], context) * share[mine][:, None]).to(x.dtype)
        return out


class Block(t5.Block):
    """Has experts every so many layers."""

    def make_mlp(self, config: Any, layer_idx: int, crosses: bool) -> t5.Part:
        step = config.decoder_sparse_step if crosses else config.encoder_sparse_step
        sparse = step == 1 or step > 0 and layer_idx % step == 1
        return t5.Part(config, "mlp", SparseMLP(config) if sparse else t5.MLP(config))


class Routed(seq2seq.Stack):
    """A side that may hand its routers' scores on."""

    block_class: ClassVar[type] = Block
    packs: ClassVar[bool] = False  # room is counted by place

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        asked = inputs.get("output_router_logits")
        asked = getattr(self.config, "output_router_logits", False) if asked is None else asked
        return {"router_logits": [] if asked else None}

    def wrap(self, out: Any, context: Context) -> Any:
        routed = context.extra["router_logits"]
        return MoEModelOutputWithPastAndCrossAttentions(**out, router_logits=tuple(routed) if routed else None)


class Encoder(Routed, t5.Encoder):
    """Reads the source."""


class Decoder(Routed, t5.Decoder):
    """Writes the target."""


class Model(t5.Model):
    """Both sides without a head."""

    base_model_prefix = "switch_transformers"
    reads = ("output_router_logits",)
    encoder_class = Encoder
    decoder_class = Decoder

    def make_output(self, out: Any, source: Any) -> Any:
        return Seq2SeqMoEModelOutput(
            **super().make_output(out, source),
            decoder_router_logits=out.router_logits,
            encoder_router_logits=getattr(source, "router_logits", None),
        )


def router_losses(logits: tuple[Tensor, ...] | None, step: int) -> tuple[Tensor, Tensor] | tuple[int, int]:
    """How large scores are, and how unevenly tokens are spread; none, as ever, where every layer has experts."""
    if not logits or step <= 1:
        return 0, 0
    scores = torch.cat(logits, 1)  # (batch, tokens of all layers, experts)
    experts = scores.shape[-1]
    chosen = F.one_hot(scores.argmax(-1), experts).float().mean(1)  # (batch, experts)
    uneven = (chosen * scores.softmax(-1).mean(1)).mean() * experts**2
    return scores.logsumexp(-1).square().mean(), uneven


class LM(t5.LM, Model):
    """Scores of the target's next token; with `output_router_logits` also the losses of the routers."""

    output_class = Seq2SeqMoEOutput

    def forward(
        self,
        *inputs: Any,
        output_router_logits: bool | None = False,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As T5's.

        Args:
            *inputs: those of T5.
            output_router_logits: also give the routers' scores and losses; the latter are part of the loss.
            return_dict: False gives a tuple.
            **kwargs: further inputs of T5.
        """
        out = super().forward(*inputs, output_router_logits=output_router_logits, return_dict=True, **kwargs)
        if output_router_logits:
            encoder_step, decoder_step = self.config.encoder_sparse_step, self.config.decoder_sparse_step
            out.encoder_z_loss, out.encoder_aux_loss = router_losses(out.encoder_router_logits, encoder_step)
            out.decoder_z_loss, out.decoder_aux_loss = router_losses(out.decoder_router_logits, decoder_step)
            if out.loss is not None:
                size = self.config.router_z_loss_coef * (out.encoder_z_loss + out.decoder_z_loss)
                out.loss = out.loss + size
                out.loss = out.loss + self.config.router_aux_loss_coef * (out.encoder_aux_loss + out.decoder_aux_loss)
        return finish(Seq2SeqMoEOutput(**out), return_dict, self.config)


def output_scale(config: Any) -> float:
    return config.d_model**-0.5 if config.tie_word_embeddings else 1.0


VARIANTS = {"switch_transformers": Variant(lambda c: t5.Spec(output_scale(c)))}
TASKS = {"Model": Model, "Seq2SeqLM": LM}
