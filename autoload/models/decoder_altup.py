"""The Gemma of several streams: gemma3n_text.

AltUp: Baykal et al. 2023 (arXiv:2301.13310). LAuReL: Menghani et al. 2024 (arXiv:2411.07501).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.norms import RMSNormFP32
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, hidden_act, norm_eps
from autoload.models.decoder_gemma import PART, LayerInputModel, SharedAttention, borrowed


class SparseMLP(decoder.GatedMLP):
    """Lets through only the gates that are large for a normal distribution of them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx, config.intermediate_size[layer_idx])
        sparsity = config.activation_sparsity_pattern[layer_idx]
        self.cutoff = NormalDist().inv_cdf(sparsity) if sparsity > 0 else None  # in standard deviations

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate_proj(x)
        if self.cutoff is not None:
            spread = gate.std(-1, keepdim=True, unbiased=False)
            gate = torch.relu(gate - (gate.mean(-1, keepdim=True) + spread * self.cutoff))
        return self.down_proj(self.act_fn(gate) * self.up_proj(x))


class Laurel(nn.Module):
    """A low-rank step beside attention."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear_left = nn.Linear(config.hidden_size, config.laurel_rank, bias=False)
        self.linear_right = nn.Linear(config.laurel_rank, config.hidden_size, bias=False)
        self.post_laurel_norm = RMSNormFP32(config.hidden_size, norm_eps(config))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.post_laurel_norm(self.linear_right(self.linear_left(x)))


class AltUp(nn.Module):
    """Several streams: a layer computes one of them, the others are predicted and then corrected."""

    def __init__(self, config: Any):
        super().__init__()
        self.count, self.active, self.clip = config.altup_num_inputs, config.altup_active_idx, config.altup_coef_clip
        self.root = 1 / config.hidden_size
        self.correct_output_scale = nn.Parameter(torch.zeros(config.hidden_size))
        self.correction_coefs = nn.Linear(self.count, self.count, bias=False)
        self.prediction_coefs = nn.Linear(self.count, self.count**2, bias=False)
        self.modality_router = nn.Linear(config.hidden_size, self.count, bias=False)
        self.router_norm = RMSNormFP32(config.hidden_size, norm_eps(config))

    def init_own(self, std: float) -> None:
        self.correct_output_scale.zero_()

    def coefficients(self, x: Tensor, mix: nn.Linear) -> Tensor:
        """(batch, seq, ...) from the computed stream; weights are kept in bounds while training."""
        routes = torch.tanh(self.modality_router(self.router_norm(x) * self.root).float()).to(x.dtype)
        bound = self.clip if self.training else None
        return nn.functional.linear(routes, mix.weight if bound is None else mix.weight.clamp(-bound, bound))

    def predict(self, x: Tensor) -> Tensor:
        """(streams, batch, seq, dim) from the same, before the layer."""
        mix = self.coefficients(x[self.active], self.prediction_coefs).unflatten(-1, (self.count, self.count))
        return x + torch.einsum("jbsd,bsij->ibsd", x, mix)

    def correct(self, predicted: Tensor, computed: Tensor) -> Tensor:
        """(streams, batch, seq, dim), after the layer has computed (batch, seq, dim)."""
        shares = self.coefficients(computed, self.correction_coefs) + 1.0  # (batch, seq, streams)
        return predicted + (computed - predicted[self.active]) * shares.movedim(-1, 0)[..., None]


class AltUpLayer(decoder.SandwichLayer):
    """Works on several streams, with a low-rank step and its own embedding of the token."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.layer_idx, self.scales = layer_idx, config.altup_correct_scale
        small = config.hidden_size_per_layer_input
        self.act_fn = Activation(hidden_act(config))
        self.altup = AltUp(config)
        self.laurel = Laurel(config)
        self.per_layer_input_gate = nn.Linear(config.hidden_size, small, bias=False)
        self.per_layer_projection = nn.Linear(small, config.hidden_size, bias=False)
        self.post_per_layer_input_norm = spec.norm(config.hidden_size, norm_eps(config))

    def forward(self, x: Tensor, context: Context) -> Tensor:  # (streams, batch, seq, dim)
        predicted = self.altup.predict(x)
        active = predicted[self.altup.active]
        normed = self.input_layernorm(active)
        attended = active + self.post_attention_layernorm(self.self_attn(normed, context))
        h = (attended + self.laurel(normed)) / math.sqrt(2)
        h = h + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(h)))
        x = self.altup.correct(predicted, h)
        first = x[self.altup.active]
        if self.scales:
            first = first * self.altup.correct_output_scale
        first = self.act_fn(self.per_layer_input_gate(first)) * context.extra["inputs"][:, :, self.layer_idx]
        first = self.post_per_layer_input_norm(self.per_layer_projection(first))
        return torch.cat([x[:1], x[1:] + first])


class AltUpModel(LayerInputModel):
    """Makes several streams of the embeddings, and their mean at the end."""

    last_is_normed = False

    def __init__(self, config: Any):
        super().__init__(config)
        size, others = config.hidden_size, config.altup_num_inputs - 1
        self.altup_projections = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(others))
        self.altup_unembed_projections = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(others))

    def look_up(self, input_ids: Tensor | None) -> Tensor | None:
        if input_ids is None:
            return None
        known = (input_ids >= 0) & (input_ids < self.config.vocab_size_per_layer_input)
        return super().look_up(torch.where(known, input_ids, 0))

    def enter(self, x: Tensor) -> Tensor:
        return torch.stack([x, *(as_large(project(x), x) for project in self.altup_projections)])

    def final_norm(self, x: Tensor) -> Tensor:
        others = zip(self.altup_unembed_projections, x[1:], strict=True)
        return self.norm(torch.stack([x[0], *(as_large(project(y), x[0]) for project, y in others)]).mean(0))


def as_large(x: Tensor, model: Tensor) -> Tensor:
    """x, with the root mean square of another tensor."""
    target = model.pow(2).mean(-1, keepdim=True).sqrt()
    return x * target / x.pow(2).mean(-1, keepdim=True).clamp(min=1e-5).sqrt()


VARIANTS = {
    "gemma3n_text": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=AltUpLayer,
            attention=SharedAttention,
            mlp=SparseMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=1.0,
            logits_softcap=c.final_logit_softcapping,
            embedding_class=decoder.ScaledEmbedding,
        ),
        heads={"Model": AltUpModel},
        keys=PART,
        ignores=borrowed,
    ),
}
TASKS = decoder.TASKS
