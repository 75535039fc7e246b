"""Layers of caches: keys and values of one layer, and states of fixed size for layers that carry no keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

BLOCK = 256  # a growing cache makes room for this many steps at once


class Layer:
    """Base of all layers. `states` holds tensors of fixed size by name, (batch, ...), of recurrent layers and hybrids."""

    is_sliding = False
    is_compileable = False
    counts_tokens = False  # whether get_seq_length is known

    def __init__(self) -> None:
        self.states: dict[str, Tensor] = {}

    def keep_state(self, name: str, value: Tensor) -> Tensor:
        """Remember a state; its memory stays the same from step to step, as captured graphs need."""
        old = self.states.get(name)
        if old is None or old.shape != value.shape or torch.is_grad_enabled():
            self.states[name] = value
        elif old is not value:
            old.copy_(value)
        return self.states[name]

    @property
    def is_croppable(self) -> bool:
        return not self.states

    def remove(self, count: int) -> None:
        """Forget the last `count` tokens."""
        if self.states:
            raise _cannot_crop("a recurrent state cannot go back")

    def crop(self, max_length: int) -> None:
        """Forget the last tokens: all but the first `max_length`, or with a negative number that many; 0 forgets none."""
        count = -max_length if max_length <= 0 else max(0, int(self.get_seq_length()) - max_length)
        if count:
            self.remove(count)

    def get_seq_length(self) -> Any:
        """Tokens seen so far."""
        return 0

    def get_max_cache_shape(self) -> int:
        """Tokens that there is room for; -1: any number."""
        return -1

    def reset(self) -> None:
        """Forget everything."""
        self.states.clear()

    def map_batch(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Replace all content by `fn` of it, a function over the batch axis."""
        self.states = {name: fn(value) for name, value in self.states.items()}


class StateLayer(Layer):
    """A layer without keys: nothing but states."""

    is_compileable = True
    keys = values = None

    @property
    def is_initialized(self) -> bool:
        return bool(self.states)


class CacheLayer(Layer):
    """Keys and values of one layer, growing; nothing is moved per step, room is made in blocks."""

    counts_tokens = True

    def __init__(self) -> None:
        super().__init__()
        self._keys: Tensor | None = None  # (batch, heads, room, dim)
        self._values: Tensor | None = None
        self.length = 0  # tokens that are stored

    @property
    def keys(self) -> Tensor | None:
        return None if self._keys is None else self._keys[:, :, : self.length]  # (batch, heads, length, dim)

    @property
    def values(self) -> Tensor | None:
        return None if self._values is None else self._values[:, :, : self.length]

    @property
    def is_initialized(self) -> bool:
        return self._keys is not None

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (batch, heads, new, dim) and give everything back."""
        if self._keys is None or self._values is None:
            self._keys, self._values, self.length = keys, values, keys.shape[2]
            return keys, values
        if torch.is_grad_enabled() and (keys.requires_grad or self._keys.requires_grad):  # keep what backward needs
            self._keys = torch.cat([self._keys[:, :, : self.length], keys], 2)
            self._values = torch.cat([self._values[:, :, : self.length], values], 2)
            self.length = self._keys.shape[2]
            return self._keys, self._values
        count = keys.shape[2]
        if self.length + count > self._keys.shape[2]:
            self.make_room(count)
        end = self.length + count
        self._keys.narrow(2, self.length, count).copy_(keys)
        self._values.narrow(2, self.length, count).copy_(values)
        self.length = end
        return self._keys.narrow(2, 0, end), self._values.narrow(2, 0, end)

    def make_room(self, count: int) -> None:
        """Move everything to where `count` tokens more and a block fit."""
        self._move(0, count)

    def _move(self, start: int, count: int) -> None:
        kept = self.length - start
        room = ((kept + count) // BLOCK + 1) * BLOCK
        self._keys, self._values = (_moved(x, start, self.length, room) for x in (self._keys, self._values))
        self.length = kept

    def get_seq_length(self) -> int:
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[Any, Any]:
        """How many keys attention will see after appending `query_length`, and the position of the first."""
        return self.length + query_length, 0

    def remove(self, count: int) -> None:
        super().remove(count)
        self.length = max(0, self.length - count)

    def reset(self) -> None:
        super().reset()
        self._keys = self._values = None
        self.length = 0

    def map_batch(self, fn: Callable[[Tensor], Tensor]) -> None:
        super().map_batch(fn)
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._mapped(self._keys, fn), self._mapped(self._values, fn)

    def _mapped(self, x: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
        """`fn` of what is stored, with the same room; where most of the room is empty, that part is not read."""
        if self.is_compileable or 2 * self.length > x.shape[2]:  # a static layer is read whole
            return fn(x)
        stored = fn(x[:, :, : self.length])
        out = stored.new_empty(*stored.shape[:2], x.shape[2], stored.shape[3])
        out[:, :, : self.length] = stored
        return out


class SlidingCacheLayer(CacheLayer):
    """Gives attention what a window of `window` tokens can see; a block more is kept, so that tokens can be taken back."""

    is_sliding = True

    def __init__(self, window: int):
        super().__init__()
        self.window = window
        self.seen = 0

    @property
    def visible(self) -> int:
        """Stored tokens that the next one can see."""
        return min(self.length, self.window - 1)

    @property
    def keys(self) -> Tensor | None:
        return None if self._keys is None else self._keys[:, :, self.length - self.visible : self.length]

    @property
    def values(self) -> Tensor | None:
        return None if self._values is None else self._values[:, :, self.length - self.visible : self.length]

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        count = self.visible + keys.shape[2]
        self.seen += keys.shape[2]
        keys, values = super().update(keys, values)
        if keys.shape[2] == count:
            return keys, values
        return keys[:, :, -count:], values[:, :, -count:]

    def make_room(self, count: int) -> None:
        self._move(max(0, self.length - (self.window - 1 + BLOCK)), count)

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[Any, Any]:
        return self.visible + query_length, self.seen - self.visible

    def get_max_cache_shape(self) -> int:
        return self.window

    def remove(self, count: int) -> None:
        left = max(0, self.seen - count)
        if self.length - count < min(left, self.window - 1):
            raise _cannot_crop(f"of {self.seen} tokens the last {self.length} are kept")
        super().remove(count)
        self.seen = left

    def reset(self) -> None:
        super().reset()
        self.seen = 0


class StaticCacheLayer(CacheLayer):
    """Room for `max_length` tokens from the start: shapes and addresses never change, as compiled graphs need."""

    is_compileable = True

    def __init__(self, max_length: int):
        super().__init__()
        self.max_length = max_length
        self.position: Tensor | None = None  # tokens seen, on the device, so that a captured graph advances it

    @property
    def keys(self) -> Tensor | None:
        return self._keys

    @property
    def values(self) -> Tensor | None:
        return self._values

    def initialize(self, keys: Tensor, values: Tensor) -> None:
        """Take the memory."""
        shape = (keys.shape[0], keys.shape[1], self.max_length)
        self._keys = keys.new_zeros(*shape, keys.shape[3])
        self._values = values.new_zeros(*shape, values.shape[3])
        self.position = torch.zeros((), dtype=torch.int64, device=keys.device)
        if keys.is_cuda and not torch.compiler.is_compiling():
            for tensor in (self._keys, self._values, self.position):
                torch._dynamo.mark_static_address(tensor)  # graphs write into it instead of copying it

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if self._keys is None:
            self.initialize(keys, values)
        where = self.position + torch.arange(keys.shape[2], device=keys.device)  # type: ignore[operator]
        self._keys.index_copy_(2, where, keys)  # type: ignore[union-attr]
        self._values.index_copy_(2, where, values)  # type: ignore[union-attr]
        self.position.add_(keys.shape[2])  # type: ignore[union-attr]
        return self._keys, self._values  # type: ignore[return-value]

    def get_seq_length(self) -> Any:
        return 0 if self.position is None else self.position

    def get_mask_sizes(self, query_length: int) -> tuple[Any, Any]:
        return self.max_length, 0

    def get_max_cache_shape(self) -> int:
        return self.max_length

    def remove(self, count: int) -> None:
        Layer.remove(self, count)
        if self.position is not None:
            self.position.sub_(count).clamp_(min=0)

    def reset(self) -> None:
        self.states.clear()
        if self._keys is not None and self._values is not None and self.position is not None:
            self._keys.zero_()
            self._values.zero_()
            self.position.zero_()

    def map_batch(self, fn: Callable[[Tensor], Tensor]) -> None:
        old = self._keys, self._values
        super().map_batch(fn)
        if old[0] is not None and self._keys.shape == old[0].shape:  # type: ignore[union-attr]
            for x, new in zip(old, (self._keys, self._values), strict=True):
                x.copy_(new)  # type: ignore[union-attr, arg-type]
            self._keys, self._values = old


class StaticSlidingCacheLayer(StaticCacheLayer):
    """Room for the last `max_length` tokens, the newest at the end; what is not filled yet has negative positions."""

    is_sliding = True

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        fresh, count = self._keys is None, keys.shape[2]
        if fresh:
            self.initialize(keys, values)
        joined = [torch.cat(pair, 2) for pair in ((self._keys, keys), (self._values, values))]  # type: ignore[arg-type]
        for store, x in zip((self._keys, self._values), joined, strict=True):
            store.copy_(x[:, :, count:])  # type: ignore[union-attr]
        self.position.add_(count)  # type: ignore[union-attr]
        if fresh:
            return keys, values
        return (self._keys, self._values) if count == 1 else (joined[0], joined[1])  # type: ignore[return-value]

    def get_mask_sizes(self, query_length: int) -> tuple[Any, Any]:
        if self.position is None:
            return query_length, 0
        if query_length == 1:
            return self.max_length, self.position + 1 - self.max_length
        return self.max_length + query_length, self.position - self.max_length

    def remove(self, count: int) -> None:
        if self.position is not None and int(self.position) > self.max_length:
            raise _cannot_crop(f"only the last {self.max_length} tokens are kept")
        if self.position is not None:
            for store in (self._keys, self._values):
                store.copy_(store.roll(count, 2))  # type: ignore[union-attr]
        super().remove(count)


def _moved(x: Any, start: int, end: int, room: int) -> Tensor:
    """x[:, :, start:end] at the beginning of new memory for `room` tokens."""
    out = x.new_empty(*x.shape[:2], room, x.shape[3])
    out[:, :, : end - start] = x[:, :, start:end]
    return out


def _cannot_crop(reason: str) -> Exception:
    from autoload.errors import GenerationError

    return GenerationError(f"crop: {reason}; make a new cache.", field="past_key_values")
