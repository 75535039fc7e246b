"""BatchFeature: what extractors and processors give, a dictionary of arrays or tensors."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from autoload.bridge import Anchor, stands_for
from autoload.errors import ArgumentError, AudioError


@stands_for("transformers.feature_extraction_utils")
class BatchFeature(Anchor, UserDict):
    """A dictionary whose entries are attributes too, and can be made tensors and moved.

    Args:
        data: names and values.
        tensor_type: "pt" or "np" makes tensors of the values at once.
        skip_tensor_conversion: names of values that stay as they are.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        tensor_type: Any = None,
        skip_tensor_conversion: Collection[str] | None = None,
    ):
        super().__init__(data)
        self.skip_tensor_conversion = skip_tensor_conversion
        self.convert_to_tensors(tensor_type)

    def __getitem__(self, item: Any) -> Any:
        if not isinstance(item, str):
            raise KeyError(f"BatchFeature has named entries alone ({', '.join(self.data)}), none numbered {item!r}")
        return self.data[item]

    def __getattr__(self, name: str) -> Any:
        data = self.__dict__.get("data", {})
        if name not in data:
            raise AttributeError(f"BatchFeature has no entry {name!r}; it has {', '.join(data) or 'none'}")
        return data[name]

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "skip_tensor_conversion": self.skip_tensor_conversion}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"skip_tensor_conversion": None, **state})

    def convert_to_tensors(
        self, tensor_type: Any = None, skip_tensor_conversion: Collection[str] | None = None
    ) -> BatchFeature:
        """Make tensors of all values that can be, in place.

        Args:
            tensor_type: "pt" or "np"; None changes nothing.
            skip_tensor_conversion: names of values that stay as they are.

        Raises:
            AudioError: rows of different lengths.
            ArgumentError: no such kind of tensor.
        """
        if tensor_type is None:
            return self
        skipped = skip_tensor_conversion if skip_tensor_conversion is not None else self.skip_tensor_conversion
        for key, value in self.data.items():
            if key not in (skipped or ()) and _is_numeric(value):
                try:
                    self.data[key] = _tensor(value, getattr(tensor_type, "value", tensor_type))
                except (ValueError, TypeError, RuntimeError) as e:
                    if isinstance(e, ArgumentError):
                        raise
                    text = f"{key} cannot become one tensor: its rows differ in length. Pass padding=True"
                    raise AudioError(f"{text}, or return_tensors=None for a list.", field=key) from e
        return self

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move tensors, in place; a dtype changes floating ones alone. The arguments are those of `Tensor.to`."""
        import torch

        device = kwargs.get("device", args[0] if args and not isinstance(args[0], torch.dtype) else None)
        if not isinstance(device, (str, int, torch.device, type(None))):
            raise ArgumentError(f"BatchFeature.to: {device!r} is neither a device nor a dtype.", name="device")
        blocking = {"non_blocking": kwargs.get("non_blocking", False)}

        def moved(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                return value.to(*args, **kwargs)
            if isinstance(value, torch.Tensor) and device is not None:
                return value.to(device=device, **blocking)
            return type(value)(map(moved, value)) if isinstance(value, (list, tuple)) else value

        self.data = {key: moved(value) for key, value in self.data.items()}
        return self


def _is_numeric(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return hasattr(value, "__array__") or isinstance(value, (bool, int, float))


def _has_arrays(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return hasattr(value, "__array__")


def _tensor(value: Any, kind: Any) -> Any:
    if kind == "np":
        return value if isinstance(value, np.ndarray) else np.asarray(value)
    if kind != "pt":
        raise ArgumentError(f"return_tensors={kind!r}: expected 'pt' or 'np'.", name="return_tensors")
    import torch

    if isinstance(value, torch.Tensor):
        return value
    first = value[0] if isinstance(value, (list, tuple)) and value else None
    if isinstance(first, torch.Tensor):
        return torch.stack(list(value))
    if isinstance(first, np.ndarray) and len(value) == 1:
        value = first[None]  # without a copy
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return torch.from_numpy(np.array(value)) if _has_arrays(value) else torch.tensor(value)
