"""Encoders made of newer decoders' parts, with windows to both sides: embedding_gemma2_text, openai_privacy_filter."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.heads import DecoderTokenClassification
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.experts import Groups, Routed, product, top_then_softmax
from autoload.layers.norms import RMSNormFP32
from autoload.model import Variant
from autoload.models import decoder, decoder_gemma, eurobert, moe
from autoload.models.decoder import Spec, hidden_act, norm_eps

# -- EmbeddingGemma 2: Gemma 4's layers, with inputs of their own that come from the embeddings alone


class LayerInputs(nn.Module):
    """A small input for each layer, projected from the embeddings."""

    def __init__(self, config: Any):
        super().__init__()
        self.small, self.scale = config.hidden_size_per_layer_input, config.hidden_size**-0.5
        self.per_layer_model_projection = nn.Linear(
            config.hidden_size, config.num_hidden_layers * self.small, bias=False
        )
        self.per_layer_projection_norm = RMSNormFP32(self.small, norm_eps(config))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, seq, dim) to (batch, seq, layers, small dim)."""
        projected = self.per_layer_model_projection(x) * self.scale
        return self.per_layer_projection_norm(projected.unflatten(-1, (-1, self.small)))


class LayerInputBlock(nn.Module):
    """Lets a layer's own input through, as the stream opens the gate."""

    def __init__(self, config: Any):
        super().__init__()
        self.act_fn = Activation(hidden_act(config))
        small = config.hidden_size_per_layer_input
        self.per_layer_input_gate = nn.Linear(config.hidden_size, small, bias=False)
        self.per_layer_projection = nn.Linear(small, config.hidden_size, bias=False)
        self.post_per_layer_input_norm = RMSNormFP32(config.hidden_size, norm_eps(config))

    def forward(self, x: Tensor, own: Tensor) -> Tensor:
        own = self.act_fn(self.per_layer_input_gate(x)) * own
        return x + self.post_per_layer_input_norm(self.per_layer_projection(own))


class EmbeddingGemma2Layer(decoder.SandwichLayer):
    """Takes its own input in at the end, and scales the stream."""

    layer_scalar: Tensor

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        config = decoder_gemma.of_layer(config, layer_idx)
        super().__init__(config, spec, layer_idx)
        self.layer_idx = layer_idx
        self.ple_block = LayerInputBlock(config)
        self.register_buffer("layer_scalar", torch.ones(1))

    def init_own(self, std: float) -> None:
        self.layer_scalar.fill_(1.0)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = super().forward(x, context)
        return self.ple_block(x, context.extra["inputs"][:, :, self.layer_idx]) * self.layer_scalar


class EmbeddingGemma2Model(eurobert.Model):
    """EmbeddingGemma 2's text encoder: hidden states are projected to the size of its sentence embeddings."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.ple = LayerInputs(config)
        self.embedding_projection = nn.Linear(config.hidden_size, config.embedding_dim, bias=False)

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        return decoder_gemma.rotary_by_kind(config)

    def rise(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        context.extra["inputs"] = self.ple(x)
        return super().rise(x, context)

    def final_norm(self, x: Tensor) -> Tensor:
        return self.embedding_projection(self.norm(x))


# -- OpenAI's privacy filter: GPT-OSS's layers, with experts in fp32


def product_fp32(x: Tensor, weight: Tensor, groups: Groups) -> Tensor:
    """Like `product`; each expert's matrix is converted when its turn comes, so that one copy is alive at a time."""
    if weight.dtype == torch.float32:
        return product(x, weight, groups)
    sizes = groups.ends.diff(prepend=groups.ends.new_zeros(1)).tolist()
    parts = zip(x.split(sizes), weight.unbind(), strict=True)
    return torch.cat([part @ own.float() for part, own in parts if len(part)])


class PrivacyExperts(moe.ClampedExperts):
    """In fp32; gate and value are halves."""

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        return super().forward(x.float(), chosen, weights).to(x.dtype)

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        return product_fp32(x, self.gate_up_proj, groups) + self.gate_up_proj_bias[groups.numbers].float()

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(torch.stack(x.chunk(2, -1), -1).flatten(-2))

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return product_fp32(x, self.down_proj, groups) + self.down_proj_bias[groups.numbers].float()


class PrivacyRouter(moe.BiasedTopRouter):
    """In fp32."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float(), self.bias.float())
        return logits, *top_then_softmax(logits, self.picks)


class PrivacyMLP(Routed):
    """The privacy filter's experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.router = PrivacyRouter(config)
        self.experts = PrivacyExperts(config, config.num_local_experts, config.intermediate_size, "silu")

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class PrivacyModel(eurobert.Model, moe.Model):
    """The privacy filter without a head."""

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        wanted = kwargs.get("output_router_logits")
        wanted = self.config.output_router_logits if wanted is None else wanted
        return {"attention_mask": None if wanted else kwargs["attention_mask"]}  # the scores are those of all places


VARIANTS = {
    "embedding_gemma2_text": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=EmbeddingGemma2Layer,
            attention=decoder_gemma.NormedValueAttention,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=1.0,
            embedding_class=decoder.ScaledEmbedding,
        ),
        heads={"Model": EmbeddingGemma2Model},
    ),
    "openai_privacy_filter": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            attention=moe.SinkAttention,
            mlp=PrivacyMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
        ),
        heads={"Model": PrivacyModel},
        members={"keep_fp32": ("sinks",)},
    ),
}
TASKS = {"Model": eurobert.Model, "TokenClassification": DecoderTokenClassification}
