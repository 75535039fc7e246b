"""What models return: a dataclass, a dict and a tuple at once. Fields that are None are missing from dict and tuple."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.utils import _pytree

from autoload.bridge import stands_for

ALWAYS: Any = None  # default of a field that every model fills; its type says Tensor, so that callers need not ask


@stands_for("transformers.utils.generic")
class ModelOutput(OrderedDict):
    """Base of all outputs. Subclasses are dataclasses and are registered as pytrees."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        _pytree.register_pytree_node(
            cls,
            lambda out: (list(out.values()), list(out.keys())),
            lambda values, keys: cls(**dict(zip(keys, values, strict=True))),
            serialized_type_name=f"{cls.__module__}.{cls.__name__}",
        )

    def __post_init__(self) -> None:
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        first = getattr(self, names[0])
        if isinstance(first, Mapping) and all(getattr(self, name) is None for name in names[1:]):
            super().__delitem__(names[0])  # Output({"logits": ...}), as dict() allows
            object.__setattr__(self, names[0], None)
            for key, value in first.items():
                setattr(self, key, value)
            return
        for name in names:
            if (value := getattr(self, name)) is not None:
                super().__setitem__(name, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self or (value is not None and name in self.__dataclass_fields__):  # type: ignore[attr-defined]
            super().__setitem__(name, value)
        object.__setattr__(self, name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)

    def __delitem__(self, key: str) -> None:
        raise TypeError("an output's fields cannot be deleted; set them to None")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are set, in order."""
        return tuple(self[key] for key in self.keys())


States = tuple[Tensor, ...] | None  # one per layer


@dataclass
class BaseModelOutput(ModelOutput):
    """Hidden states of an encoder: `last_hidden_state` (batch, seq, dim)."""

    last_hidden_state: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class BaseModelOutputWithPast(ModelOutput):
    """Hidden states of a decoder, and its cache."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """Hidden states of a decoder that may look at an encoder."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """Hidden states of an encoder; `pooler_output` (batch, dim)."""

    last_hidden_state: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """Hidden states of a BERT-like model; `pooler_output` (batch, dim)."""

    last_hidden_state: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    past_key_values: Any = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """`logits` (batch, seq, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """`logits` (batch, seq, vocabulary) of a decoder that may look at an encoder."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class MoeModelOutputWithPast(ModelOutput):
    """Hidden states of a decoder with experts; `router_logits` per layer (tokens, experts)."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    router_logits: States = None


@dataclass
class MoeCausalLMOutputWithPast(ModelOutput):
    """`logits` (batch, seq, vocabulary); `aux_loss` balances the experts."""

    loss: Any = None
    aux_loss: Tensor | None = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    router_logits: States = None


@dataclass
class MoEModelOutput(ModelOutput):
    """Hidden states of an encoder with experts; `router_logits` per layer with experts (tokens, experts)."""

    last_hidden_state: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    router_probs: States = None
    router_logits: States = None


@dataclass
class BaseModelOutputWithAttentionMask(ModelOutput):
    """Hidden states of an encoder that adds to what it reads, with the padding mask (batch, seq) of both."""

    last_hidden_state: Tensor = ALWAYS
    attention_mask: Tensor | None = None
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class MoEModelOutputWithPastAndCrossAttentions(ModelOutput):
    """Hidden states of one side of an encoder-decoder with experts; `router_logits` per layer (batch, seq, experts)."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None
    router_probs: States = None
    router_logits: States = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput):
    """`logits` (batch, labels) of a decoder."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class TokenClassifierOutput(ModelOutput):
    """`logits` (batch, seq, labels)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class ImageClassifierOutput(ModelOutput):
    """Labels of images; `logits` (batch, labels)."""

    loss: Tensor | None = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class MaskedImageModelingOutput(ModelOutput):
    """Pixels of hidden patches; `reconstruction` (batch, channels, height, width)."""

    loss: Tensor | None = None
    reconstruction: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class BackboneOutput(ModelOutput):
    """Feature maps of some stages, (batch, channels, height, width) each."""

    feature_maps: tuple[Tensor, ...] = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class ImageTextModelOutput(BaseModelOutput):
    """Hidden states of words and images together; `image_hidden_states` (tokens of all images, dim)."""

    image_hidden_states: Tensor | None = None


@dataclass
class ImageAudioTextModelOutput(ImageTextModelOutput):
    """Hidden states of words, images and sounds together; `audio_hidden_states` (tokens of all sounds, dim)."""

    audio_hidden_states: Tensor | None = None


@dataclass
class ImageTextMaskedLMOutput(MaskedLMOutput):
    """Hidden tokens beside images; `image_hidden_states` (tokens of all images, dim)."""

    image_hidden_states: Tensor | None = None


@dataclass
class RetrievalOutput(ModelOutput):
    """A vector for each token, for search; `embeddings` (batch, seq, dim)."""

    loss: Tensor | None = None
    embeddings: Tensor = ALWAYS
    hidden_states: States = None
    image_hidden_states: Tensor | None = None
    attentions: States = None


@dataclass
class MultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class NextSentencePredictorOutput(ModelOutput):
    """`logits` (batch, 2): follows, does not follow."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq)."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class ForPreTrainingOutput(ModelOutput):
    """BERT's two heads: `prediction_logits` (batch, seq, vocabulary), `seq_relationship_logits` (batch, 2)."""

    loss: Any = None
    prediction_logits: Tensor = ALWAYS
    seq_relationship_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """Hidden states of an encoder-decoder: `last_hidden_state` (batch, target, dim) of the decoder."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """`logits` (batch, target, vocabulary) of an encoder-decoder."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


@dataclass
class Seq2SeqMoEModelOutput(ModelOutput):
    """Hidden states of an encoder-decoder with experts; router logits per layer (batch, seq, experts)."""

    last_hidden_state: Tensor = ALWAYS
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    decoder_router_logits: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None
    encoder_router_logits: States = None


@dataclass
class Seq2SeqMoEOutput(ModelOutput):
    """`logits` (batch, target, vocabulary) of an encoder-decoder with experts; the losses of its routers."""

    loss: Any = None
    logits: Tensor = ALWAYS
    encoder_z_loss: Tensor | None = None
    decoder_z_loss: Tensor | None = None
    encoder_aux_loss: Tensor | None = None
    decoder_aux_loss: Tensor | None = None
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    decoder_router_logits: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None
    encoder_router_logits: States = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels) of an encoder-decoder."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, target) of an encoder-decoder."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    past_key_values: Any = None
    decoder_hidden_states: States = None
    decoder_attentions: States = None
    cross_attentions: States = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States = None
    encoder_attentions: States = None


@dataclass
class ReformerModelOutput(ModelOutput):
    """`last_hidden_state` (batch, seq, 2 * dim)."""

    last_hidden_state: Tensor = ALWAYS
    past_buckets_states: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class ReformerModelWithLMHeadOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    past_buckets_states: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class LEDEncoderBaseModelOutput(BaseModelOutput):
    """LED's encoder; `global_attentions` are the weights of the tokens that see everything."""

    global_attentions: States = None


@dataclass
class LEDSeq2SeqModelOutput(Seq2SeqModelOutput):
    """Hidden states of LED."""

    encoder_global_attentions: States = None


@dataclass
class LEDSeq2SeqLMOutput(Seq2SeqLMOutput):
    """`logits` (batch, target, vocabulary) of LED."""

    encoder_global_attentions: States = None


@dataclass
class LEDSeq2SeqQuestionAnsweringModelOutput(Seq2SeqQuestionAnsweringModelOutput):
    """`start_logits` and `end_logits` (batch, target) of LED."""

    encoder_global_attentions: States = None


@dataclass
class Wav2Vec2BaseModelOutput(ModelOutput):
    """Hidden states of frames, and `extract_features` (batch, frames, channels), what the encoder was given."""

    last_hidden_state: Tensor = ALWAYS
    extract_features: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class CausalLMOutput(ModelOutput):
    """Scores of the vocabulary: `logits` (batch, frames, vocabulary)."""

    loss: Tensor | None = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class XVectorOutput(ModelOutput):
    """A vector for the speaker: `embeddings` (batch, dim), and `logits` (batch, dim) that training compares."""

    loss: Tensor | None = None
    logits: Tensor = ALWAYS
    embeddings: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class Wav2Vec2ForPreTrainingOutput(ModelOutput):
    """What pre-training compares: hidden frames as the encoder sees them, and as the quantizer does."""

    loss: Tensor | None = None
    projected_states: Tensor = ALWAYS  # (batch, frames, dim)
    projected_quantized_states: Tensor = ALWAYS  # (batch, frames, dim)
    codevector_perplexity: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    contrastive_loss: Tensor | None = None
    diversity_loss: Tensor | None = None


@dataclass
class UniSpeechForPreTrainingOutput(ModelOutput):
    """Frames as the encoder sees them, and as the quantizer does."""

    loss: Tensor | None = None
    projected_states: Tensor = ALWAYS  # (batch, frames, dim)
    projected_quantized_states: Tensor = ALWAYS  # (batch, frames, dim)
    codevector_perplexity: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class UniSpeechSatForPreTrainingOutput(ModelOutput):
    """Frames before the encoder, `logits` (batch, frames, channels), and after it."""

    loss: Tensor | None = None
    logits: Tensor = ALWAYS
    projected_states: Tensor = ALWAYS  # (batch, frames, dim)
    projected_quantized_states: Tensor | None = None
    codevector_perplexity: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class ParakeetEncoderModelOutput(BaseModelOutputWithPooling):
    """Hidden states of fewer frames than were given, and `attention_mask` (batch, frames), which of them are real."""

    attention_mask: Tensor | None = None


@dataclass
class Gemma4AudioModelOutput(BaseModelOutputWithPooling):
    """Hidden states of fewer frames than were given, and `attention_mask` (batch, frames), which of them are real."""

    attention_mask: Tensor | None = None


@dataclass
class ClapOutput(ModelOutput):
    """Scores of sounds and texts, (sounds, texts) and turned over; vectors of both, and what the towers gave."""

    loss: Tensor | None = None
    logits_per_audio: Tensor = ALWAYS
    logits_per_text: Tensor = ALWAYS
    text_embeds: Tensor = ALWAYS
    audio_embeds: Tensor = ALWAYS
    text_model_output: Any = None
    audio_model_output: Any = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are set, in order; the towers' as tuples too."""
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())


@dataclass
class MoonshineStreamingEncoderModelOutput(BaseModelOutput):
    """Hidden states of fewer frames than were given, and `attention_mask` (batch, frames), which of them are real."""

    attention_mask: Tensor | None = None


@dataclass
class ParakeetCTCGenerateOutput(ModelOutput):
    """The likeliest character of each frame: `sequences` (batch, frames), padding where there is no frame."""

    sequences: Tensor = ALWAYS
    logits: Tensor | None = None
    attentions: States = None
    hidden_states: States = None


@dataclass
class ParakeetRNNTOutput(BaseModelOutputWithPooling):
    """Scores of what follows each frame and each number of labels, (batch, frames, labels + 1, vocabulary).

    `pooler_output` (batch, frames, dim) are the encoder's states as the scores see them, `decoder_cache` the prediction
    network's state.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    decoder_cache: Any = None


@dataclass
class ParakeetRNNTGenerateOutput(ModelOutput):
    """A transcript, blanks included: `sequences` and `durations`, (batch, steps).

    The frame of a step is the sum of the durations before it.
    """

    sequences: Tensor = ALWAYS
    durations: Tensor | None = None
    attentions: States = None
    hidden_states: States = None


@dataclass
class NemotronAsrStreamingEncoderModelOutput(ParakeetEncoderModelOutput):
    """Also what the next piece of a stream needs: keys and values, and frames for the convolutions."""

    past_key_values: Any = None
    padding_cache: Any = None


@dataclass
class NemotronAsrStreamingRNNTOutput(ParakeetRNNTOutput):
    """Also what the next piece of a stream needs: the encoder's keys and values, and frames for its convolutions."""

    encoder_past_key_values: Any = None
    padding_cache: Any = None


@dataclass
class Nemotron3_5AsrRNNTOutput(NemotronAsrStreamingRNNTOutput):
    """The same, of a model that is told the language."""


@dataclass
class NemotronAsrStreamingGenerateOutput(ParakeetRNNTGenerateOutput):
    """A transcript, blanks included, and the frames that each step went on by."""


@dataclass
class Nemotron3DiarizationOutput(ModelOutput):
    """Scores of speakers in each frame, `logits` (batch, frames, speakers), and of a stream what its next piece needs.

    States and weights are those of all pieces, one after another.
    """

    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    speaker_cache: Any = None
