"""Greedy decoding and sampling, one token per pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoload.generation.outputs import Record
from autoload.generation.run import Run


def sample(run: Run, input_ids: Tensor) -> Any:
    """The text with what follows it; (batch, seq), or an output with more where it is asked for.

    The likeliest token is taken, or with `do_sample` one drawn from softmax(scores).
    """
    settings, processors = run.settings, run.processors
    record = Record(settings, run.encoder_outputs)
    plain = not settings.do_sample and not processors and not record.wants_scores
    ends = any(hasattr(criterion, "eos_token_id") for criterion in run.criteria)
    running: Tensor | None = None  # (batch,); None: all rows
    out, made = run.prefill(input_ids), 0
    while True:
        logits = out.logits[:, -1]  # (batch, vocabulary)
        scores = logits
        if not plain:
            logits = logits.to(torch.float32, copy=True)
            scores = processors(input_ids, logits)
        record.add(scores, logits, out)
        del out, logits  # the first pass may have scores of the whole prompt
        tokens = torch.multinomial(scores.softmax(-1), 1)[:, 0] if settings.do_sample else scores.argmax(-1)
        tokens = tokens.to(input_ids.device)
        if running is not None and ends:
            tokens = torch.where(running, tokens, run.pad)  # type: ignore[arg-type]
        input_ids = torch.cat([input_ids, tokens[:, None]], -1)
        made += 1
        if run.streamer is not None:
            run.streamer.put(tokens.cpu())
        done = run.criteria.check(input_ids, record.scores)
        if done is True:
            break
        if done is not False:
            running = ~done if running is None else running & ~done
            if not bool(running.any()):
                break
        out = run.step(input_ids, made)
    if run.streamer is not None:
        run.streamer.end()
    return record.output(input_ids, run.cache) if settings.return_dict_in_generate else input_ids
