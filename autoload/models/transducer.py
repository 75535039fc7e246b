"""Transducers over Parakeet's encoder: a prediction network reads the text so far, a joint network scores what follows.

Graves 2012 (arXiv:1211.3711); with durations, Xu et al. 2023 (arXiv:2304.06795).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.generation.transducer import Durations, Frames, Patience, Transcription
from autoload.layers.activations import Activation
from autoload.losses import rnnt_loss, tdt_loss
from autoload.model import Variant, finish
from autoload.models import parakeet
from autoload.outputs import ParakeetEncoderModelOutput, ParakeetRNNTGenerateOutput, ParakeetRNNTOutput


class LSTM(nn.Module):
    """Layers of long short-term memory, with the parameters of `nn.LSTM`, which no graph can hold."""

    def __init__(self, size: int, layers: int):
        super().__init__()
        self.size, self.layers = size, layers
        for i in range(layers):
            for name in ("ih", "hh"):
                self.register_parameter(f"weight_{name}_l{i}", nn.Parameter(torch.empty(4 * size, size)))
            for name in ("ih", "hh"):
                self.register_parameter(f"bias_{name}_l{i}", nn.Parameter(torch.empty(4 * size)))
        self.init_own(0.0)

    @torch.no_grad()
    def init_own(self, std: float) -> None:
        for p in self.parameters():
            nn.init.zeros_(p) if p.dim() == 1 else nn.init.xavier_uniform_(p)

    def forward(self, x: Tensor, states: tuple[Tensor, Tensor] | None = None) -> Any:
        """(batch, tokens, dim), and the states after the last token: twice (layers, batch, dim)."""
        if states is None:
            zeros = x.new_zeros(self.layers, len(x), self.size)
            states = (zeros, zeros)
        weights: list[Tensor] = [*self.parameters()]
        out, hidden, cell = torch.lstm(x, states, weights, True, self.layers, 0.0, self.training, False, True)
        return out, (hidden, cell)


class DecoderCache:
    """What the prediction network made of the text so far; `cache` is its output, (batch, 1, dim)."""

    def __init__(self, config: Any = None):
        self.config = config
        self.cache: Tensor | None = None
        self.hidden_state: Tensor | None = None  # (layers, batch, dim)
        self.cell_state: Tensor | None = None

    @property
    def is_initialized(self) -> bool:
        return self.cache is not None

    def update(self, output: Tensor, hidden: Tensor, cell: Tensor, mask: Tensor | None = None) -> None:
        """Take new states; with a mask, (batch,), in these rows alone."""
        if mask is not None:
            output = torch.where(mask[:, None, None], output, self.cache)  # type: ignore[arg-type]
            hidden = torch.where(mask[:, None], hidden, self.hidden_state)  # type: ignore[arg-type]
            cell = torch.where(mask[:, None], cell, self.cell_state)  # type: ignore[arg-type]
        self.cache, self.hidden_state, self.cell_state = output, hidden, cell


class Decoder(nn.Module):
    """The prediction network."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.decoder_hidden_size
        self.blank_token_id = config.blank_token_id
        self.embedding = nn.Embedding(config.vocab_size, size)
        self.lstm = LSTM(size, config.num_decoder_layers)
        self.decoder_projector = nn.Linear(size, size)

    def forward(self, input_ids: Tensor, cache: DecoderCache | None = None) -> Tensor:
        """(batch, tokens, dim); with a cache (batch, 1, dim), of the last token that was no blank."""
        if cache is None:
            return self.decoder_projector(self.lstm(self.embedding(input_ids))[0])
        spoken, states = None, None
        if cache.is_initialized:
            spoken, states = input_ids[:, -1] != self.blank_token_id, (cache.hidden_state, cache.cell_state)
            if not bool(spoken.any()):
                return cache.cache  # type: ignore[return-value]
        x, states = self.lstm(self.embedding(input_ids), states)  # type: ignore[arg-type]
        cache.update(self.decoder_projector(x[:, -1:]), *states, mask=spoken)
        return cache.cache  # type: ignore[return-value]


class Joint(nn.Module):
    """Scores from a vector of the text and one of the sound."""

    def __init__(self, config: Any, outputs: int):
        super().__init__()
        self.activation = Activation(config.hidden_act)
        self.head = nn.Linear(config.decoder_hidden_size, outputs)

    def forward(self, decoder_hidden_states: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        return self.head(self.activation(encoder_hidden_states + decoder_hidden_states))


class RNNT(parakeet.Parakeet):
    """Scores of the next token or the blank, for each frame and each number of tokens."""

    base_model_prefix = "model"
    embeddings_path = "encoder.subsampling"
    _no_split_modules = ["Block", "Decoder"]
    encoder_output_class: type[ParakeetEncoderModelOutput] = ParakeetEncoderModelOutput
    output_class: type[ParakeetRNNTOutput] = ParakeetRNNTOutput
    handed_on: ClassVar[dict[str, str]] = {  # name in the output, and in the encoder's
        name: name for name in ("last_hidden_state", "pooler_output", "hidden_states", "attentions")
    }
    generate_class: type[ParakeetRNNTGenerateOutput] = ParakeetRNNTGenerateOutput

    def __init__(self, config: Any):
        super().__init__(config)
        from autoload import registry

        self.encoder = registry.class_for(config.encoder_config, "Model")(config.encoder_config)
        self.encoder_projector = nn.Linear(config.encoder_config.hidden_size, config.decoder_hidden_size)
        self.decoder = Decoder(config)
        self.joint = Joint(config, self.outputs)
        self.max_symbols_per_step = config.max_symbols_per_step

    @property
    def outputs(self) -> int:
        """How many scores there are."""
        return self.config.vocab_size

    def set_attn_implementation(self, name: str) -> None:
        super().set_attn_implementation(name)
        self.encoder.set_attn_implementation(name)

    def get_encoder(self) -> Any:
        return self.encoder

    def get_audio_features(
        self, input_features: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        """What the encoder gives, and as `pooler_output` its states as the joint network reads them."""
        for_encoder = {name: value for name, value in kwargs.items() if name not in (self.reads or ())}
        out = self.encoder(input_features, attention_mask, **{**for_encoder, "return_dict": True})
        out.pooler_output = self.project(out.last_hidden_state, **kwargs)
        return out

    def project(self, states: Tensor, **kwargs: Any) -> Tensor:
        """The encoder's states as the joint network reads them."""
        return self.encoder_projector(states)

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_cache: DecoderCache | None = None,
        use_decoder_cache: bool | None = None,
        encoder_outputs: Any = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_features: (batch, frames, bins).
            attention_mask: (batch, frames), 0 at padding.
            decoder_input_ids: (batch, 1 + labels), the blank and the labels; or the last token, beside a cache.
            decoder_cache: state of the prediction network; it is changed in place.
            use_decoder_cache: make a cache where none is given.
            encoder_outputs: what `get_audio_features` gave, in place of input_features.
            labels: (batch, labels), filled up with the padding token.
            return_dict: False gives a tuple.
            **kwargs: of the encoder; `reduction` of the loss, and `sigma` of one with durations.
        """
        if decoder_input_ids is None:
            raise ArgumentError("forward: pass decoder_input_ids, the blank and the labels.", name="decoder_input_ids")
        of_loss = {name: kwargs.pop(name) for name in ("reduction", "sigma") if name in kwargs}
        if encoder_outputs is None:
            encoder_outputs = self.get_audio_features(input_features, attention_mask, **kwargs)
        elif isinstance(encoder_outputs, (tuple, list)):
            encoder_outputs = self.encoder_output_class(*encoder_outputs)
        if use_decoder_cache and decoder_cache is None:
            decoder_cache = DecoderCache(self.config)
        text = self.decoder(decoder_input_ids, decoder_cache)
        logits = self.joint(text[:, None], encoder_outputs.pooler_output[:, :, None]).squeeze(2)
        loss = None
        if labels is not None:
            real, shape = encoder_outputs.attention_mask, encoder_outputs.pooler_output.shape[:2]
            frames = torch.full(shape[:1], shape[1], device=logits.device) if real is None else real.sum(-1)
            loss = self.transducer_loss(logits, labels, frames, **of_loss)
        out = self.output_class(
            loss=loss,
            logits=logits,
            decoder_cache=decoder_cache,
            **{name: encoder_outputs.get(source) for name, source in self.handed_on.items()},
        )
        return finish(out, return_dict, self.config)

    def transducer_loss(self, logits: Tensor, labels: Tensor, frames: Tensor, **options: Any) -> Tensor:
        """Labels count where they are no blank."""
        blank = self.config.blank_token_id
        return rnnt_loss(logits, labels, frames, self._counts(labels, blank), blank, **options)

    @staticmethod
    def _counts(labels: Tensor, filler: int) -> Tensor:
        """How many labels each row has; -100 fills up too."""
        return ((labels != filler) & (labels != -100)).sum(-1)

    # -- transcribing

    def can_generate(self) -> bool:
        return True

    def rule(self) -> Any:
        """How far each step goes on."""
        return Patience(self.config.blank_token_id, self.max_symbols_per_step)

    @torch.no_grad()
    def generate(self, inputs: Tensor | None = None, generation_config: Any = None, **kwargs: Any) -> Any:
        """The likeliest token or blank at each step, until the sound ends.

        Args:
            inputs: (batch, frames, bins), the same as `input_features`.
            generation_config: settings; default the model's own.
            **kwargs: as of every `generate`, and inputs of the model (`attention_mask`, (batch, frames), 0 at padding).

        Returns:
            `sequences` (batch, steps), which begin with the start token, and `durations`, the frames that each step goes
            on by.
        """
        features = inputs if inputs is not None else kwargs.get("input_features")
        most = None
        if features is not None:
            vectors = int(self._get_subsampling_output_length(torch.tensor(features.shape[1])))
            most = max(self.max_symbols_per_step * vectors, 2)
        return self.transcribe(self.frames, most, inputs, generation_config, kwargs)

    def transcribe(
        self,
        frames: Callable[..., Frames],
        most: int | None,
        inputs: Tensor | None,
        generation_config: Any,
        kwargs: dict[str, Any],
    ) -> Any:
        """See `generate`; `frames` are what the loop walks over, `most` steps are made where no limit is set."""
        cache = DecoderCache(self.config)

        def score(tokens: Tensor, vectors: Tensor) -> Tensor:
            return self.joint(self.decoder(tokens[:, None], cache), vectors)[:, -1]

        limits = ("max_length", "max_new_tokens")
        said = [getattr(s, name, None) for s in (generation_config, self.generation_config) for name in limits]
        if most is not None and all(limit is None for limit in (*said, *map(kwargs.get, limits))):
            kwargs["max_length"] = most
        loop = Transcription(frames, score, self.rule(), kwargs.get("streamer"))
        sequences = super().generate(inputs, generation_config, custom_generate=loop, **kwargs)
        return self.generate_class(sequences, loop.durations)

    def frames(self, encoder_outputs: Any, **inputs: Any) -> Frames:
        """What the loop reads of the encoder's output."""
        real, states = encoder_outputs.get("attention_mask"), encoder_outputs.last_hidden_state
        lengths = torch.full(states.shape[:1], states.shape[1], device=states.device) if real is None else real.sum(-1)
        return Frames(self.project(states, **inputs), lengths)


class TDT(RNNT):
    """Also scores how many frames each token takes."""

    @property
    def outputs(self) -> int:
        return self.config.vocab_size + len(self.config.durations)

    def transducer_loss(self, logits: Tensor, labels: Tensor, frames: Tensor, **options: Any) -> Tensor:
        """Labels count where they are no padding."""
        config = self.config
        tokens, spans = logits[..., : config.vocab_size], logits[..., config.vocab_size :]
        counts = self._counts(labels, config.pad_token_id)
        return tdt_loss(tokens, spans, labels, frames, counts, config.blank_token_id, config.durations, **options)

    def rule(self) -> Any:
        durations = torch.tensor(self.config.durations, device=self.device)
        return Durations(self.config.blank_token_id, self.config.vocab_size, durations)


VARIANTS = {
    "parakeet_rnnt": Variant(),
    "parakeet_tdt": Variant(),
}
TASKS = {"RNNT": RNNT, "TDT": TDT}
