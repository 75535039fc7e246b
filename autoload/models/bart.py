"""BART and the encoder-decoders that share its wiring: mbart, pegasus, marian, m2m_100, blenderbot, plbart and more.

Lewis et al. 2019 (arXiv:1910.13461).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.model import Variant, resized, resized_head
from autoload.models import seq2seq, seq2seq_heads
from autoload.models.gpt_decoder import SeparateAttention
from autoload.models.gpt_fairseq import OffsetEmbedding, ScaledEmbedding, SinusoidalPositions
from autoload.models.seq2seq import finite


@dataclass(frozen=True)
class Spec:
    """What tells one BART-like model from another."""

    pre_norm: bool = False  # norms before each part, and one after the last layer
    embedding_norm: bool = True
    scaled_table: bool = True  # the table scales what it gives; else the side scales what it looked up
    padded_from: int | None = None  # positions are counted from this number + 1 and leave this token out
    positions: Callable[[Any], nn.Module] = lambda c: OffsetEmbedding(c.max_position_embeddings, c.d_model)


def learned(config: Any) -> nn.Module:
    """A vector for each position."""
    return nn.Embedding(config.max_position_embeddings, config.d_model)


def fixed(config: Any) -> nn.Module:
    """Sines and cosines that are made anew each time."""
    return SinusoidalPositions(config.d_model, config.pad_token_id, offset=0)


class Sinusoids(nn.Embedding):
    """Sines and cosines that files may hold, and that no training changes."""

    def __init__(self, config: Any):
        super().__init__(config.max_position_embeddings, config.d_model)
        self.weight.requires_grad_(False)
        self.init_own(0.0)

    @torch.no_grad()
    def init_own(self, std: float) -> None:
        """Even columns of the usual table first, then the odd ones."""
        count, size = self.weight.shape
        column = torch.arange(size, dtype=torch.float64, device=self.weight.device)
        place = torch.arange(count, dtype=torch.float64, device=self.weight.device)[:, None]
        angle = place / 10000 ** (2 * (column // 2) / size)  # (count, size)
        self.weight.copy_(torch.cat([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 1))


class Layer(nn.Module):
    """Attention, in a decoder cross-attention, and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, heads: int, inner: int, layer_idx: int, crosses: bool):
        super().__init__()
        size = config.d_model
        if size % heads:
            side = "decoder" if crosses else "encoder"
            raise ConfigError(f"{side}_attention_heads", heads, f"a divisor of d_model ({size})")
        self.self_attn = self.make_attention(config, heads, layer_idx)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        self.crosses = crosses
        if crosses:
            self.encoder_attn = self.make_attention(config, heads, layer_idx, cross=True)
            self.encoder_attn_layer_norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)
        self.final_layer_norm = nn.LayerNorm(size)
        self.activation_fn = Activation(config.activation_function)
        self.dropout, self.activation_dropout = nn.Dropout(config.dropout), nn.Dropout(config.activation_dropout)

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        return SeparateAttention(config.d_model, heads, layer_idx, cross=cross, dropout=config.attention_dropout)

    def mlp(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation_dropout(self.activation_fn(self.fc1(x)))))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, context)))
        if self.crosses and context.encoder is not None:
            x = self.encoder_attn_layer_norm(x + self.dropout(self.encoder_attn(x, context)))
        return finite(self.final_layer_norm(x + self.mlp(x)))


class PreNormLayer(Layer):
    """Norms before each part."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), context))
        if self.crosses and context.encoder is not None:
            x = x + self.dropout(self.encoder_attn(self.encoder_attn_layer_norm(x), context))
        return finite(x + self.mlp(self.final_layer_norm(x)))


def embedding_scale(config: Any) -> float:
    return config.d_model**0.5 if getattr(config, "scale_embedding", False) else 1.0


def make_table(config: Any, spec: Spec, count: int) -> nn.Module:
    """The table of `count` tokens."""
    scale = embedding_scale(config) if spec.scaled_table else 1.0
    return ScaledEmbedding(count, config.d_model, config.pad_token_id, scale)


class Side(seq2seq.Stack):
    """The parameters of either side."""

    layer_class: ClassVar[type | None] = None  # unless the Spec's will do

    def __init__(self, config: Any, spec: Spec, count: int, heads: int, inner: int, crosses: bool):
        super().__init__(config)
        size = config.d_model
        self.embed_tokens = make_table(config, spec, self.vocabulary(config))
        self.embed_positions = self.make_positions(config, spec)
        self.scale = 1.0 if spec.scaled_table else embedding_scale(config)
        self.padded_from = spec.padded_from
        self.layernorm_embedding = nn.LayerNorm(size) if spec.embedding_norm else nn.Identity()
        layer = self.layer_class or (PreNormLayer if spec.pre_norm else Layer)
        self.layers = nn.ModuleList(layer(config, heads, inner, i, crosses) for i in range(count))
        self.layer_norm = nn.LayerNorm(size) if spec.pre_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self._no_split_modules = [layer.__name__]

    def make_positions(self, config: Any, spec: Spec) -> nn.Module:
        return spec.positions(config)

    def vocabulary(self, config: Any) -> int:
        """Number of this side's tokens."""
        return config.vocab_size

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        x = x if input_ids is None else x * self.scale
        return self.dropout(self.layernorm_embedding(x + self.places(x, input_ids, past)))

    def places(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        """What says where each token stands, (batch or 1, seq, dim)."""
        if self.padded_from is None or input_ids is None:
            first = past if self.padded_from is None else past + self.padded_from + 1
            positions = (torch.arange(x.shape[1], device=x.device) + first)[None]
        else:
            real = input_ids != self.padded_from
            positions = (real.cumsum(1) + past) * real + self.padded_from
        return self.embed_positions(positions).to(x.dtype)

    def close(self, x: Tensor) -> Tensor:
        return self.layer_norm(x)


class Encoder(Side, seq2seq.Encoder):
    """Reads the source."""

    def __init__(self, config: Any, spec: Spec):
        heads, inner = config.encoder_attention_heads, config.encoder_ffn_dim
        super().__init__(config, spec, config.encoder_layers, heads, inner, crosses=False)
        self.layerdrop = config.encoder_layerdrop


class Decoder(Side, seq2seq.Decoder):
    """Writes the target."""

    def __init__(self, config: Any, spec: Spec):
        heads, inner = config.decoder_attention_heads, config.decoder_ffn_dim
        super().__init__(config, spec, config.decoder_layers, heads, inner, crosses=True)
        self.layerdrop = config.decoder_layerdrop


class Model(seq2seq.Model):
    """BART-like encoder and decoder without a head."""

    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: Spec) -> None:
        self.shared = make_table(config, spec, config.vocab_size)


class DecoderLM(seq2seq_heads.DecoderLM):
    """Scores of the next token, by BART's decoder alone."""

    decoder_class = Decoder


def shift_last(model: Any, ids: Tensor) -> Tensor:
    """What the decoder reads to predict `ids`: their last token, a language or an end, comes first."""
    pad = model.config.pad_token_id
    if pad is None:
        raise ConfigError("pad_token_id", None, "a token number, to make decoder_input_ids")
    ids = ids.masked_fill(ids == -100, pad)
    last = (ids != pad).sum(1, keepdim=True) - 1  # (batch, 1)
    return torch.cat([ids.gather(1, last), ids[:, :-1]], 1)


# -- pegasus, marian, blenderbot-small


class PegasusDecoder(Decoder):
    """Scales given embeddings too."""

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return super().embed(x * self.scale if input_ids is None else x, input_ids, past)


class MarianDecoder(PegasusDecoder):
    """May have a vocabulary of its own."""

    def vocabulary(self, config: Any) -> int:
        return config.decoder_vocab_size


class MarianModel(Model):
    """Each side may have a vocabulary of its own."""

    def make_tables(self, config: Any, spec: Spec) -> None:
        if config.share_encoder_decoder_embeddings:
            super().make_tables(config, spec)
        else:
            self.embeddings_path = "encoder.embed_tokens"  # type: ignore[misc]

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return super()._tied_weights_keys if self.config.share_encoder_decoder_embeddings else {}

    def set_input_embeddings(self, value: nn.Module) -> None:
        if self.config.share_encoder_decoder_embeddings:
            super().set_input_embeddings(value)
        else:
            self.encoder.set_input_embeddings(value)

    def after_resize(self, count: int) -> None:
        if self.config.share_encoder_decoder_embeddings:
            self.config.decoder_vocab_size = count

    def get_decoder_input_embeddings(self) -> Any:
        """The decoder's own table."""
        if self.config.share_encoder_decoder_embeddings:
            expected = "false; of a table that both sides share, get_input_embeddings and resize_token_embeddings speak"
            raise ConfigError("share_encoder_decoder_embeddings", True, expected)
        return self.decoder.get_input_embeddings()

    def set_decoder_input_embeddings(self, value: nn.Module) -> None:
        self.get_decoder_input_embeddings()  # refuses where there is none
        self.decoder.set_input_embeddings(value)

    def resize_decoder_token_embeddings(self, new_num_tokens: int, mean_resizing: bool = True) -> nn.Module:
        """Room for more tokens of the target, or fewer of them; the source's vocabulary stays.

        Args:
            new_num_tokens: rows of the decoder's table.
            mean_resizing: new rows are the mean of the old; False fills them as a fresh model would.
        """
        table = resized(self.get_decoder_input_embeddings(), new_num_tokens, mean_resizing, self.config.init_std)
        self.set_decoder_input_embeddings(table)
        self.config.decoder_vocab_size = new_num_tokens
        return table


class MarianLM(seq2seq_heads.BiasedLM):
    """Scores of the decoder's vocabulary; positions are not written into files."""

    unsaved = ("embed_positions.weight",)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        if self.config.share_encoder_decoder_embeddings:
            return super()._tied_weights_keys
        return {"lm_head.weight": "model.decoder.embed_tokens.weight"}

    def resize_token_embeddings(self, *args: Any, **keywords: Any) -> nn.Module:
        """As elsewhere; where the sides share no vocabulary, only the encoder's changes."""
        if self.config.share_encoder_decoder_embeddings:
            return super().resize_token_embeddings(*args, **keywords)
        return self.get_encoder().resize_token_embeddings(*args, **keywords)

    def after_resize(self, count: int) -> None:
        super().after_resize(count)
        self.base_model.after_resize(count)

    def resize_decoder_token_embeddings(self, new_num_tokens: int, mean_resizing: bool = True) -> nn.Module:
        """As the model's; the scores and their bias follow."""
        table = self.base_model.resize_decoder_token_embeddings(new_num_tokens, mean_resizing)
        head = resized_head(self.lm_head, new_num_tokens, mean_resizing, self.config.init_std)
        self.set_output_embeddings(head)
        self.after_resize(new_num_tokens)
        self.tie_weights()
        return table


class BlenderbotSmallDecoder(Decoder):
    """Normalises the tokens' vectors before positions come in, and scales nothing."""

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(self.layernorm_embedding(x) + self.places(x, input_ids, past))


# -- mvp, trocr


class MvpDecoder(Decoder):
    """Gives no cross-attention weights where there is no encoder."""

    empty_cross_attentions = False


class TrOCRDecoder(MvpDecoder):
    """Looks at an image's vectors, which may have another width."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        width = config.cross_attention_hidden_size or config.d_model
        for layer in self.layers:
            for name in ("k_proj", "v_proj"):
                setattr(layer.encoder_attn, name, nn.Linear(width, config.d_model))


class TrOCRLM(seq2seq_heads.DecoderLM):
    """Its scoring layer has another name."""

    output_path = "output_projection"


PRE_NORM = dict(pre_norm=True, embedding_norm=False)
COMPUTED = ("final_logits_bias", "embed_positions.weight")
VARIANTS = {
    "bart": Variant(lambda c: Spec(), members={"denoises": True}),
    "mbart": Variant(lambda c: Spec(pre_norm=True), members={"denoises": True, "shift_right": shift_last}),
    "plbart": Variant(lambda c: Spec(), members={"denoises": True, "shift_right": shift_last}),
    "blenderbot": Variant(lambda c: Spec(positions=learned, **PRE_NORM)),
    "blenderbot-small": Variant(
        lambda c: Spec(positions=learned, scaled_table=False), members={"decoder_class": BlenderbotSmallDecoder}
    ),
    "pegasus": Variant(
        lambda c: Spec(positions=Sinusoids, scaled_table=False, **PRE_NORM),
        members={"decoder_class": PegasusDecoder, "computed": COMPUTED},
    ),
    "marian": Variant(
        lambda c: Spec(positions=Sinusoids, scaled_table=False, embedding_norm=False),
        heads={"Model": MarianModel, "Seq2SeqLM": MarianLM},
        members={"decoder_class": MarianDecoder, "computed": COMPUTED},
    ),
    "mvp": Variant(  # prompts are never made: the reference's model leaves them out too
        lambda c: Spec(scaled_table=False), members={"denoises": True, "decoder_class": MvpDecoder}
    ),
    "m2m_100": Variant(
        lambda c: Spec(padded_from=c.pad_token_id, positions=fixed, **PRE_NORM),
        heads={"Seq2SeqLM": seq2seq_heads.LM},
    ),
    "trocr": Variant(
        lambda c: (
            Spec(embedding_norm=c.layernorm_embedding)
            if c.use_learned_position_embeddings
            else Spec(embedding_norm=c.layernorm_embedding, padded_from=c.pad_token_id, positions=fixed)
        ),
        heads={"CausalLM": TrOCRLM},
        members={"decoder_class": TrOCRDecoder},
    ),
}
TASKS = {
    "Model": Model,
    "CausalLM": DecoderLM,
    "Seq2SeqLM": seq2seq_heads.BiasedLM,
    "QuestionAnswering": seq2seq_heads.QuestionAnswering,
    "SequenceClassification": seq2seq_heads.SequenceClassification,
}
