"""The processors and criteria that settings ask for, in the reference's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autoload.errors import ArgumentError
from autoload.generation import processors as p
from autoload.generation import stopping, warpers
from autoload.generation.configuration import GenerationConfig


def make_processors(
    model: Any,
    settings: GenerationConfig,
    call: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    prompt: Tensor,
    input_ids: Tensor,
    eos: Tensor | None,
) -> p.LogitsProcessorList:
    """All processors of a call.

    Args:
        model: that generates.
        settings: complete, with `max_length` in tokens of the whole text.
        call: arguments of `generate`.
        kwargs: inputs of the model.
        prompt: what the encoder reads, or the prompt.
        input_ids: tokens that generation begins with, (batch, seq).
        eos: (tokens,).
    """
    made = [
        *_guidance(model, settings, call),
        *_repetition(model, settings, kwargs, prompt),
        *_length(settings, input_ids.shape[1], eos, call["prefix_allowed_tokens_fn"]),
    ]
    made = merge(made, call["logits_processor"])
    if settings.do_sample:
        made += _warpers(settings, eos)
    if settings.watermarking_config is not None:
        size = model.config.get_text_config().vocab_size
        made.append(settings.watermarking_config.construct_processor(size, input_ids.device))
    if settings.renormalize_logits:
        made.append(p.LogitNormalization())
    return p.LogitsProcessorList(made)


def _guidance(model: Any, settings: GenerationConfig, call: Mapping[str, Any]) -> list[Any]:
    made: list[Any] = []
    if settings.guidance_scale is not None and settings.guidance_scale != 1:
        from autoload.generation.guidance import UnbatchedClassifierFreeGuidanceLogitsProcessor

        made.append(
            UnbatchedClassifierFreeGuidanceLogitsProcessor(
                settings.guidance_scale,
                model,
                call["negative_prompt_ids"],
                call["negative_prompt_attention_mask"],
                settings.use_cache,
            )
        )
    if settings.sequence_bias is not None:
        made.append(p.SequenceBiasLogitsProcessor(settings.sequence_bias))
    return made


def _repetition(model: Any, settings: GenerationConfig, kwargs: Mapping[str, Any], prompt: Tensor) -> list[Any]:
    made: list[Any] = []
    source = prompt if prompt.dim() == 2 and not prompt.is_floating_point() else None
    if source is not None and bool((source < 0).any()):
        source = None
    for name in ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size"):
        if source is None and getattr(settings, name) not in (None, 0, 1.0):
            raise ArgumentError(f"generate: {name} needs the token ids of what is read.", name=name)
    if settings.encoder_repetition_penalty not in (None, 1.0):
        made.append(p.EncoderRepetitionPenaltyLogitsProcessor(settings.encoder_repetition_penalty, source))  # type: ignore[arg-type]
    if settings.repetition_penalty not in (None, 1.0):
        mask = kwargs.get("decoder_attention_mask" if model.config.is_encoder_decoder else "attention_mask")
        padding = (mask != 0).int().argmax(1) if mask is not None else None
        made.append(p.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty, padding))
    if settings.no_repeat_ngram_size:
        made.append(p.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram_size))
    if settings.encoder_no_repeat_ngram_size:
        made.append(p.EncoderNoRepeatNGramLogitsProcessor(settings.encoder_no_repeat_ngram_size, source))  # type: ignore[arg-type]
    return made


def _length(settings: GenerationConfig, length: int, eos: Tensor | None, allowed: Any) -> list[Any]:
    made: list[Any] = []
    if settings.bad_words_ids is not None:
        made.append(p.NoBadWordsLogitsProcessor(settings.bad_words_ids, eos))
    if settings.min_length and eos is not None:
        made.append(p.MinLengthLogitsProcessor(settings.min_length, eos))
    if settings.min_new_tokens and eos is not None:
        made.append(p.MinNewTokensLengthLogitsProcessor(length, settings.min_new_tokens, eos))
    if allowed is not None:
        made.append(p.PrefixConstrainedLogitsProcessor(allowed, settings.num_beams))
    if settings.forced_bos_token_id is not None:
        made.append(p.ForcedBOSTokenLogitsProcessor(settings.forced_bos_token_id))
    if settings.forced_eos_token_id is not None:
        made.append(p.ForcedEOSTokenLogitsProcessor(settings.max_length, settings.forced_eos_token_id))
    if settings.remove_invalid_values:
        made.append(p.InfNanRemoveLogitsProcessor())
    if settings.exponential_decay_length_penalty is not None:
        if eos is None:
            name = "exponential_decay_length_penalty"
            raise ArgumentError(f"generate: {name} needs an eos_token_id.", name="eos_token_id")
        made.append(p.ExponentialDecayLengthPenalty(settings.exponential_decay_length_penalty, eos, length))
    if settings.suppress_tokens is not None:
        made.append(p.SuppressTokensLogitsProcessor(settings.suppress_tokens))
    if settings.begin_suppress_tokens is not None:
        begin = length if length > 1 or settings.forced_bos_token_id is None else length + 1
        made.append(p.SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, begin))
    return made


def _warpers(settings: GenerationConfig, eos: Tensor | None) -> list[Any]:
    """Only for sampling. With beams, enough tokens stay that a beam can both end and go on."""
    keep = 1
    if settings.num_beams > 1:
        keep = 2 if eos is None else len(eos) + 1
    made: list[Any] = []
    if settings.temperature not in (None, 1.0):
        made.append(warpers.TemperatureLogitsWarper(settings.temperature))
    if settings.top_h is not None:
        made.append(warpers.TopHLogitsWarper(settings.top_h))
    if settings.top_k:
        made.append(warpers.TopKLogitsWarper(settings.top_k, min_tokens_to_keep=keep))
    if settings.top_p is not None and settings.top_p < 1.0:
        made.append(warpers.TopPLogitsWarper(settings.top_p, min_tokens_to_keep=keep))
    if settings.min_p is not None:
        made.append(warpers.MinPLogitsWarper(settings.min_p, min_tokens_to_keep=keep))
    if settings.typical_p is not None and settings.typical_p < 1.0:
        made.append(warpers.TypicalLogitsWarper(settings.typical_p, min_tokens_to_keep=keep))
    if settings.epsilon_cutoff:
        made.append(warpers.EpsilonLogitsWarper(settings.epsilon_cutoff, min_tokens_to_keep=keep))
    if settings.eta_cutoff:
        made.append(warpers.EtaLogitsWarper(settings.eta_cutoff, min_tokens_to_keep=keep))
    return made


def make_criteria(
    model: Any, settings: GenerationConfig, call: Mapping[str, Any], eos: Tensor | None
) -> stopping.StoppingCriteriaList:
    """All stopping criteria of a call."""
    positions = getattr(model.config, "max_position_embeddings", None)
    made: list[Any] = [stopping.MaxLengthCriteria(settings.max_length, positions)]
    if settings.max_time is not None:
        made.append(stopping.MaxTimeCriteria(settings.max_time))
    if settings.stop_strings is not None:
        from autoload.generation.stop_strings import StopStringCriteria

        if call["tokenizer"] is None:
            raise ArgumentError("generate: stop_strings needs the tokenizer; pass tokenizer=.", name="tokenizer")
        made.append(StopStringCriteria(call["tokenizer"], settings.stop_strings))
    if eos is not None:
        made.append(stopping.EosTokenCriteria(eos))
    if settings.is_assistant and settings.assistant_confidence_threshold:
        made.append(stopping.ConfidenceCriteria(settings.assistant_confidence_threshold))
    return stopping.StoppingCriteriaList(merge(made, call["stopping_criteria"]))


def merge(made: list[Any], given: Any) -> list[Any]:
    """The caller's objects after ours; one of a type that we made as well stands in our place."""
    if given is None:
        return made
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    by_type = {type(x): x for x in reversed(given)}
    merged = [by_type.get(type(x), x) for x in made]
    return merged + [x for x in given if not any(x is y for y in merged)]
