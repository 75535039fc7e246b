"""The inputs of a model by name, where its code hands them on as *args and **kwargs.

Trainers drop the columns of a data set that `inspect.signature(model.forward)` does not name, so it must name them all.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from inspect import Parameter
from types import FunctionType
from typing import Any

# Keywords that no model minds: what trainers, adapters, tokenizers and collators pass to all of them alike.
SHARED = frozenset(
    "attention_mask cache_position cu_seq_lens_k cu_seq_lens_q input_ids is_causal length logits_to_keep max_length_k "
    "max_length_q num_items_in_batch num_truncated_tokens offset_mapping output_attentions output_hidden_states "
    "overflow_to_sample_mapping position_ids return_dict seq_idx shift_labels special_tokens_mask token_type_ids "
    "use_cache".split()
)


def keywords_of(cls: Any) -> frozenset[str] | None:
    """The keywords that the `forward` of a class knows, and those that it, its bases or its `base_class` `reads`; None: any."""
    parameters = inspect.signature(cls.forward).parameters.values()
    if cls.reads is None or not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    named = (p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    kin = (*cls.__mro__, *getattr(cls.base_class, "__mro__", ()))
    read = (name for c in kin for name in vars(c).get("reads") or ())
    return frozenset((*named, *read)) - {"self", "kwargs"}


def spelled_out(cls: Any, further: Iterable[str] = ()) -> Any:
    """The `forward` of a class under a signature that names every input; the function itself stays as it is.

    Args:
        cls: of a model; what its head takes as **kwargs goes to its `base_class`.
        further: names of inputs that the code of the base class looks up in **kwargs.
    """
    inherited = [vars(c)["forward"] for c in cls.__mro__ if isinstance(vars(c).get("forward"), FunctionType)]
    names: dict[str, Parameter] = {}
    for forward in inherited:
        own = inspect.signature(forward).parameters
        kinds = {p.kind for p in own.values()}
        names = {**own, **{name: p for name, p in names.items() if name not in own}}
        if Parameter.VAR_POSITIONAL not in kinds:
            break
    if not any(p.kind is p.VAR_KEYWORD for p in names.values()):
        return cls.forward
    base = cls.base_class
    inputs = inspect.signature(base.forward).parameters.values() if base is not None else ()
    for name in (*(p.name for p in inputs if p.kind is not p.VAR_KEYWORD), *further):
        names.setdefault(name, Parameter(name, Parameter.KEYWORD_ONLY, default=None))
    listed = sorted((p for p in names.values() if p.kind is not p.VAR_POSITIONAL), key=lambda p: p.kind)
    spelled = _copy(cls.forward)
    spelled.__signature__ = inspect.Signature(listed)
    return spelled


def _copy(function: Any) -> Any:
    """A function of the same code, that can carry a signature of its own."""
    twin = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    twin.__kwdefaults__, twin.__doc__, twin.__module__ = function.__kwdefaults__, function.__doc__, function.__module__
    twin.__qualname__, twin.__dict__ = function.__qualname__, dict(function.__dict__)
    return twin
