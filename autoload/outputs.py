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


class BaseModelOutputWithAttentionMask(ModelOutput):
    """Hidden states of an encoder that adds to what it reads, with the padding mask (batch, seq) of both."""

    last_hidden_state: Tensor = ALWAYS
    attention_mask: Tensor | None = None
    past_key_values: Any = None
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None
class MoEModelOutput(ModelOutput):
    """Hidden states of an encoder with experts; `router_logits` per layer with experts (tokens, experts)."""

    last_hidden_state: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    router_probs: States = None
    router_logits: States = None


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
class BridgeTowerModelOutput(ModelOutput):
    """Words (batch, seq, dim) and patches (batch, patches, dim) that have seen each other, and both pooled."""

    text_features: Tensor = ALWAYS
    image_features: Tensor = ALWAYS
    pooler_output: Tensor = ALWAYS
    hidden_states: Any = None  # of the towers, and the pairs of the stack
    attentions: Any = None  # pairs of the stack


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
class AlbertForPreTrainingOutput(ModelOutput):
    """ALBERT's two heads: `prediction_logits` (batch, seq, vocabulary), `sop_logits` (batch, labels)."""

    loss: Any = None
    prediction_logits: Tensor = ALWAYS
    sop_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class DiscriminatorOutput(ModelOutput):
    """ELECTRA's discriminator: `logits` (batch, seq), positive where a token was replaced."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class SplinterForPreTrainingOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, questions, seq)."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None


@dataclass
class DPRQuestionEncoderOutput(ModelOutput):
    """`pooler_output` (batch, dim), the question's vector."""

    pooler_output: Any = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class LongformerBaseModelOutputWithPooling(ModelOutput):
    """Longformer's hidden states; `global_attentions` are the weights of the tokens that see everything."""

    last_hidden_state: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerMaskedLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerTokenClassifierOutput(ModelOutput):
    """`logits` (batch, seq, labels) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerMultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of Longformer."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class XLNetModelOutput(ModelOutput):
    """XLNet's hidden states; `mems` are what each layer remembers, (past, batch, dim)."""

    last_hidden_state: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetLMHeadModelOutput(ModelOutput):
    """`logits` (batch, targets, vocabulary) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForSequenceClassificationOutput(ModelOutput):
    """`logits` (batch, labels) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForTokenClassificationOutput(ModelOutput):
    """`logits` (batch, seq, labels) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForMultipleChoiceOutput(ModelOutput):
    """`logits` (batch, choices) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForQuestionAnsweringSimpleOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of XLNet."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class BaseLukeModelOutputWithPooling(ModelOutput):
    """LUKE's hidden states: of words, and of entities (batch, entities, dim)."""

    last_hidden_state: Any = None
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None
    entity_last_hidden_state: Tensor | None = None
    entity_hidden_states: Any = None  # one per layer, None without entities


@dataclass
class LukeMaskedLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary) and `entity_logits` (batch, entities, entity vocabulary) of LUKE."""

    loss: Any = None
    mlm_loss: Tensor | None = None
    mep_loss: Tensor | None = None
    logits: Tensor | None = None
    entity_logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeTokenClassifierOutput(ModelOutput):
    """`logits` (batch, seq, labels) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeMultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices) of LUKE."""

    loss: Any = None
    logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class LukeQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of LUKE."""

    loss: Any = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: States = None
    entity_hidden_states: States = None
    attentions: States = None


@dataclass
class VisualBertForPreTrainingOutput(ModelOutput):
    """`prediction_logits` (batch, words + regions, vocabulary), `seq_relationship_logits` (batch, 2)."""

    loss: Any = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class TableQuestionAnsweringOutput(ModelOutput):
    """`logits` (batch, seq) of the tokens of a table, `logits_aggregation` (batch, operations) of what to do with them."""

    loss: Any = None
    logits: Tensor = ALWAYS
    logits_aggregation: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class BigBirdForQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq)."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class LxmertModelOutput(ModelOutput):
    """`language_output` (batch, seq, dim), `vision_output` (batch, regions, dim), `pooled_output` (batch, dim)."""

    language_output: Tensor = ALWAYS
    vision_output: Tensor = ALWAYS
    pooled_output: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


@dataclass
class LxmertForPreTrainingOutput(ModelOutput):
    """Scores of words (batch, seq, vocabulary), of text and image together (batch, 2), of answers (batch, answers)."""

    loss: Any = None
    prediction_logits: Tensor = ALWAYS
    cross_relationship_score: Tensor = ALWAYS
    question_answering_score: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


@dataclass
class LxmertForQuestionAnsweringOutput(ModelOutput):
    """`question_answering_score` (batch, answers)."""

    loss: Any = None
    question_answering_score: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


@dataclass
class PerceiverModelOutput(ModelOutput):
    """`last_hidden_state` (batch, latents, dim), and `logits` where there is a decoder."""

    logits: Tensor | None = None
    last_hidden_state: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class PerceiverMaskedLMOutput(ModelOutput):
    """`logits` (batch, all places, vocabulary)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


@dataclass
class PerceiverClassifierOutput(ModelOutput):
    """`logits` (batch, labels)."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    cross_attentions: States = None


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
class ParakeetCTCGenerateOutput(ModelOutput):
    """The likeliest character of each frame: `sequences` (batch, frames), padding where there is no frame."""

    sequences: Tensor = ALWAYS
    logits: Tensor | None = None
    attentions: States = None
    hidden_states: States = None
