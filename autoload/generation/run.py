"""One call of `generate`: its forward passes, and the keywords that grow with the text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError
from autoload.generation.configuration import GenerationConfig
from autoload.generation.processors import LogitsProcessorList
from autoload.generation.stopping import StoppingCriteriaList

STEP = ("input_ids", "decoder_input_ids", "position_ids", "decoder_position_ids")  # tensors of one column in a step
BLOCK = 256  # columns are made for this many tokens at once


def _ones(last: Tensor, count: int) -> Tensor:
    return last.new_ones(*last.shape[:-1], count)


def _zeros(last: Tensor, count: int) -> Tensor:
    return last.new_zeros(*last.shape[:-1], count)


def _onward(last: Tensor, count: int) -> Tensor:
    return last + torch.arange(1, count + 1, dtype=last.dtype, device=last.device)


def _again(last: Tensor, count: int) -> Tensor:
    return last.expand(*last.shape[:-1], count)


# How the columns of later tokens follow from the last one.
RULES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "attention_mask": _ones,
    "position_ids": _onward,
    "token_type_ids": _again,
    "mm_token_type_ids": _zeros,
}


class Growing:
    """A tensor whose last axis follows the text; a step only takes a view of it."""

    def __init__(self, start: Tensor, rule: Callable[[Tensor, int], Tensor]):
        self.columns, self.length, self.rule = start, start.shape[-1], rule

    def after(self, count: int) -> Tensor:
        """The tensor when `count` tokens were added."""
        missing = self.length + count - self.columns.shape[-1]
        if missing > 0:
            more = self.rule(self.columns[..., -1:], max(missing, BLOCK))
            self.columns = torch.cat([self.columns, more], -1)
        return self.columns[..., : self.length + count]


class Inputs:
    """Keywords of the forward passes.

    Args:
        kwargs: of the first pass.
        encoder_decoder: the mask and positions that grow are those of the decoder.
    """

    def __init__(self, kwargs: dict[str, Any], encoder_decoder: bool):
        self.kwargs = kwargs
        self.growing = {}
        for name, rule in RULES.items():
            key = f"decoder_{name}" if encoder_decoder and name in ("attention_mask", "position_ids") else name
            if isinstance(kwargs.get(key), Tensor):
                self.growing[key] = Growing(kwargs[key], rule)

    def hold(self, name: str, width: int) -> None:
        """Give a tensor its last width now, so that shapes never change."""
        if (column := self.growing.pop(name, None)) is not None:
            self.kwargs[name] = column.after(max(0, width - column.length))

    def after(self, count: int) -> dict[str, Any]:
        """Keywords when the text has `count` tokens more than the prompt."""
        for name, column in self.growing.items():
            self.kwargs[name] = column.after(count)
        return self.kwargs


@dataclass
class Run:
    """What a decoding loop needs.

    `eos` are the tokens that end a text, (tokens,); `pad` follows an end, (). `mask_length` is the width of a padding
    mask that was dropped because it hid nothing. `decode` runs a step in which only the last token is new.
    """

    model: Any
    settings: GenerationConfig
    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    inputs: Inputs
    eos: Tensor | None
    pad: Tensor | None
    mask_length: int | None = None
    streamer: Any = None
    decode: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        self.device = self.model.device

    @property
    def cache(self) -> Any:
        return self.inputs.kwargs.get("past_key_values")

    @property
    def encoder_outputs(self) -> Any:
        return self.inputs.kwargs.get("encoder_outputs") if self.model.config.is_encoder_decoder else None

    def forward(self, input_ids: Tensor, made: int, new: int | None, first: bool = False, **more: Any) -> Any:
        """One pass over the last `new` tokens (None: all) of a text with `made` generated ones."""
        model = self.model
        prepared = model.prepare_inputs_for_generation(
            input_ids, next_sequence_length=new, is_first_iteration=first, **self.inputs.after(made)
        )
        prepared |= more
        if input_ids.device != self.device and self.device.type != "meta":  # meta: parts are loaded when they run
            prepared = {k: v.to(self.device) if isinstance(v, Tensor) else v for k, v in prepared.items()}
        if self.decode is not None and new == 1:
            for name in STEP:  # strides are part of what was compiled
                if isinstance(prepared.get(name), Tensor):
                    prepared[name] = prepared[name].clone(memory_format=torch.contiguous_format)
            out = self.decode(**prepared, return_dict=True)
        else:
            out = model(**prepared, return_dict=True)
        cache = out.get("past_key_values")
        if cache is not None:
            self.inputs.kwargs["past_key_values"] = cache
        return out

    def step(self, input_ids: Tensor, made: int) -> Any:
        """The pass over the newest token; over the whole text where nothing is cached."""
        return self.forward(input_ids, made, 1 if self.inputs.kwargs.get("use_cache") else None)

    def first_length(self, input_ids: Tensor) -> int | None:
        """Number of last tokens that the first pass reads: those that the cache does not hold; None for all given."""
        if self.cache is None:
            return None
        embeds = self._embeds()
        length = input_ids.shape[1] if embeds is None else embeds.shape[1]
        if embeds is None and self._mask_width() != length:  # only what is new was passed, not the whole text
            return None
        past = int(self.cache.get_seq_length())
        if past >= length:
            text = f"the cache holds {past} tokens already, expected fewer than the prompt's {length}."
            raise ArgumentError(f"generate: past_key_values: {text}", name="past_key_values")
        return length - past

    def prefill(self, input_ids: Tensor) -> Any:
        """The first pass, over that part of the prompt that the cache does not hold yet."""
        new, first = self.first_length(input_ids), not self.settings.is_assistant
        size = self.settings.prefill_chunk_size
        if size is None or self._embeds() is not None or not self.inputs.kwargs.get("use_cache"):
            return self.forward(input_ids, 0, new, first)
        return self._in_chunks(input_ids, new or input_ids.shape[1], size, first)

    def _embeds(self) -> Tensor | None:
        """Embeddings that the first pass reads in place of tokens."""
        if self.settings.is_assistant or self.model.config.is_encoder_decoder:
            return None
        return self.inputs.kwargs.get("inputs_embeds")

    def _mask_width(self) -> int | None:
        name = "decoder_attention_mask" if self.model.config.is_encoder_decoder else "attention_mask"
        mask = self.inputs.kwargs.get(name)
        return mask.shape[-1] if mask is not None else self.mask_length

    def _in_chunks(self, input_ids: Tensor, new: int, size: int, first: bool) -> Any:
        """The first pass in pieces, so that its activations take less memory."""
        out, total = None, input_ids.shape[1]
        for begin in range(total - new, total, size):
            end = min(begin + size, total)
            out = self.forward(input_ids[:, :end], end - total, end - begin, first)
        return out
