"""PEGASUS-X: an encoder of blocks beside a few tokens that see everything.

Phang et al. 2022 (arXiv:2208.04347).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context, Mask, attend
from autoload.model import Variant, finish
from autoload.models import bart, seq2seq_heads
from autoload.models.gpt_decoder import SeparateAttention
from autoload.models.gpt_fairseq import SinusoidalPositions
from autoload.outputs import BaseModelOutput

Streams = tuple[Tensor, Tensor]  # (batch, seq, dim) of the text, (batch, wide, dim) of the tokens that see everything


class BlockAttention(SeparateAttention):
    """Tokens see their block and the wide tokens; these see everything. `real` is (batch, seq), False at padding."""

    def __init__(self, config: Any):
        super().__init__(config.d_model, config.encoder_attention_heads, 0, bias=False, out_bias=False)
        self.attn_dropout = nn.Dropout(config.attention_dropout)
        self.block = config.block_size

    def look(self, x: Streams, real: Tensor, context: Context) -> Streams:
        (q, k, v), (wide_q, wide_k, wide_v) = map(self.project, x)  # (batch, heads, seq or wide, dim) each
        weights: list[Tensor] | None = None if context.attentions is None else []
        options: dict[str, Any] = dict(scale=self.scale, dropout=self.attn_dropout.p if self.training else 0.0)
        blocks, count = q.shape[2] // self.block, wide_k.shape[2]
        seen = F.pad(real, (count, 0), value=True)[:, None, None]  # (batch, 1, 1, wide + seq)
        keys, values = torch.cat([wide_k, k], 2), torch.cat([wide_v, v], 2)
        wide = attend(wide_q, keys, values, Mask(seen), context, weights_to=weights, **options)

        def cut(t: Tensor) -> Tensor:  # (batch * blocks, heads, block, dim)
            return t.unflatten(2, (blocks, self.block)).transpose(1, 2).flatten(0, 1)

        keys, values = (torch.cat([w.repeat_interleave(blocks, 0), cut(t)], 2) for w, t in ((wide_k, k), (wide_v, v)))
        seen = F.pad(real.unflatten(1, (blocks, self.block)).flatten(0, 1), (count, 0), value=True)[:, None, None]
        local = attend(cut(q), keys, values, Mask(seen), context, weights_to=weights, **options)
        if weights is not None:
            shown = {"global": weights[0], "local": weights[1].unflatten(0, (-1, blocks)).transpose(1, 2)}
            context.attentions.append(shown)  # type: ignore[union-attr, arg-type]
        return self.output(local.reshape(x[0].shape)), self.output(wide)


class BlockLayer(bart.PreNormLayer):
    """Both streams through one layer; every other layer has its blocks shifted by half."""

    def __init__(self, config: Any, heads: int, inner: int, layer_idx: int, crosses: bool):
        super().__init__(config, heads, inner, layer_idx, crosses)
        self.global_self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.shift = config.block_size // 2 if layer_idx % 2 == 1 and config.stagger_local_blocks else 0

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        return BlockAttention(config)

    def forward(self, x: Streams, context: Context) -> Streams:  # type: ignore[override]
        text, wide = x
        shift = self.shift
        shifted = F.pad(self.self_attn_layer_norm(text), (0, 0, shift, shift))
        real = F.pad(context.extra["real"], (shift, shift), value=False)
        new = self.self_attn.look(  # type: ignore[union-attr, operator]
            (shifted, self.global_self_attn_layer_norm(wide)), real, context
        )
        text = text + self.dropout(new[0][:, shift : shift + text.shape[1]])
        wide = wide + self.dropout(new[1])
        return tuple(t + self.mlp(self.final_layer_norm(t)) for t in (text, wide))  # type: ignore[return-value]


class BlockEncoder(bart.Encoder):
    """Reads the source in blocks."""

    layer_class = BlockLayer

    def __init__(self, config: Any, spec: bart.Spec):
        super().__init__(config, spec)
        self.embed_global = nn.Embedding(config.num_global_tokens, config.d_model)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As elsewhere. `hidden_states` reach to the end of the last block; their last entry has both streams."""
        x = self.lookup(input_ids, inputs_embeds)
        context = self.context(None, output_attentions, output_hidden_states)
        length, short = x.shape[1], -x.shape[1] % self.config.block_size
        real = x.new_ones(x.shape[:2], dtype=torch.bool) if attention_mask is None else attention_mask != 0
        context.extra["real"] = F.pad(real, (0, short), value=False)
        x = F.pad(self.embed(x, input_ids, 0), (0, 0, 0, short))
        streams, seen = self.run_layers((x, self.embed_global.weight.expand(len(x), -1, -1)), context)  # type: ignore[arg-type]
        x = self.layer_norm(streams[0][:, :length])
        out = BaseModelOutput(
            last_hidden_state=x,
            hidden_states=(*(text for text, _ in seen), (x, streams[1])) if context.states else None,  # type: ignore[arg-type]
            attentions=tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(out, return_dict, self.config)

    def close(self, x: Any) -> Any:
        return x  # the norm is for the text alone


class PegasusXLayer(bart.PreNormLayer):
    """Projections without biases."""

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        options: dict[str, Any] = dict(bias=False, out_bias=False, dropout=config.attention_dropout, cross=cross)
        return SeparateAttention(config.d_model, heads, layer_idx, **options)


class PegasusXDecoder(bart.Decoder):
    """Projections without biases."""

    layer_class = PegasusXLayer


class Model(bart.Model):
    """PEGASUS-X without a head."""

    encoder_class = BlockEncoder
    decoder_class = PegasusXDecoder


VARIANTS = {
    "pegasus_x": Variant(
        lambda c: bart.Spec(
            pre_norm=True,
            embedding_norm=False,
            positions=lambda c: SinusoidalPositions(c.d_model, None, offset=0),
        )
    ),
}
TASKS = {"Model": Model, "Seq2SeqLM": seq2seq_heads.LM}
