"""ProphetNet: a decoder that predicts the next tokens, several at once, in streams beside the main one.

Qi et al. 2020 (arXiv:2001.04063). The main stream reads the target. Stream s predicts the token that stands s + 1 places
after each token of it; the first stream gives the scores. Streams see the main one's past, and themselves.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context, causal_triangle
from autoload.layers.relative import relative_buckets
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import seq2seq, seq2seq_heads
from autoload.models.prophetnet_layers import DecoderLayer, EncoderLayer, Streams
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class ProphetNetDecoderModelOutput(ModelOutput):
    """Hidden states of the main stream, and of the others one after the other (batch, ngram * target, dim)."""

    last_hidden_state: Tensor = ALWAYS
    last_hidden_state_ngram: Tensor | None = None
    past_key_values: Any = None
    hidden_states: States = None
    hidden_states_ngram: States = None
    attentions: States = None
    ngram_attentions: States = None
    cross_attentions: States = None


@dataclass
class ProphetNetDecoderLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary) of the next token, `logits_ngram` (batch, ngram - 1, ...) of later ones."""

    loss: Any = None
    logits: Tensor = ALWAYS
    logits_ngram: Tensor | None = None
    past_key_values: Any = None
    hidden_states: States = None
    hidden_states_ngram: States = None
    attentions: States = None
    ngram_attentions: States = None
    cross_attentions: States = None


@dataclass
class ProphetNetSeq2SeqModelOutput(ModelOutput):
    """Hidden states of both sides and of all streams."""

    last_hidden_state: Tensor = ALWAYS
    last_hidden_state_ngram: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_ngram_hidden_states: States = None
    decoder_attentions: States = None
    decoder_ngram_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


@dataclass
class ProphetNetSeq2SeqLMOutput(ModelOutput):
    """`logits` (batch, target, vocabulary) of the next token, `logits_ngram` (batch, ngram - 1, ...) of later ones."""

    loss: Any = None
    logits: Tensor = ALWAYS
    logits_ngram: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_ngram_hidden_states: States = None
    decoder_attentions: States = None
    decoder_ngram_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


class Side(seq2seq.Stack):
    """The parameters of either side. Positions count padding, and begin after the padding token's number."""

    embeddings_path = "word_embeddings"

    def __init__(self, config: Any, layer: type, count: int):
        super().__init__(config)
        size, pad = config.hidden_size, config.pad_token_id
        if pad is None:
            raise ConfigError("pad_token_id", None, "a token number, after which positions begin")
        self.word_embeddings = nn.Embedding(config.vocab_size, size, pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size, pad)
        self.embeddings_layer_norm = nn.LayerNorm(size)
        self.layers = nn.ModuleList(layer(config, i) for i in range(count))
        self.dropout = nn.Dropout(config.dropout)
        self._no_split_modules = [layer.__name__]

    def places(self, x: Tensor, past: Any) -> Tensor:
        """Positions, (1, seq)."""
        first = past + self.config.pad_token_id + 1
        last = self.config.max_position_embeddings - 1
        return (torch.arange(x.shape[1], device=x.device) + first).clamp(max=last)[None]

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(self.embeddings_layer_norm(x + self.position_embeddings(self.places(x, past))))


class Encoder(Side, seq2seq.Encoder):
    """Reads the source."""

    def __init__(self, config: Any, spec: Any):
        _divides(config, "num_encoder_attention_heads")
        super().__init__(config, EncoderLayer, config.num_encoder_layers)


class Decoder(Side, seq2seq.Decoder):
    """Writes the target, and what comes after it."""

    def __init__(self, config: Any, spec: Any):
        _divides(config, "num_decoder_attention_heads")
        super().__init__(config, DecoderLayer, config.num_decoder_layers)
        if config.ngram < 1:
            raise ConfigError("ngram", config.ngram, "at least 1: the first stream gives the scores")
        self.ngram = config.ngram
        self.ngram_embeddings = nn.Embedding(config.ngram, config.hidden_size)

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        """All streams; those beside the main one know how far they look, and from where."""
        positions = self.places(x, past)
        longest = self.config.max_position_embeddings - self.config.pad_token_id - 2
        if isinstance(past, int) and past + x.shape[1] > longest:
            text = f"forward: the target has {past + x.shape[1]} tokens, max_position_embeddings allows {longest}."
            raise ArgumentError(text, name="decoder_input_ids")
        numbers = self.ngram_embeddings.weight.roll(1, 0)  # the first stream's is the last one
        ahead = (numbers[:, None] + self.position_embeddings(positions + 1)).flatten(0, 1)  # (ngram * seq, dim)
        x = torch.cat([x + self.position_embeddings(positions), ahead.expand(len(x), -1, -1)], 1)
        return self.dropout(self.embeddings_layer_norm(x))

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        if context.encoder is not None and not self.config.add_cross_attention:
            raise ConfigError("add_cross_attention", False, "true, to look at encoder_hidden_states")
        context.extra["streams"] = self.make_streams(x, context)
        return super().run_layers(x, context)

    def make_streams(self, x: Tensor, context: Context) -> Streams:
        """What the layers want to know of the streams in x."""
        length, cache, device = x.shape[1] // (1 + self.ngram), context.cache, x.device
        keys = length if cache is None else cache.get_mask_sizes(length, 0)[0]
        past = 0 if cache is None else cache.get_seq_length()
        distance = torch.arange(keys, device=device) - past - torch.arange(length, device=device)[:, None]
        sizes = (self.config.num_buckets, self.config.relative_max_distance)
        near, far = (relative_buckets(d, *sizes, both=False) for d in (distance, distance - 1))
        mask = context.masks["full"]
        seen = causal_triangle(length, keys, device) if mask.causal else mask.allowed
        if seen is None:
            seen = torch.ones(1, 1, length, keys, dtype=torch.bool, device=device)
        seen = seen[:, :, None]  # (batch or 1, 1, 1, length, keys)
        if length > 1:  # the further a stream looks the earlier ends what it sees; but the first token they all see
            ends = -torch.arange(self.ngram, device=device)[:, None, None]
            seen = seen & ((distance <= ends) | (distance == distance[:, :1]))
        return Streams(
            length=length,
            near=near,
            far=F.pad(far, (0, 1)),
            allowed=F.pad(seen, (0, 1), value=True),
            attentions=None if context.attentions is None else [],
        )

    def wrap(self, out: Any, context: Context) -> Any:
        """The main stream apart from the others."""
        streams: Streams = context.extra["streams"]
        states = out.hidden_states
        crossed: Any = out.cross_attentions
        if crossed is not None and context.encoder is None:  # the reference names each layer
            crossed = (None,) * len(self.layers) if self.config.add_cross_attention else None
        return ProphetNetDecoderModelOutput(
            last_hidden_state=out.last_hidden_state[:, : streams.length],
            last_hidden_state_ngram=out.last_hidden_state[:, streams.length :],
            past_key_values=out.past_key_values,
            hidden_states=states and tuple(x[:, : streams.length] for x in states),
            hidden_states_ngram=states and tuple(x[:, streams.length :] for x in states),
            attentions=out.attentions,
            ngram_attentions=None if streams.attentions is None else tuple(streams.attentions),
            cross_attentions=crossed,
        )


def _divides(config: Any, field: str) -> None:
    heads = getattr(config, field)
    if config.hidden_size % heads:
        raise ConfigError(field, heads, f"a divisor of hidden_size ({config.hidden_size})")


class Model(seq2seq.Model):
    """Both sides without a head."""

    base_model_prefix = "prophetnet"
    embeddings_path = "word_embeddings"
    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: Any) -> None:
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)

    def make_output(self, out: Any, source: Any) -> Any:
        return ProphetNetSeq2SeqModelOutput(
            last_hidden_state=out.last_hidden_state,
            last_hidden_state_ngram=out.last_hidden_state_ngram,
            past_key_values=out.past_key_values,
            decoder_hidden_states=out.hidden_states,
            decoder_ngram_hidden_states=out.hidden_states_ngram,
            decoder_attentions=out.attentions,
            decoder_ngram_attentions=out.ngram_attentions,
            cross_attentions=out.cross_attentions,
            encoder_last_hidden_state=source.last_hidden_state,
            encoder_hidden_states=source.hidden_states,
            encoder_attentions=source.attentions,
        )


def score_streams(model: Any, out: Any, labels: Tensor | None) -> dict[str, Any]:
    """Scores of all streams, and the loss: each is asked for the same labels, but where the first alone counts."""
    config = model.config
    scores = model.lm_head(out.last_hidden_state_ngram.unflatten(1, (config.ngram, -1)))  # (batch, ngram, seq, words)
    loss = None
    if labels is not None:
        counted = scores[:, :1] if config.disable_ngram_loss else scores
        wanted = labels[:, None].expand(-1, counted.shape[1], -1).flatten().to(counted.device)
        loss = F.cross_entropy(counted.flatten(0, 2).float(), wanted, label_smoothing=config.eps)
    return dict(loss=loss, logits=scores[:, 0], logits_ngram=scores[:, 1:] if config.ngram > 1 else None)


class LM(seq2seq_heads.LM):
    """Scores of the target's next tokens."""

    output_class = ProphetNetSeq2SeqLMOutput

    def result(self, out: Any, labels: Tensor | None, inputs: dict[str, Any]) -> Any:
        return self.hand_on(self.output_class, out, **score_streams(self, out, labels))


class DecoderWrapper(PreTrainedModel):
    """Holds the decoder under the name that it has in the whole model."""

    embeddings_path = "word_embeddings"

    def __init__(self, config: Any):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.decoder = Decoder(config, None)

    def set_input_embeddings(self, value: nn.Module) -> None:
        super().set_input_embeddings(value)
        self.decoder.set_input_embeddings(value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.decoder(*args, **kwargs)


class DecoderLM(PreTrainedModel):
    """Scores of the next tokens, by the decoder alone; the labels are not shifted."""

    base_model_prefix = "prophetnet"
    output_path = "lm_head"

    def __init__(self, config: Any):
        config = copy.deepcopy(config)  # it is another model's too
        config.is_decoder, config.is_encoder_decoder = True, False
        super().__init__(config)
        self.prophetnet = DecoderWrapper(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def can_generate(self) -> bool:
        return True

    def get_decoder(self) -> Any:
        return self.prophetnet.decoder

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        names = ("lm_head.weight", "prophetnet.decoder.word_embeddings.weight")
        return dict.fromkeys(names, "prophetnet.word_embeddings.weight")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, all tokens so far), 0 at padding.
            encoder_hidden_states: (batch, source, dim), to look at.
            encoder_attention_mask: (batch, source).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            labels: (batch, seq): what each position is to predict, not the token that stands there.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
        """
        out = self.prophetnet(
            *(input_ids, attention_mask, encoder_hidden_states, encoder_attention_mask),
            *(past_key_values, inputs_embeds, use_cache),
            return_dict=True,
            **kwargs,
        )
        kept = {key: value for key, value in out.items() if not key.startswith("last_hidden_state")}
        result = ProphetNetDecoderLMOutput(**score_streams(self, out, labels), **kept)
        return finish(result, return_dict, self.config)


VARIANTS = {"prophetnet": Variant(members={"base_model_prefix": "prophetnet"})}
TASKS = {"Model": Model, "CausalLM": DecoderLM, "Seq2SeqLM": LM}
