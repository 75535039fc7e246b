"""Token healing: the last token of a prompt, which the end of the text cut short, is chosen anew.

A prompt that ends in "http" ends in a token that hardly ever stands before "://", for the text "http://" has another
one. Tokens that begin as the last one does are made likely, and the model picks one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError
from autoload.generation.configuration import EXTRA_OUTPUTS

LIKELY, LAST = 10.0, 11.0  # added to the scores; the token itself wins where all else is equal


def healed(model: Any, input_ids: Tensor, tokenizer: Any) -> tuple[Tensor, Tensor]:
    """The prompts with other last tokens, and their mask; (batch, seq).

    White space around a prompt is dropped, and the rest tokenized again, so the length may be another one.

    Args:
        model: that generates.
        input_ids: (batch, seq).
        tokenizer: of the model.

    Raises:
        ArgumentError: there is no tokenizer, or it cannot pad several prompts on the left.
    """
    if tokenizer is None:
        raise ArgumentError("generate: token_healing needs the tokenizer; pass tokenizer=.", name="tokenizer")
    several = input_ids.shape[0] > 1
    if several and (tokenizer.pad_token_id is None or tokenizer.padding_side != "left"):
        text = "generate: token_healing of several prompts needs a tokenizer with a pad_token and padding_side='left'."
        raise ArgumentError(text, name="tokenizer")
    prompts = [text.strip() for text in tokenizer.batch_decode(input_ids.tolist(), skip_special_tokens=True)]
    new = tokenizer(prompts, return_tensors="pt", padding=several)
    ids, mask = (new[name].to(input_ids.device) for name in ("input_ids", "attention_mask"))
    spelled = {number: token for token, number in tokenizer.get_vocab().items()}
    for row, last in enumerate(ids[:, -1].tolist() if ids.shape[1] > 1 else ()):
        others = [number for number, token in spelled.items() if token.startswith(spelled[last])]
        if len(others) > 1 and mask[row, -1]:
            bias = [[[number], LAST if number == last else LIKELY] for number in others]
            ids[row, -1] = _chosen(model, ids[row : row + 1, :-1], mask[row : row + 1, :-1], tokenizer, bias)
    return ids, mask


def _chosen(model: Any, before: Tensor, mask: Tensor, tokenizer: Any, bias: Any) -> Tensor:
    """The token that the model puts behind others. The one that begins a text is hidden, unless nothing else is there."""
    seen = mask.clone()
    if (bos := tokenizer.bos_token_id) is not None:
        seen = seen * (before != bos)
        if not seen.any():
            before = before.clone()
            before[0, -1], seen[0, -1] = bos, 1
    if not seen.any():
        seen = torch.ones_like(mask)
    plain = dict.fromkeys(("do_sample", "token_healing", "return_dict_in_generate", *EXTRA_OUTPUTS), False)
    one = dict(max_new_tokens=1, num_beams=1, num_return_sequences=1, sequence_bias=bias, **plain)
    return model.generate(before, attention_mask=seen, **one)[0, -1]
