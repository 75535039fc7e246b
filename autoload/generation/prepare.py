"""From the arguments of `generate` to what its decoding loops start with."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError, unknown_argument
from autoload.generation.checks import CALL_ARGUMENTS, FIELDS, refused
from autoload.generation.configuration import GenerationConfig
from autoload.outputs import BaseModelOutput


def parameters(function: Any) -> set[str]:
    """Names of a function's parameters, without the catch-alls."""
    kinds = inspect.signature(function).parameters.values()
    return {p.name for p in kinds if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def check_keywords(model: Any, kwargs: dict[str, Any]) -> None:
    """Refuse keywords that are neither settings nor inputs of the model.

    Raises:
        ArgumentError: naming the keyword and the nearest known one.
    """
    kwargs.pop("labels", None)  # trainers hand on whole batches
    known = parameters(model.prepare_inputs_for_generation) | parameters(model.forward)
    base = getattr(model, model.base_model_prefix, None)
    known |= parameters(base.forward) if base is not None else set()
    if model.config.is_encoder_decoder:
        known |= parameters(model.get_encoder().forward)
        known |= {f"decoder_{name}" for name in known} | {"encoder_outputs"}
    known -= {"next_sequence_length", "is_first_iteration", "labels", "return_dict"}
    for name in kwargs:
        if name not in known:
            raise unknown_argument("generate", name, [*known, *FIELDS, *CALL_ARGUMENTS])


def find_prompt(model: Any, inputs: Tensor | None, kwargs: dict[str, Any], bos: Any) -> tuple[Tensor, str]:
    """The prompt, or what the encoder reads, and the name of the argument that it is.

    Beside `inputs_embeds` a decoder's token ids stay in `kwargs`, empty ones where none were given.
    """
    encoder_decoder = model.config.is_encoder_decoder
    name = model.main_input_name
    if encoder_decoder:
        name = getattr(model.get_encoder(), "main_input_name", name)
    named = kwargs.pop(name, None)
    if inputs is not None and named is not None:
        raise ArgumentError(f"generate: pass inputs or {name}, not both.", name=name)
    inputs = inputs if inputs is not None else named
    embeds = kwargs.get("inputs_embeds")
    if name == "input_ids" and embeds is not None:
        if encoder_decoder and inputs is not None:
            raise ArgumentError("generate: pass input_ids or inputs_embeds, not both.", name="inputs_embeds")
        if not encoder_decoder:
            empty = torch.empty(embeds.shape[0], 0, dtype=torch.int64, device=embeds.device)
            kwargs["input_ids"] = inputs if inputs is not None else empty
        return embeds, "inputs_embeds"
    if inputs is None:
        inputs = _start(model, kwargs, bos)
    if name == "input_ids":
        _check_tokens(inputs)
    return inputs, name


def _start(model: Any, kwargs: dict[str, Any], bos: Any) -> Tensor:
    """A prompt where none was given: the token that begins a text."""
    if model.config.is_encoder_decoder and (states := kwargs.get("encoder_outputs")) is not None:
        return torch.full(states[0].shape[:-1], -100, dtype=torch.int64, device=model.device)
    if bos is None:
        raise refused("bos_token_id", None, "a token id, where no input_ids are given", "generate")
    batch = next((v.shape[0] for v in kwargs.values() if isinstance(v, Tensor)), 1)
    return torch.full((batch, 1), bos if isinstance(bos, int) else bos[0], dtype=torch.int64, device=model.device)


def _check_tokens(ids: Any) -> None:
    if not isinstance(ids, Tensor):
        text = f"generate: input_ids is {type(ids).__name__}, expected a tensor (batch, seq); tokenize with"
        raise ArgumentError(f"{text} return_tensors='pt'.", name="input_ids")
    if ids.dim() != 2 or ids.is_floating_point() or ids.shape[1] == 0:
        text = f"generate: input_ids is a tensor of shape {tuple(ids.shape)}, {ids.dtype}, expected integers"
        raise ArgumentError(f"{text} (batch, seq) with at least one token.", name="input_ids")


def special_tokens(
    settings: GenerationConfig, encoder_decoder: bool, device: Any
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The tokens that end a text (tokens,), that follow an end (), and that a decoder starts with () or (batch,)."""

    def tensor(ids: Any) -> Tensor | None:
        return None if ids is None else torch.as_tensor(ids, dtype=torch.int64, device=device)

    eos, pad = tensor(settings.eos_token_id), tensor(settings.pad_token_id)
    if eos is not None:
        eos = eos.reshape(-1)
    if pad is not None and int(pad) < 0:
        pad = None
    if pad is None and eos is not None:
        pad = eos[0]
    if not encoder_decoder:
        return eos, pad, None
    start = settings.decoder_start_token_id
    start = start if start is not None else settings.bos_token_id
    if start is None:
        text = "a token id, or a bos_token_id in its place, for a model with an encoder"
        raise refused("decoder_start_token_id", None, text, "generate")
    return eos, pad, tensor(start)


def padding_mask(prompt: Tensor, ids: Tensor | None, eos: Tensor | None, pad: Tensor | None) -> Tensor:
    """The mask of a prompt that came without one: padding is hidden where it can be told from an end."""
    tokens = ids if ids is not None and ids.shape[1] > 0 else prompt
    mask = torch.ones(tokens.shape[:2], dtype=torch.int64, device=tokens.device)
    if pad is None or tokens.dim() != 2 or tokens.is_floating_point() or (eos is not None and bool((eos == pad).any())):
        return mask
    seen = tokens != pad
    return seen.long() if not bool(seen.all()) else mask


def positions(prompt: Tensor, kwargs: dict[str, Any]) -> Tensor:
    """Positions of the prompt's tokens, padding not counted; (batch or 1, seq)."""
    mask = kwargs.get("attention_mask")
    if mask is not None:
        return (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 0)
    ids = kwargs.get("input_ids")
    length = (ids if ids is not None and ids.shape[1] > 0 else prompt).shape[1]
    cache = kwargs.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    return torch.arange(length + past, device=prompt.device)[None]


def run_encoder(model: Any, prompt: Tensor, name: str, kwargs: dict[str, Any], settings: GenerationConfig) -> None:
    """Put the encoder's output into `kwargs`."""
    states = kwargs.get("encoder_outputs")
    if states is not None:
        kwargs["encoder_outputs"] = BaseModelOutput(*states) if isinstance(states, (tuple, list)) else states
        return
    encoder = model.get_encoder()
    accepts = inspect.signature(encoder.forward).parameters
    others = ("decoder_", "cross_attn", "use_cache", "past_key_values")
    given = {k: v for k, v in kwargs.items() if not k.startswith(others)}
    if not any(p.kind is p.VAR_KEYWORD for p in accepts.values()):
        given = {k: v for k, v in given.items() if k in accepts}
    elif (known := getattr(encoder, "accepts", None)) is not None:
        given = {k: v for k, v in given.items() if k in known}
    given |= {
        "output_attentions": settings.output_attentions,
        "output_hidden_states": settings.output_hidden_states,
        "return_dict": True,
        name: prompt,
    }
    kwargs["encoder_outputs"] = encoder(**given)
    if name == "inputs_embeds":
        kwargs.pop("inputs_embeds", None)


def decoder_prompt(kwargs: dict[str, Any], start: Tensor, batch: int, model_type: str) -> Tensor:
    """What the decoder begins with: the start token, before `decoder_input_ids` unless they have it."""
    ids = kwargs.pop("decoder_input_ids", None)
    if ids is None:
        ids = kwargs.pop("input_ids", None)
    if start.dim() == 1 and start.shape[0] != batch:
        raise refused(
            "decoder_start_token_id", start.tolist(), f"one token, or one for each of {batch} rows", "generate"
        )
    column = start.reshape(-1, 1).expand(batch, 1)  # (batch, 1)
    if ids is None:
        return column.clone()
    if model_type == "whisper" or not bool((ids[:, 0] != column[:, 0]).all()):
        return ids
    mask = kwargs.get("decoder_attention_mask")
    if mask is not None:
        kwargs["decoder_attention_mask"] = torch.cat([torch.ones_like(mask[:, :1]), mask], -1)
    return torch.cat([column, ids], -1)


def expand(kwargs: dict[str, Any], times: int) -> None:
    """Repeat every row `times` times, for beams and for several results."""

    def repeated(value: Any) -> Any:
        return value.repeat_interleave(times, 0) if isinstance(value, Tensor) else value

    for name, value in kwargs.items():
        if name == "position_ids":
            kwargs[name] = value if value.shape[-2] == 1 else value.repeat_interleave(times, value.dim() - 2)
        elif name == "encoder_outputs":
            kwargs[name] = type(value)(**{k: repeated(v) for k, v in value.items()})
        elif name != "logits_to_keep":
            kwargs[name] = repeated(value)


def lengths(settings: Any, prompt: Tensor, name: str, ids: Tensor, limit: int | None, own_limits: bool) -> None:
    """Turn all limits into `max_length` and `min_length` of the tokens, the prompt included.

    Args:
        settings: changed in place.
        prompt: the prompt or its embeddings.
        name: of the argument that `prompt` is.
        ids: token ids of the prompt; empty beside embeddings.
        limit: the model's number of positions.
        own_limits: whether the caller or the model set `max_length`.
    """
    length = ids.shape[1]
    embedded = prompt.shape[1] if name == "inputs_embeds" and prompt.shape[1] != length else 0
    if settings.max_new_tokens is not None:
        settings.max_length = settings.max_new_tokens + length
    elif embedded and own_limits:
        settings.max_length -= embedded
    elif not own_limits:
        settings.max_length += length
        if limit is not None:
            settings.max_length = min(settings.max_length, limit)
    if settings.min_new_tokens is not None:
        settings.min_length = settings.min_new_tokens + length
    elif embedded:
        settings.min_length = max(settings.min_length - embedded, 0)
    if length >= settings.max_length:
        text = f"more than the prompt's {length} tokens; raise it, or set max_new_tokens"
        raise refused("max_length", settings.max_length, text, "generate")
