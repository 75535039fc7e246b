"""Pix2Struct: patches of a screen go in, each with its row and column; T5's decoder writes what they show.

Lee et al. 2022 (arXiv:2210.03347).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.model import Variant, finish
from autoload.models import gpt_decoder, seq2seq, seq2seq_heads, t5
from autoload.models.seq2seq import finite
from autoload.outputs import BaseModelOutput


class Attention(gpt_decoder.Attention):
    """T5's, under other names; `inner` is the width of all heads."""

    def __init__(self, config: Any, layer_idx: int, inner: int, dropout: float, *, cross: bool = False):
        super().__init__(config.d_model, config.num_heads, layer_idx, scale=1.0, dropout=dropout, cross=cross)
        self.dim = config.d_kv
        self.query, self.key, self.value = (nn.Linear(config.d_model, inner, bias=False) for _ in range(3))
        self._modules["output"] = nn.Linear(inner, config.d_model, bias=False)  # as files call it

    @property
    def output(self) -> Any:  # type: ignore[override]
        return self._modules["output"]

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.query(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.key(x)), self.split(self.value(x))


# -- the image


class PatchEmbeddings(nn.Module):
    """Projects each patch and adds vectors of its row and column, which stand in its first two places."""

    def __init__(self, config: Any):
        super().__init__()
        self.patch_projection = nn.Linear(config.patch_embed_hidden_size, config.hidden_size)
        self.row_embedder = nn.Embedding(config.seq_len, config.hidden_size)
        self.column_embedder = nn.Embedding(config.seq_len, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, patches: Tensor) -> Tensor:
        rows, columns = self.row_embedder(patches[..., 0].long()), self.column_embedder(patches[..., 1].long())
        return self.dropout(self.patch_projection(patches[..., 2:]) + rows + columns)


class PatchLayer(nn.Module):
    """Attention and a wide layer, each after a norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = Attention(config, layer_idx, config.num_heads * config.d_kv, config.attention_dropout)
        self.mlp = t5.GatedMLP(config)
        self.pre_mlp_layer_norm = t5.Norm(config.d_model, config.layer_norm_epsilon)
        self.pre_attention_layer_norm = t5.Norm(config.d_model, config.layer_norm_epsilon)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.attention(self.pre_attention_layer_norm(x), context)
        return x + self.mlp(self.pre_mlp_layer_norm(x), context)


class PatchLayers(nn.Module):
    """Holds the layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer = nn.ModuleList(PatchLayer(config, i) for i in range(config.num_hidden_layers))


class Encoder(seq2seq.Stack):
    """Reads patches; the last of the hidden states is not normed."""

    main_input_name = "flattened_patches"
    embeddings_path = "embeddings.patch_projection"
    _no_split_modules = ["PatchLayer"]

    def __init__(self, config: Any, whole: Any):
        super().__init__(config)
        self.whole = whole
        self.embeddings = PatchEmbeddings(config)
        self.encoder = PatchLayers(config)
        self.layernorm = t5.Norm(config.d_model, config.layer_norm_epsilon)

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        return self.encoder.layer

    def forward(
        self,
        flattened_patches: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the patches.

        Args:
            flattened_patches: (batch, patches, 2 + values of a patch): row, column, values.
            attention_mask: (batch, patches), 0 at padding; without it, padding is what is zero all over.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if flattened_patches is None:
            raise ArgumentError("forward: pass flattened_patches.", name="flattened_patches")
        if attention_mask is None:
            attention_mask = (flattened_patches.sum(-1) != 0).long()
        context = self.context(None, output_attentions, output_hidden_states)
        context.kernel, context.masks = kernel_of(self.whole), {"full": encoder_mask(attention_mask)}
        x, seen = self.run_layers(self.embeddings(flattened_patches), context)
        attentions = tuple(context.attentions) if context.attentions is not None else None
        states = (*seen, x) if context.states else None
        return finish(BaseModelOutput(self.layernorm(x), states, attentions), return_dict, self.config)


# -- the text


class Block(nn.Module):
    """Attention, cross-attention, and a wide layer."""

    def __init__(self, config: Any, layer_idx: int, table: bool):
        super().__init__()
        size, rate = config.hidden_size, config.dropout_rate
        attention = Attention(config, layer_idx, size, rate)
        if table:
            attention.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_heads)
        self.self_attention = t5.Part(config, "attention", attention)
        cross = Attention(config, layer_idx, size, rate, cross=True)
        self.encoder_decoder_attention = t5.Part(config, "attention", cross)
        self.mlp = t5.Part(config, "DenseReluDense", t5.GatedMLP(config))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = finite(self.self_attention(x, context))
        if context.encoder is not None:
            x = finite(self.encoder_decoder_attention(x, context))
        return finite(self.mlp(x, context))


class Decoder(seq2seq.Decoder):
    """Writes the target, and scores its tokens."""

    own_positions = False
    crosses = True
    with_biases = t5.Side.with_biases
    _no_split_modules = ["Block"]

    def __init__(self, config: Any, whole: Any):
        super().__init__(config)
        self.whole = whole
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layer = nn.ModuleList(Block(config, i, table=i == 0) for i in range(config.num_layers))
        self.final_layer_norm = t5.Norm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        return self.layer

    def attentions(self) -> list[Any]:
        """Of each layer, the one that looks at its own side."""
        blocks: Any = self.layer
        return [block.self_attention.inner for block in blocks]

    def context(self, *args: Any, **fields: Any) -> Context:
        context = super().context(*args, **fields)
        context.kernel = kernel_of(self.whole)
        return context

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x)

    def close(self, x: Tensor) -> Tensor:
        return self.dropout(self.final_layer_norm(x))


class LM(t5.Flat, seq2seq_heads.LM, seq2seq.Model):
    """Scores of the target's next token."""

    base_model_prefix = ""
    main_input_name = "flattened_patches"
    embeddings_path = "decoder.embed_tokens"
    output_path = "decoder.lm_head"
    loss_caches = True
    input_modalities: ClassVar[Any] = ("image", "text")

    def make_sides(self, config: Any) -> None:
        self.encoder = Encoder(config.vision_config, config)
        self.decoder = Decoder(config.text_config, config)

    def make_head(self, config: Any, table: Any) -> None:
        """The decoder has it."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"decoder.lm_head.weight": "decoder.embed_tokens.weight"}

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.decoder.set_input_embeddings(value)

    def forward(
        self,
        flattened_patches: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels: (batch, target), -100 where nothing is asked.

        Args:
            flattened_patches: (batch, patches, 2 + values of a patch).
            attention_mask: (batch, patches), 0 at padding.
            decoder_input_ids: (batch, target); the labels, shifted right by one, where there are none.
            decoder_attention_mask: (batch, all target tokens so far), 0 at padding.
            encoder_outputs: what the encoder gave, in place of flattened_patches.
            past_key_values: cache of earlier steps.
            labels: (batch, target).
            decoder_inputs_embeds: (batch, target, dim), in place of decoder_input_ids.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
        """
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.shift_right(labels)
            told = decoder_input_ids != self.config.pad_token_id
            mask = told.long() if decoder_attention_mask is None else decoder_attention_mask
            first = torch.zeros(1, dtype=torch.long, device=labels.device)
            decoder_attention_mask = mask.index_fill(1, first, 1)  # the start is no padding
        kwargs.pop("input_ids", None)
        return super().forward(
            *(None, attention_mask, decoder_input_ids, decoder_attention_mask, encoder_outputs, past_key_values),
            *(None, decoder_inputs_embeds, labels, use_cache, return_dict),
            flattened_patches=flattened_patches,
            **kwargs,
        )


VARIANTS = {"pix2struct": Variant()}
TASKS = {"ImageTextToText": LM}
