"""BatchEncoding: what a tokenizer returns, a mapping from model input names to lists or tensors."""

# No postponed annotations here: a NamedTuple would compile each of them when it is made, for 1.5 ms of start-up.

from collections import UserDict
from collections.abc import Callable
from typing import Any, NamedTuple

from autoload.errors import ArgumentError, TokenizerError, did_you_mean

TENSOR_TYPES = ("pt", "np", "mlx")


class CharSpan(NamedTuple):
    """Characters `start` up to, not including, `end` of the text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` up to, not including, `end` of the encoding."""

    start: int
    end: int


class BatchEncoding(UserDict):
    """Model inputs by name, and, from Rust-backed tokenizers, the maps between characters, words and tokens.

    The alignment needs complete encodings, which cost more than ids alone. Where the call did not ask for offsets
    they are made when first looked at, by `encoding` being a function that returns them.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Any = None,
        tensor_type: Any = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ):
        self.data = dict(data) if data is not None else {}
        self._encodings: Any
        if encoding is None or callable(encoding):
            self._encodings = encoding
        else:
            self._encodings = list(encoding) if isinstance(encoding, (list, tuple)) else [encoding]
        self._n_sequences = n_sequences
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, prepend_batch_axis)

    # -- mapping ----------------------------------------------------------------------------------------------------

    def __getitem__(self, item: Any) -> Any:
        """A value by name; an encoding by index; encodings, or sliced values where there are none, by slice."""
        if isinstance(item, str):
            return self.data[item]
        encodings = self.encodings
        if encodings is not None:
            return encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"{item!r}: this encoding comes from a tokenizer without alignment; index it by name.")

    def __getattr__(self, name: str) -> Any:
        data = self.__dict__.get("data")
        if data is not None and name in data:
            return data[name]
        hint = did_you_mean(name, data or ()) if not name.startswith("_") else ""
        raise AttributeError(f"BatchEncoding has no {name!r}{hint}")

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "_encodings": self.encodings, "_n_sequences": self.n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def copy(self) -> Any:
        """A new encoding with the same values."""
        return BatchEncoding(self.data, self._encodings, n_sequences=self._n_sequences)

    def __copy__(self) -> Any:
        return self.copy()

    # -- alignment --------------------------------------------------------------------------------------------------

    @property
    def encodings(self) -> list[Any] | None:
        """The Rust encodings, one per row; None from a tokenizer written in Python."""
        if callable(self._encodings):
            self._encodings = self._encodings()
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether the alignment methods work."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs; None where it is not known."""
        if self._n_sequences is None and self._encodings is not None:
            encodings = self.encodings
            self._n_sequences = encodings[0].n_sequences if encodings else None
        return self._n_sequences

    def _encoding(self, index: int, method: str) -> Any:
        encodings = self.encodings
        if encodings is None:
            raise TokenizerError(
                f"{method}() needs a Rust-backed tokenizer; this encoding has no map of characters.", field=method
            )
        if not -len(encodings) <= index < len(encodings):
            raise TokenizerError(f"{method}(): row {index} of a batch of {len(encodings)}.", field="batch_index")
        return encodings[index]

    def _row(self, method: str, first: int, second: int | None) -> tuple[Any, int]:
        """The encoding and the index in it, from the one- or two-argument form of the alignment methods."""
        row, index = (0, first) if second is None else (first, second)
        encoding = self._encoding(row, method)
        return encoding, index

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Tokens of one row."""
        return self._encoding(batch_index, "tokens").tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Index of the word that each token belongs to; None for special tokens."""
        return self._encoding(batch_index, "word_ids").word_ids

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1 for tokens of the first or second text; None for special tokens."""
        return self._encoding(batch_index, "sequence_ids").sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text, 0 or 1, a token comes from."""
        encoding, index = self._row("token_to_sequence", batch_or_token_index, token_index)
        return encoding.token_to_sequence(_from_end(index, len(encoding)))

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which word a token belongs to."""
        encoding, index = self._row("token_to_word", batch_or_token_index, token_index)
        return encoding.token_to_word(_from_end(index, len(encoding)))

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word, or None when it has none."""
        encoding, index = self._row("word_to_tokens", batch_or_word_index, word_index)
        span = encoding.word_to_tokens(_from_end_of_words(index, encoding), sequence_index)
        return None if span is None else TokenSpan(*span)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token; None for special tokens."""
        encoding, index = self._row("token_to_chars", batch_or_token_index, token_index)
        span = encoding.token_to_chars(_from_end(index, len(encoding)))
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that covers a character; None for white space between tokens."""
        encoding, index = self._row("char_to_token", batch_or_char_index, char_index)
        return encoding.char_to_token(index, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word."""
        encoding, index = self._row("word_to_chars", batch_or_word_index, word_index)
        span = encoding.word_to_chars(_from_end_of_words(index, encoding), sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that covers a character."""
        encoding, index = self._row("char_to_word", batch_or_char_index, char_index)
        return encoding.char_to_word(index, sequence_index)

    # -- tensors ----------------------------------------------------------------------------------------------------

    def convert_to_tensors(self, tensor_type: Any = None, prepend_batch_axis: bool = False) -> "BatchEncoding":
        """Turn all values into tensors, in place.

        Args:
            tensor_type: "pt", "np" or "mlx"; None leaves the values alone.
            prepend_batch_axis: give flat lists a first axis of length 1.

        Raises:
            TokenizerError: the rows of a value have different lengths.
        """
        if tensor_type is None:
            return self
        is_tensor, to_tensor = tensor_maker(tensor_type)
        for key, value in self.data.items():
            if is_tensor(value) or value is None:
                continue
            if prepend_batch_axis:
                value = [value]
            try:
                self.data[key] = to_tensor(value)
            except (ValueError, TypeError, RuntimeError) as e:
                raise _ragged(key, value) from e
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> "BatchEncoding":
        """Move all tensors to a device, in place."""
        for key, value in self.data.items():
            if hasattr(value, "to") and hasattr(value, "device"):
                self.data[key] = value.to(device=_as_device(device), non_blocking=non_blocking)
            elif isinstance(value, list) and any(hasattr(part, "device") for part in value):
                self.data[key] = [
                    part.to(device=_as_device(device), non_blocking=non_blocking) if hasattr(part, "device") else part
                    for part in value
                ]
        return self


def tensor_maker(tensor_type: Any) -> tuple[Callable[[Any], bool], Callable[[Any], Any]]:
    """Test and constructor of a tensor type given as "pt", "np" or "mlx", or as an enumeration of these."""
    kind = getattr(tensor_type, "value", tensor_type)
    if kind == "pt":
        import torch

        return torch.is_tensor, lambda value: torch.tensor(_stackable(value))
    if kind == "np":
        import numpy as np

        return (lambda value: isinstance(value, np.ndarray)), _array
    if kind == "mlx":
        import mlx.core as mx  # type: ignore[import-not-found]

        return (lambda value: isinstance(value, mx.array)), lambda value: mx.array(value)
    raise ArgumentError(
        f"return_tensors={tensor_type!r}: expected one of {', '.join(map(repr, TENSOR_TYPES))}.", name="return_tensors"
    )


def _stackable(value: Any) -> Any:
    """torch is slow on lists of arrays; numpy stacks them first."""
    if isinstance(value, list) and value and hasattr(value[0], "__array__") and not hasattr(value[0], "device"):
        import numpy as np

        return np.array(value)
    return value


def _array(value: Any) -> Any:
    import numpy as np

    array = np.array(value)
    if array.dtype == object:  # what old numpy makes of ragged rows
        raise ValueError("rows of different lengths")
    return array


def _ragged(key: str, value: Any) -> TokenizerError:
    lengths = sorted({len(row) for row in value if hasattr(row, "__len__")}) if isinstance(value, list) else []
    found = f"its rows have the lengths {', '.join(map(str, lengths[:6]))}" if len(lengths) > 1 else "it is no array"
    return TokenizerError(
        f"Unable to create tensor from {key!r}: {found}. Pass padding=True, and truncation=True with a max_length "
        "where texts can be too long.",
        field=key,
    )


def _as_device(device: Any) -> Any:
    if isinstance(device, (str, int)) or type(device).__name__ == "device":
        return device
    raise ArgumentError(f"to({device!r}): expected a device, such as 'cpu', 'cuda:0' or 0.", name="device")


def _from_end(index: int, length: int) -> int:
    return index + length if index < 0 else index


def _from_end_of_words(index: int, encoding: Any) -> int:
    if index >= 0:
        return index
    words = [word for word in encoding.word_ids if word is not None]
    return index + (max(words) + 1 if words else 0)
