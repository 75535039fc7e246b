"""BigBird-Pegasus: a window of blocks, and a first and a last block that see and are seen by all.

Zaheer et al. 2020 (arXiv:2007.14062).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context, Mask, attend, encoder_mask
from autoload.model import Variant, finish
from autoload.models import bart, seq2seq_heads
from autoload.models.gpt_decoder import SeparateAttention
from autoload.outputs import BaseModelOutput


class Projections(nn.Module):
    """Queries, keys and values."""

    def __init__(self, config: Any):
        super().__init__()
        self.query = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)
        self.key = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)
        self.value = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)

    def forward(self, x: Tensor, heads: int) -> tuple[Tensor, ...]:
        """(batch, heads, seq, dim) each."""
        parts = self.query(x), self.key(x), self.value(x)
        return tuple(part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)


class EncoderAttention(nn.Module):
    """Attention under the names of BERT; what the mask adds to the scores says which blocks are seen."""

    def __init__(self, config: Any):
        super().__init__()
        self.heads, self.dropout = config.encoder_attention_heads, nn.Dropout(config.attention_dropout)
        self.block, self.repeats = config.block_size, 1 + config.num_random_blocks
        self.self = Projections(config)
        self.output = nn.Linear(config.d_model, config.d_model, bias=config.use_bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.self(x, self.heads)
        real = context.extra["real"]  # None: every block is seen
        dropout = self.dropout.p if self.training and real is None else 0.0
        weights, scale = context.attentions, q.shape[-1] ** -0.5
        out = attend(q, k, v, context.masks["full"], context, scale=scale, dropout=dropout, weights_to=weights)
        if real is not None:
            out = out * real[..., None]
            if weights is not None:  # of the copies of the first block, one is shown
                shown = weights[-1].clone()
                shown[:, :, self.block : -self.block, : self.block] /= self.repeats
                weights[-1] = shown
        return self.output(out)


class EncoderLayer(bart.PreNormLayer):
    """With attention over blocks."""

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        return EncoderAttention(config)


class DecoderLayer(bart.PreNormLayer):
    """Projections may have no biases."""

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        options: dict[str, Any] = dict(bias=config.use_bias, out_bias=config.use_bias, cross=cross)
        return SeparateAttention(config.d_model, heads, layer_idx, dropout=config.attention_dropout, **options)


class Side(bart.Side):
    """The norm that is called after the embeddings follows the last layer."""

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x + self.places(x, input_ids, past))

    def close(self, x: Tensor) -> Tensor:
        return self.layernorm_embedding(x)


class Encoder(Side, bart.Encoder):
    """Reads the source in blocks where it is long, and all at once where it is short.

    The blocks that are chosen at random in the paper are the first block, over and over, as the reference has them
    outside training; here they are the same in training.
    """

    layer_class = EncoderLayer

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
        """As elsewhere; `hidden_states` and `attentions` of a long source reach to the end of the last block."""
        config, x = self.config, self.lookup(input_ids, inputs_embeds)
        length, block = x.shape[1], config.block_size
        context = self.context(None, output_attentions, output_hidden_states)
        x = self.embed(x, input_ids, 0)
        context.extra["real"] = None
        if config.attention_type == "block_sparse" and length > (5 + 2 * config.num_random_blocks) * block:
            real = x.new_ones(x.shape[:2], dtype=torch.bool) if attention_mask is None else attention_mask != 0
            short = -length % block
            padding = self.embed_tokens(torch.full((1, short), config.pad_token_id, device=x.device))
            x = torch.cat([x, padding.expand(len(x), -1, -1)], 1)
            context.extra["real"] = real = F.pad(real, (0, short), value=False)
            context.masks["full"] = self.block_mask(real, x)
        else:
            context.masks["full"] = encoder_mask(attention_mask)
        x, seen = self.run_layers(x, context)
        out = BaseModelOutput(
            last_hidden_state=x[:, :length],
            hidden_states=(*seen, x[:, :length]) if context.states else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(out, return_dict, config)

    def block_mask(self, real: Tensor, x: Tensor) -> Mask:
        """What is added to the scores: the logarithm of how many times a query sees a key; (batch, 1, seq, seq)."""
        block, count = self.config.block_size, x.shape[1] // self.config.block_size
        place = torch.arange(count, device=x.device)
        ends = (place == 0) | (place == count - 1)
        times = ((place[:, None] - place).abs() <= 1) | ends | ends[:, None]
        bias = x.new_zeros(count, count).masked_fill(~times, torch.finfo(x.dtype).min)
        bias[1:-1, 0] = math.log(1 + self.config.num_random_blocks)
        bias = bias.repeat_interleave(block, 0).repeat_interleave(block, 1)
        return Mask(bias.masked_fill(~real[:, None, None, :], torch.finfo(x.dtype).min))


class Decoder(Side, bart.Decoder):
    """Writes the target."""

    layer_class = DecoderLayer


class Model(bart.Model):
    """BigBird-Pegasus without a head."""

    encoder_class = Encoder
    decoder_class = Decoder


class DecoderLM(seq2seq_heads.DecoderLM):
    """Scores of the next token, by the decoder alone; the scoring layer is no other one."""

    decoder_class = Decoder

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {}


VARIANTS = {"bigbird_pegasus": Variant(lambda c: bart.Spec(positions=bart.learned), members={"denoises": True})}
TASKS = bart.TASKS | {"Model": Model, "CausalLM": DecoderLM}
