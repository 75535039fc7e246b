"""Text parts of further multimodal models: molmo2_text, voxtral_realtime_text."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.keys import Join, Rename, Split
from autoload.layers.attention import Context
from autoload.layers.rope import Rotary
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, head_dim

# -- molmo2


class PartlyScaledAttention(decoder.Attention):
    """Turns by the scaled table, or by the plain one."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.rope_key = "scaled" if layer_idx in config.rope_scaling_layers else "plain"


class NormAfterLayer(decoder.Layer):
    """Norms what attention and MLP give, under the names of the norms before them."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.input_layernorm(self.self_attn(x, context)))
        return self.add(x, self.post_attention_layernorm(self.mlp(x)))


class Molmo2Model(decoder.Model):
    """Some layers turn as if the rotary settings had no scaling; the table has room for further tokens."""

    def make_embedding(self, config: Any, spec: Spec) -> nn.Embedding:
        return nn.Embedding(config.vocab_size + config.additional_vocab_size, config.hidden_size)

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        rope, size, length = config.rope_parameters, head_dim(config), config.max_position_embeddings
        plain = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
        return nn.ModuleDict({"scaled": Rotary(rope, size, length), "plain": Rotary(plain, size, length)})

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {name: rotary(positions, x.dtype) for name, rotary in self.rotary_emb.items()}


def molmo2_sizes(c: Any) -> list[int]:
    """Rows of queries, keys and values in the one matrix that the Hub's files have."""
    return [c.num_attention_heads * c.head_dim, *[c.num_key_value_heads * c.head_dim] * 2]


# -- voxtral_realtime


class TimeFactor(nn.Module):
    """What the delay of the transcript makes of each dimension."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, 32, bias=False)
        self.linear2 = nn.Linear(32, config.hidden_size, bias=False)

    def forward(self, time: Tensor) -> Tensor:
        return 1 + self.linear2(F.gelu(self.linear1(time)))


class TimedLayer(decoder.Layer):
    """Scales what the MLP reads by the time."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.ada_rms_norm = TimeFactor(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.self_attn(self.input_layernorm(x), context))
        return self.add(x, self.mlp(self.post_attention_layernorm(x) * self.ada_rms_norm(context.extra["time"])))


class TimedModel(decoder.Model):
    """`forward` takes `t_cond` (batch or 1, 1, dim), an embedding of the delay."""

    reads = ("t_cond",)

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(time := kwargs.get("t_cond"), torch.Tensor):
            raise ArgumentError("forward: pass t_cond, the embedding of the delay, a tensor.", name="t_cond")
        return {"time": time}


VARIANTS = {
    "molmo2_text": Variant(
        lambda c: Spec(
            layer=NormAfterLayer if c.norm_after else None,
            attention=PartlyScaledAttention,
            qk_norm="full" if c.qk_norm_type == "olmo" else "head",
            qkv_bias=c.attention_bias,
        ),
        heads={"Model": Molmo2Model},
        keys=(
            Rename("attn_norm", "input_layernorm"),
            Rename("ff_norm", "post_attention_layernorm"),
            Split(
                "self_attn.att_proj",
                ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                sizes=molmo2_sizes,
            ),
            Rename("self_attn.attn_out", "self_attn.o_proj"),
            Rename("mlp.ff_out", "mlp.down_proj"),
            Split("mlp.ff_proj.weight", ("mlp.up_proj.weight", "mlp.gate_proj.weight")),
            Join(("wte.embedding", "wte.new_embedding"), "embed_tokens.weight"),
        ),
    ),
    "voxtral_realtime_text": Variant(lambda c: Spec(layer=TimedLayer), heads={"Model": TimedModel}),
}
TASKS = decoder.TASKS
