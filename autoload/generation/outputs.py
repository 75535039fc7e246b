"""What `generate` returns when it is asked for more than tokens, and the record that is kept for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autoload.outputs import ModelOutput

Steps = tuple[Any, ...] | None  # one entry per step


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """Result of greedy decoding and sampling: `sequences` (batch, seq), and per step what was asked for."""

    sequences: Any = None
    scores: Steps = None
    logits: Steps = None
    attentions: Steps = None
    hidden_states: Steps = None
    past_key_values: Any = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """The same of models with an encoder."""

    sequences: Any = None
    scores: Steps = None
    logits: Steps = None
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None
    decoder_attentions: Steps = None
    cross_attentions: Steps = None
    decoder_hidden_states: Steps = None
    past_key_values: Any = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """Result of beam search; `beam_indices` (batch, new tokens) says which beam each token came from."""

    sequences: Any = None
    sequences_scores: Any = None
    scores: Steps = None
    logits: Steps = None
    beam_indices: Any = None
    attentions: Steps = None
    hidden_states: Steps = None
    past_key_values: Any = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """The same of models with an encoder."""

    sequences: Any = None
    sequences_scores: Any = None
    scores: Steps = None
    logits: Steps = None
    beam_indices: Any = None
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None
    decoder_attentions: Steps = None
    cross_attentions: Steps = None
    decoder_hidden_states: Steps = None
    past_key_values: Any = None


class Record:
    """What each step gave, as far as the settings ask for it."""

    def __init__(self, settings: Any, encoder_outputs: Any = None):
        def kept(wanted: Any) -> tuple[Any, ...] | None:
            return () if settings.return_dict_in_generate and wanted else None

        self.encoder_outputs = encoder_outputs
        self.scores = kept(settings.output_scores)
        self.logits = kept(settings.output_logits)
        self.attentions = kept(settings.output_attentions)
        self.cross_attentions = kept(settings.output_attentions)
        self.hidden_states = kept(settings.output_hidden_states)

    @property
    def wants_scores(self) -> bool:
        return self.scores is not None or self.logits is not None

    def add(self, scores: Tensor | None, logits: Tensor | None, out: Any) -> None:
        """One step: processed scores and logits, each (batch, vocabulary), and the model's output."""
        if self.scores is not None:
            self.scores += (scores,)
        if self.logits is not None:
            self.logits += (logits,)
        prefix = "" if self.encoder_outputs is None else "decoder_"
        if self.attentions is not None:
            self.attentions += (out.get(f"{prefix}attentions"),)
            self.cross_attentions += (out.get("cross_attentions"),)  # type: ignore[operator]
        if self.hidden_states is not None:
            self.hidden_states += (out.get(f"{prefix}hidden_states"),)

    def output(self, sequences: Tensor, cache: Any, **beams: Any) -> ModelOutput:
        """The result; `beams` are the fields that only beam search has."""
        fields = dict(sequences=sequences, scores=self.scores, logits=self.logits, past_key_values=cache, **beams)
        encoder = self.encoder_outputs
        if encoder is None:
            cls: Any = GenerateBeamDecoderOnlyOutput if beams else GenerateDecoderOnlyOutput
            return cls(attentions=self.attentions, hidden_states=self.hidden_states, **fields)
        cls = GenerateBeamEncoderDecoderOutput if beams else GenerateEncoderDecoderOutput
        return cls(
            encoder_attentions=encoder.get("attentions") if self.attentions is not None else None,
            encoder_hidden_states=encoder.get("hidden_states") if self.hidden_states is not None else None,
            decoder_attentions=self.attentions,
            cross_attentions=self.cross_attentions,
            decoder_hidden_states=self.hidden_states,
            **fields,
        )
