"""The body of `generate`: settings, inputs, processors, criteria, and the loop that they choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autoload.errors import ArgumentError, RemoteCodeRefused
from autoload.generation import prepare
from autoload.generation.building import make_criteria, make_processors
from autoload.generation.caches import make_cache
from autoload.generation.configuration import GenerationConfig, GenerationMode, merged
from autoload.generation.run import Inputs, Run
from autoload.generation.sampling import sample


def generate(
    model: Any, inputs: Tensor | None, given: Any, kwargs: Mapping[str, Any], *, custom_generate: Any, **call: Any
) -> Any:
    """See `GenerationMixin.generate`; `kwargs` are its keywords, `call` its other arguments."""
    _check_call(call, custom_generate)
    if given is not None and not isinstance(given, GenerationConfig):
        text = f"generate: generation_config is {type(given).__name__}, expected a GenerationConfig."
        raise ArgumentError(text, name="generation_config")
    own = model.generation_config if model.generation_config is not None else GenerationConfig()
    own_limits = any(
        source is not None
        for source in (kwargs.get("max_length"), given and given.max_length, own.max_length)  # before defaults
    )
    settings, rest = merged(given, own, kwargs)
    rest = {name: value for name, value in rest.items() if value is not None}
    prepare.check_keywords(model, rest)
    mode = settings.get_generation_mode(call["assistant_model"])
    if mode in (GenerationMode.BEAM_SEARCH, GenerationMode.BEAM_SAMPLE) and call["streamer"] is not None:
        raise ArgumentError("generate: a streamer cannot follow beams; set num_beams to 1.", name="streamer")
    run, input_ids, prompt = _start(model, inputs, settings, rest, mode, call, own_limits)
    if custom_generate is not None:
        return custom_generate(
            model,
            input_ids,
            logits_processor=run.processors,
            stopping_criteria=run.criteria,
            generation_config=settings,
            **run.inputs.kwargs,
        )
    if mode in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        return sample(run, input_ids)
    if mode is GenerationMode.ASSISTED_GENERATION:
        from autoload.generation.assisted import assisted

        tokenizers = call["tokenizer"], call["assistant_tokenizer"]
        return assisted(run, input_ids, call["assistant_model"], prompt, tokenizers)
    from autoload.generation.beams import beam_search

    return beam_search(run, input_ids)


def _check_call(call: Mapping[str, Any], custom_generate: Any) -> None:
    if isinstance(custom_generate, str):
        raise RemoteCodeRefused(
            f"generate: custom_generate is {custom_generate!r}; code from a repository is not run. Pass a function.",
            where=custom_generate,
            auto_map=None,
        )
    if call["synced_gpus"]:
        raise ArgumentError("generate: synced_gpus is not supported.", name="synced_gpus")
    if call["assistant_tokenizer"] is not None and call["assistant_model"] is None:
        raise ArgumentError("generate: an assistant_tokenizer needs an assistant_model.", name="assistant_tokenizer")


def _start(
    model: Any,
    inputs: Tensor | None,
    settings: GenerationConfig,
    kwargs: dict[str, Any],
    mode: GenerationMode,
    call: Mapping[str, Any],
    own_limits: bool,
) -> tuple[Run, Tensor, Tensor]:
    """What the loop needs, the tokens it begins with, and the prompt as it was given."""
    encoder_decoder = model.config.is_encoder_decoder
    prompt, name = prepare.find_prompt(model, inputs, kwargs, settings.bos_token_id)
    if settings.token_healing:
        prompt = _heal(model, prompt, name, kwargs, call["tokenizer"])
    batch = prompt.shape[0]
    eos, pad, start = prepare.special_tokens(settings, encoder_decoder, prompt.device)
    for flag in ("output_attentions", "output_hidden_states"):
        if getattr(settings, flag):
            kwargs[flag] = True
    accepted = prepare.parameters(model.forward)
    mask_length = None
    if encoder_decoder:
        prepare.run_encoder(model, prompt, name, kwargs, settings)
        input_ids = prepare.decoder_prompt(kwargs, start, batch, model.config.model_type)  # type: ignore[arg-type]
        _drop_idle_masks(kwargs)
        if settings.is_assistant:
            mask_length = input_ids.shape[1]  # an assistant always gets the whole text
    else:
        if name == "inputs_embeds":
            settings.update(use_cache=True)  # or later passes would have to know both embeddings and tokens
        mask_length = _mask_and_positions(model, prompt, name, kwargs, accepted, eos, pad)
        input_ids = prompt if name == "input_ids" else kwargs.pop("input_ids")
    if (times := max(settings.num_beams, settings.num_return_sequences)) > 1:
        prepare.expand(kwargs, times)
        input_ids = input_ids.repeat_interleave(times, 0)
    if call["streamer"] is not None:
        call["streamer"].put(input_ids.cpu())
    limit = getattr(model.config, "max_position_embeddings", None)
    prepare.lengths(settings, prompt, name, input_ids, limit, own_limits)
    if "logits_to_keep" in accepted:
        kwargs.setdefault("logits_to_keep", 1)
    room = settings.max_length - 1
    if not encoder_decoder and name == "inputs_embeds" and prompt.shape[1] != input_ids.shape[1]:
        room += prompt.shape[1]
    decode = make_cache(model, settings, kwargs, room)
    kwargs["use_cache"] = settings.use_cache
    columns = Inputs(kwargs, encoder_decoder)
    processors = make_processors(model, settings, call, kwargs, prompt, input_ids, eos)
    if decode is not None:
        columns.hold("attention_mask", getattr(kwargs["past_key_values"], "max_cache_len", 0))
    run = Run(
        model,
        settings,
        processors,
        make_criteria(model, settings, call, eos),
        columns,
        eos,
        pad,
        mask_length,
        call["streamer"],
        decode,
    )
    return run, input_ids, prompt


def _heal(model: Any, prompt: Tensor, name: str, kwargs: dict[str, Any], tokenizer: Any) -> Tensor:
    """The prompt with another last token; its mask comes into `kwargs`."""
    if name != "input_ids" or model.config.is_encoder_decoder or kwargs.get("past_key_values") is not None:
        text = "generate: token_healing takes input_ids alone, of a model without an encoder, and no cache."
        raise ArgumentError(text, name="token_healing")
    from autoload.generation.healing import healed

    prompt, kwargs["attention_mask"] = healed(model, prompt, tokenizer)
    return prompt


def _mask_and_positions(
    model: Any,
    prompt: Tensor,
    name: str,
    kwargs: dict[str, Any],
    accepted: set[str],
    eos: Tensor | None,
    pad: Tensor | None,
) -> int | None:
    """Complete a decoder's inputs; the width of a mask that was left out because it hides nothing."""
    if "attention_mask" not in accepted:
        kwargs.pop("attention_mask", None)
    mask = kwargs.get("attention_mask")
    if mask is None and "attention_mask" in accepted:
        mask = kwargs["attention_mask"] = prepare.padding_mask(prompt, kwargs.get("input_ids"), eos, pad)
    elif mask is not None and (mask.dim() != 2 or mask.shape[0] != prompt.shape[0]):
        text = f"generate: attention_mask has the shape {tuple(mask.shape)}, expected ({prompt.shape[0]}, tokens)."
        raise ArgumentError(text, name="attention_mask")
    if "position_ids" in accepted and "position_ids" not in kwargs:
        kwargs["position_ids"] = prepare.positions(prompt, kwargs)
    if mask is not None and bool((mask == 1).all()):
        del kwargs["attention_mask"]  # no pass needs to look at it again
        if kwargs.get("position_ids") is not None and _same_rows(kwargs["position_ids"]):
            kwargs["position_ids"] = kwargs["position_ids"][:1]
        return mask.shape[1]
    return None


def _same_rows(positions: Tensor) -> bool:
    return positions.dim() == 2 and bool((positions == positions[:1]).all())


def _drop_idle_masks(kwargs: dict[str, Any]) -> None:
    """Padding masks that hide nothing; without them no pass looks at them again."""
    for name in ("attention_mask", "decoder_attention_mask"):
        mask = kwargs.get(name)
        if mask is not None and mask.dim() == 2 and bool((mask == 1).all()):
            del kwargs[name]
