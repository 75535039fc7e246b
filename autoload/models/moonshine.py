"""Moonshine: convolutions over the waveform, and a transformer with rotary positions, for speech of any length.

Jeffries et al. 2024 (arXiv:2410.15608).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, encoder_mask
from autoload.layers.rope import Rotary, rotate_pairs
from autoload.model import Variant, finish
from autoload.models import gpt_decoder, seq2seq, speech
from autoload.outputs import BaseModelOutput


class Attention(gpt_decoder.Attention):
    """With neighbouring dimensions turned in pairs, the last few left as they are."""

    def __init__(self, config: Any, heads: int, layer_idx: int, cross: bool = False):
        size = config.hidden_size
        super().__init__(size, heads, layer_idx, cross=cross, dropout=config.attention_dropout)
        self.rotate = rotate_pairs
        self.dim = getattr(config, "head_dim", None) or self.dim
        self.scale, wide = self.dim**-0.5, heads * self.dim
        self.q_proj = nn.Linear(size, wide, bias=config.attention_bias)
        self.k_proj = nn.Linear(size, wide, bias=config.attention_bias)
        self.v_proj = nn.Linear(size, wide, bias=config.attention_bias)
        self.o_proj = nn.Linear(wide, size, bias=False)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def output(self, x: Tensor) -> Tensor:
        return self.o_proj(x)


class MLP(nn.Module):
    """The wide layer and back; `gated` doubles the first matrix, whose second half is the gate."""

    def __init__(self, config: Any, activation: str, gated: bool):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size * (2 if gated else 1))
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation_fn, self.gated = Activation(activation), gated

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if not self.gated:
            return self.fc2(self.activation_fn(x))
        x, gate = x.chunk(2, -1)
        return self.fc2(self.activation_fn(gate) * x)


def norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, bias=False)


class EncoderLayer(nn.Module):
    """Attention and a wide layer, each after its norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_attn = Attention(config, config.encoder_num_attention_heads, layer_idx)
        self.mlp = MLP(config, config.encoder_hidden_act, gated=False)
        self.input_layernorm, self.post_attention_layernorm = norm(config), norm(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), context)
        return x + self.mlp(self.post_attention_layernorm(x))


class DecoderLayer(nn.Module):
    """Attention, cross-attention and a gated layer, each after its norm."""

    def __init__(self, config: Any, layer_idx: int, heads: int, activation: str):
        super().__init__()
        self.self_attn = Attention(config, heads, layer_idx)
        self.encoder_attn = Attention(config, heads, layer_idx, cross=True)
        self.mlp = MLP(config, activation, gated=True)
        self.input_layernorm, self.post_attention_layernorm = norm(config), norm(config)
        self.final_layernorm = norm(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), context)
        if context.encoder is not None:
            x = x + self.encoder_attn(self.post_attention_layernorm(x), context)
        return x + self.mlp(self.final_layernorm(x))


class Side(seq2seq.Stack):
    """Turns queries and keys by their positions."""

    rotary_emb: Rotary

    def make_rotary(self, config: Any) -> None:
        for side in ("encoder", "decoder"):
            heads = getattr(config, f"{side}_num_attention_heads")
            if getattr(config, f"{side}_num_key_value_heads") != heads or config.hidden_size % heads:
                text = f"a divisor of hidden_size ({config.hidden_size}), and as many key heads"
                raise ConfigError(f"{side}_num_attention_heads", heads, text)
        size = config.hidden_size // config.decoder_num_attention_heads
        self.rotary_emb = Rotary(config.rope_parameters, size, config.max_position_embeddings, interleaved=True)

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"positions": inputs.get("position_ids")}

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        positions = context.extra.get("positions")
        if positions is None:
            past = context.cache.get_seq_length() if context.cache is not None else 0
            positions = (torch.arange(x.shape[1], device=x.device) + past)[None]
        context.rope = {"full": self.rotary_emb(positions, x.dtype)}
        return super().run_layers(x, context)


class Encoder(Side):
    """Reads the waveform: three convolutions leave a state for every 384 samples."""

    main_input_name = "input_values"
    embeddings_path = "conv1"
    _no_split_modules = ["EncoderLayer"]
    stride: ClassVar[int] = 64 * 3 * 2  # samples of one state

    def __init__(self, config: Any, spec: Any):
        super().__init__(config)
        size = config.hidden_size
        self.conv1 = nn.Conv1d(1, size, kernel_size=127, stride=64, bias=False)
        self.conv2 = nn.Conv1d(size, 2 * size, kernel_size=7, stride=3)
        self.conv3 = nn.Conv1d(2 * size, size, kernel_size=3, stride=2)
        self.groupnorm = nn.GroupNorm(1, size, eps=1e-5)
        self.layers = nn.ModuleList(EncoderLayer(config, i) for i in range(config.encoder_num_hidden_layers))
        self.layer_norm = norm(config)
        self.make_rotary(config)

    def close(self, x: Tensor) -> Tensor:
        return self.layer_norm(x)

    def thinned(self, mask: Tensor | None, length: int) -> Tensor | None:
        """What is real after the convolutions, (batch, length), from (batch, samples)."""
        return None if mask is None else mask[:, :: self.stride][:, :length]

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of a recording.

        Args:
            input_values: waveforms, (batch, samples).
            attention_mask: (batch, samples), 0 at padding.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if input_values is None:
            raise ArgumentError("forward: pass input_values, or encoder_outputs.", name="input_values")
        x = self.groupnorm(torch.tanh(self.conv1(input_values[:, None])))
        x = gelu(self.conv3(gelu(self.conv2(x)))).transpose(1, 2)  # (batch, samples / 384, dim)
        context = self.context(None, output_attentions, output_hidden_states)
        context.masks = {"full": encoder_mask(self.thinned(attention_mask, x.shape[1]))}
        x, seen = self.run_layers(x, context)
        attentions = tuple(context.attentions) if context.attentions is not None else None
        return finish(BaseModelOutput(x, (*seen, x) if context.states else None, attentions), return_dict, self.config)


class Decoder(Side, seq2seq.Decoder):
    """Writes what was said."""

    _no_split_modules = ["DecoderLayer"]

    def __init__(self, config: Any, spec: Any):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = self.make_layers(config)
        self.norm = norm(config)
        self.make_rotary(config)

    def make_layers(self, config: Any) -> nn.ModuleList:
        heads, activation = config.decoder_num_attention_heads, config.decoder_hidden_act
        return nn.ModuleList(
            DecoderLayer(config, i, heads, activation) for i in range(config.decoder_num_hidden_layers)
        )

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return x

    def close(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Model(speech.Model):
    """Moonshine without a head."""

    encoder_class = Encoder
    decoder_class = Decoder
    main_input_name = "input_values"

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the text.

        Args:
            input_values: waveforms, (batch, samples).
            attention_mask: (batch, samples), 0 at padding.
            decoder_input_ids: (batch, target).
            decoder_attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_outputs: what the encoder gave, as an output or a tuple, in place of input_values.
            past_key_values: cache of earlier steps.
            decoder_inputs_embeds: (batch, target, dim), in place of decoder_input_ids.
            decoder_position_ids: (batch, target), where these are not counted from the first token.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
            **kwargs: output_attentions, output_hidden_states.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_values, attention_mask, return_dict=True, **kwargs)
        return super().forward(
            *(None, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(past_key_values, decoder_inputs_embeds, decoder_position_ids, use_cache, return_dict),
            **kwargs,
        )


class LM(speech.LM):
    """Scores of the text's next token."""

    output_path = "proj_out"
    main_input_name = "input_values"

    def make_head(self, config: Any, table: Any) -> None:
        self.proj_out = nn.Linear(table.embedding_dim, table.num_embeddings, bias=False)

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels: (batch, target), -100 where nothing is asked."""
        return super().forward(
            *(input_values, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs),
            *(past_key_values, decoder_inputs_embeds, decoder_position_ids, labels, use_cache, return_dict),
            **kwargs,
        )


VARIANTS = {"moonshine": Variant()}
TASKS = {"Model": Model, "SpeechSeq2Seq": LM}
