"""Tiny models of both libraries with the same weights, loaded once per test run."""

from __future__ import annotations

import functools
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.cases import all_cases
from tests.parity.harness import Case, inputs_for, load_ours, reference_model

warnings.filterwarnings("ignore", module="transformers")


def decoders() -> list[Case]:
    """The cases of every type that generates text."""
    from autoload import registry

    found = [c for c in all_cases() if "CausalLM" in registry.tasks_of(c.model_type).values()]
    return [c for c in found if not c.tasks or "CausalLM" in c.tasks]


def by_name(name: str) -> Case:
    return next(c for c in all_cases() if str(c) == name)


@functools.cache
def lively(name: str) -> Case:
    """A case with large weights, so that its texts do not fall into repeating one token."""
    case = by_name(name)
    return replace(case, config={**case.config, "initializer_range": 0.35}, label="lively")


def forget_lengths(model: Any) -> None:
    """Dynamic rotary tables of the reference remember the longest text of earlier calls; let them begin anew."""
    for module in model.modules():
        if hasattr(module, "max_seq_len_cached") and hasattr(module, "original_inv_freq"):
            module.max_seq_len_cached = module.original_max_seq_len
            module.inv_freq = module.original_inv_freq


@functools.lru_cache(maxsize=64)
def pair(case: Case) -> tuple[Any, Any]:
    """Our model and the reference's."""
    with tempfile.TemporaryDirectory() as folder:
        ours = load_ours(case, "CausalLM", Path(folder))
        for p in ours.parameters():
            p.data = p.data.clone()  # not mapped from the folder
    return ours, reference_model(case, "CausalLM")


def prompts(case: Case, padded: bool = False) -> dict[str, Tensor]:
    """Three prompts; with `padded` two of them begin with padding."""
    ids = inputs_for(case, "CausalLM")["input_ids"]
    if not padded:
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    mask[1, :1] = 0
    return {"input_ids": ids, "attention_mask": mask}
