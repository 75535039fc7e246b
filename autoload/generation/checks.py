"""What each setting of `generate` may be, alone and together with others. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from autoload.errors import GenerationError

Check = tuple[str, Callable[[Any], Any]]  # what is expected; gives the value to keep, or raises ValueError

CACHES = ("dynamic", "static", "offloaded", "offloaded_static", "quantized")

# Arguments of generate() that are no settings.
CALL_ARGUMENTS = (
    "assistant_model",
    "assistant_tokenizer",
    "custom_generate",
    "generation_config",
    "inputs",
    "logits_processor",
    "negative_prompt_attention_mask",
    "negative_prompt_ids",
    "prefix_allowed_tokens_fn",
    "stopping_criteria",
    "streamer",
    "synced_gpus",
    "tokenizer",
)


def _require(condition: bool, value: Any) -> Any:
    if not condition:
        raise ValueError
    return value


def _whole(value: Any, low: int | None = None) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 64.0 in a file means 64
    _require(isinstance(value, int) and not isinstance(value, bool), value)
    return _require(low is None or value >= low, value)


def _number(value: Any) -> Any:
    return _require(isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value), value)


def _ids(value: Any, low: int = 0) -> Any:
    """One token or several."""
    if hasattr(value, "tolist"):  # an array or a tensor
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        _require(len(value) > 0, value)
        return [_whole(v, low) for v in value]
    return _whole(value, low)


def _list(value: Any, item: Callable[[Any], Any]) -> list[Any]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    _require(isinstance(value, (list, tuple)), value)
    return [item(v) for v in value]


def _words(value: Any) -> Any:
    return _list(value, lambda word: _require(len(ids := _list(word, lambda t: _whole(t, 0))) > 0, ids))


def _bias(value: Any) -> Any:
    """{(token, ...): bias}, or the same as pairs in lists, as JSON has it."""
    pairs = value.items() if isinstance(value, Mapping) else _list(value, lambda pair: _require(len(pair) == 2, pair))
    for ids, bias in pairs:
        _require(isinstance(bias, float) and len(_list(ids, lambda t: _whole(t, 0))) > 0, value)
    return _require(len(value) > 0, value)


def _decay(value: Any) -> Any:
    _require(isinstance(value, (list, tuple)) and len(value) == 2, value)
    return (_whole(value[0]), _number(value[1]))


def _one_of(*words: Any) -> Check:
    text = " or ".join(repr(w) for w in words)
    return text, lambda v: _require(any(v is w or (isinstance(v, str) and v == w) for w in words), v)


def _between(low: float, high: float, open_low: bool = False, open_high: bool = False) -> Check:
    def check(value: Any) -> Any:
        x = _number(value)
        return _require((x > low if open_low else x >= low) and (x < high if open_high else x <= high), value)

    bounds = f"{'more than' if open_low else 'from'} {low:g} {'and less than' if open_high else 'to'} {high:g}"
    return f"a number {bounds}", check


BOOL: Check = ("true or false", lambda v: _require(isinstance(v, bool), v))
COUNT: Check = ("an integer of at least 0", lambda v: _whole(v, 0))
POSITIVE: Check = ("a positive integer", lambda v: _whole(v, 1))
NUMBER: Check = ("a number", _number)
ABOVE_0: Check = ("a positive number", lambda v: _require(_number(v) > 0, v))
NOT_NEGATIVE: Check = ("a number of at least 0", lambda v: _require(_number(v) >= 0, v))
TOKEN: Check = ("a token id", lambda v: _whole(v, 0))
TOKENS: Check = ("a token id or a list of them", _ids)
TOKEN_LIST: Check = ("a list of token ids", lambda v: _list(v, lambda t: _whole(t, 0)))
STRINGS: Check = (
    "a text or a list of texts, none empty",
    lambda v: _require(len(v) > 0 and all(isinstance(s, str) and s for s in ([v] if isinstance(v, str) else v)), v),
)
ANY: Check = ("anything", lambda v: v)


FIELDS: dict[str, Check] = {
    # length
    "max_length": POSITIVE,
    "max_new_tokens": POSITIVE,
    "min_length": COUNT,
    "min_new_tokens": COUNT,
    "early_stopping": _one_of(True, False, "never"),
    "max_time": NOT_NEGATIVE,
    "stop_strings": STRINGS,
    # strategy
    "do_sample": BOOL,
    "num_beams": POSITIVE,
    "use_mtp": ANY,
    # cache
    "use_cache": BOOL,
    "cache_implementation": _one_of(*CACHES, "hybrid", "sliding_window", "hybrid_chunked"),
    "cache_config": ("an object", lambda v: _require(isinstance(v, Mapping), v)),
    "max_cache_len": POSITIVE,
    # scores
    "temperature": NOT_NEGATIVE,
    "top_k": COUNT,
    "top_p": _between(0, 1),
    "min_p": _between(0, 1),
    "top_h": _between(0, 1, open_low=True),
    "typical_p": _between(0, 1, open_low=True),
    "epsilon_cutoff": _between(0, 1, open_high=True),
    "eta_cutoff": _between(0, 1, open_high=True),
    "repetition_penalty": ABOVE_0,
    "encoder_repetition_penalty": ABOVE_0,
    "length_penalty": NUMBER,
    "no_repeat_ngram_size": COUNT,
    "bad_words_ids": ("a list of lists of token ids", _words),
    "renormalize_logits": BOOL,
    "forced_bos_token_id": TOKEN,
    "forced_eos_token_id": TOKENS,
    "remove_invalid_values": BOOL,
    "exponential_decay_length_penalty": ("a pair of an integer and a number", _decay),
    "suppress_tokens": TOKEN_LIST,
    "begin_suppress_tokens": TOKEN_LIST,
    "sequence_bias": ("an object of token sequences and their biases", _bias),
    "token_healing": BOOL,
    "guidance_scale": NUMBER,
    "watermarking_config": ("an object", lambda v: _require(hasattr(v, "construct_processor"), v)),
    # output
    "num_return_sequences": POSITIVE,
    "output_attentions": BOOL,
    "output_hidden_states": BOOL,
    "output_scores": BOOL,
    "output_logits": BOOL,
    "return_dict_in_generate": BOOL,
    # special tokens
    "pad_token_id": ("a token id, or -1 for none", lambda v: _whole(v, -1)),
    "bos_token_id": TOKENS,
    "eos_token_id": TOKENS,
    # encoder-decoder models
    "encoder_no_repeat_ngram_size": COUNT,
    "decoder_start_token_id": TOKENS,
    # assistants
    "is_assistant": BOOL,
    "num_assistant_tokens": POSITIVE,
    "num_assistant_tokens_schedule": _one_of("constant", "heuristic", "heuristic_transient"),
    "assistant_confidence_threshold": _between(0, 1),
    "prompt_lookup_num_tokens": POSITIVE,
    "max_matching_ngram_size": POSITIVE,
    "assistant_early_exit": POSITIVE,
    "assistant_lookbehind": POSITIVE,
    "target_lookbehind": POSITIVE,
    "assistant_ensemble_weight": _between(0, 1, open_low=True, open_high=True),
    "speculation_type": ANY,
    # speed
    "compile_config": ("a CompileConfig", lambda v: _require(hasattr(v, "to_dict"), v)),
    "disable_compile": BOOL,
    "prefill_chunk_size": POSITIVE,
    "continuous_batching_config": ANY,
    # modes that the reference moved out of its release
    "low_memory": ANY,
    "penalty_alpha": ANY,
    "dola_layers": ANY,
    "diversity_penalty": ANY,
    "num_beam_groups": ANY,
    "constraints": ANY,
    "force_words_ids": ANY,
}


# Settings of ways of decoding that the reference's release refuses too, or leaves to code from the Hub; what they may be.
ABSENT: dict[str, tuple[Any, ...]] = {
    "use_mtp": (False,),
    "speculation_type": (),
    "low_memory": (False,),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "diversity_penalty": (0,),
    "num_beam_groups": (1,),
    "constraints": (),
    "force_words_ids": (),
}


def _numbered(value: Any) -> Any:
    _require(isinstance(value, Mapping) and all(isinstance(key, str) for key in value), value)
    return {key: _whole(token, 0) for key, token in value.items()}


def _places(value: Any) -> Any:
    return _list(value, lambda pair: _require(len(numbers := _list(pair, lambda n: _whole(n, 0))) == 2, numbers))


def _forced(value: Any) -> Any:
    for place, token in _list(value, lambda pair: _require(len(pair) == 2, pair)):
        _whole(place, 0)
        _require(token is None or _whole(token, 0) == token, value)
    return value


NUMBERED: Check = ("an object of names and their token ids", _numbered)
# Of models that hear; no settings of others, and not among those that a file is filled up with.
OF_SPEECH: dict[str, Check] = {
    "alignment_heads": ("a list of pairs: layer and head", _places),
    "forced_decoder_ids": ("a list of pairs: place and token id or null", _forced),
    "is_multilingual": BOOL,
    "lang_to_id": NUMBERED,
    "task_to_id": NUMBERED,
    "max_initial_timestamp_index": COUNT,
    "median_filter_width": POSITIVE,
    "no_timestamps_token_id": TOKEN,
    "prev_sot_token_id": TOKEN,
    "return_timestamps": BOOL,
}


def check_fits(settings: Any, config: Any) -> None:
    """Whether the settings of a model that hears are of its size.

    Raises:
        GenerationError: naming a field with a token, layer or head that the model does not have.
    """
    words, layers, heads = config.vocab_size, config.decoder_layers, config.decoder_attention_heads
    for name in ("lang_to_id", "task_to_id", "no_timestamps_token_id", "prev_sot_token_id"):
        found = getattr(settings, name, None)
        tokens = found.values() if isinstance(found, Mapping) else [] if found is None else [found]
        if any(token >= words for token in tokens):
            raise refused(name, found, f"token ids below vocab_size, {words}", "generation_config.json")
    for layer, head in getattr(settings, "alignment_heads", None) or ():
        if layer >= layers or head >= heads:
            expected = f"pairs of a layer below {layers} and a head below {heads}"
            raise refused("alignment_heads", [layer, head], expected, "generation_config.json")


def check_field(name: str, value: Any, where: str) -> Any:
    """The value to keep for a field; an unknown field may be anything.

    Raises:
        GenerationError: the value cannot be meant.
    """
    known = FIELDS.get(name) or OF_SPEECH.get(name)
    if value is None or known is None:
        return value
    expected, check = known
    try:
        return check(value)
    except (ValueError, TypeError):
        raise refused(name, value, expected, where) from None


def check_together(fields: Mapping[str, Any], where: str) -> None:
    """Settings that contradict each other.

    Raises:
        GenerationError: naming one of them.
    """
    get = fields.get
    if get("temperature") == 0 and get("do_sample") is not False:
        raise refused("temperature", 0, "a positive number; for greedy decoding set do_sample to false", where)
    sequences, beams = get("num_return_sequences") or 1, get("num_beams") or 1
    if sequences > 1 and beams == 1 and not get("do_sample"):
        raise refused(
            "num_return_sequences", sequences, "1: greedy decoding has one result; set do_sample or num_beams", where
        )
    if beams > 1 and sequences > beams:
        raise refused("num_return_sequences", sequences, f"at most num_beams, {beams}", where)
    suppressed = set(get("suppress_tokens") or ())
    for name in ("forced_bos_token_id", "forced_eos_token_id"):
        forced = get(name)
        forced = set(forced) if isinstance(forced, list) else {forced} - {None}
        if forced and forced <= suppressed:
            raise refused(name, get(name), "a token that suppress_tokens does not forbid", where)


def check_supported(fields: Mapping[str, Any], where: str) -> None:
    """Settings that a file may hold, but that no call can follow.

    Raises:
        GenerationError: naming one of them.
    """
    for name, allowed in ABSENT.items():
        if fields.get(name) is not None and fields[name] not in allowed:
            raise refused(name, fields[name], "null: generate() has no such way of decoding", where)


def refused(field: str, got: Any, expected: str, where: str) -> GenerationError:
    """The error for a value that cannot be meant."""
    shown = repr(got) if len(repr(got)) <= 120 else repr(got)[:117] + "..."
    return GenerationError(
        f"{where}: {field} is {shown}, expected {expected}.", field=field, got=got, expected=expected, where=where
    )
