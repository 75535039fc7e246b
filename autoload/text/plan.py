"""What one call asks of a tokenizer: padding, truncation and outputs, resolved and checked before anything runs."""

# No postponed annotations here: a NamedTuple would compile each of them when it is made, for 1.5 ms of start-up.

from typing import Any, NamedTuple

from autoload.errors import ArgumentError, TokenizerError

LARGE = int(1e20)  # anything above means "no limit"

Tokens = int  # a number of tokens
Choice = bool | None  # None: what the tokenizer's own settings say
Count = int | None  # None: no such number

PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")


class Truncation(NamedTuple):
    """Settings of the Rust truncation; hashable, a key of the tokenizer's variants."""

    max_length: int
    stride: int
    strategy: str
    direction: str


class Padding(NamedTuple):
    """How rows are filled up: to `length`, or to the longest row where it is None."""

    length: int | None
    multiple: int | None
    side: str
    pad_id: int
    pad_type_id: int
    pad_token: str

    def target(self, longest: int) -> int:
        """The length that rows are padded to."""
        length = longest if self.length is None else self.length
        return -(-length // self.multiple) * self.multiple if self.multiple else length


class Plan(NamedTuple):
    """One call, resolved."""

    add_special_tokens: bool = True
    padding: Padding | None = None
    truncation: Truncation | None = None
    is_split_into_words: bool = False
    split_special_tokens: bool = False
    return_tensors: Any = None
    return_token_type_ids: bool = False
    return_attention_mask: bool = True
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    warn_length: int | None = None  # warn about longer rows, where nothing truncates them


def choose_padding(padding: Any) -> str:
    """One of PADDINGS, from what callers pass."""
    name = getattr(padding, "value", padding)
    if name is True:
        return "longest"
    if name is False or name is None:
        return "do_not_pad"
    if name not in PADDINGS:
        raise TokenizerError(f"padding={padding!r}: expected True, False or one of {_list(PADDINGS)}.", field="padding")
    return name


def choose_truncation(truncation: Any) -> str:
    """One of TRUNCATIONS, from what callers pass."""
    name = getattr(truncation, "value", truncation)
    if name is True:
        return "longest_first"
    if name is False or name is None:
        return "do_not_truncate"
    if name not in TRUNCATIONS:
        raise TokenizerError(
            f"truncation={truncation!r}: expected True, False or one of {_list(TRUNCATIONS)}.", field="truncation"
        )
    return name


def resolve(
    tokenizer: Any,
    padding: Any,
    truncation: Any,
    max_length: int | None,
    stride: int,
    pad_to_multiple_of: int | None,
    padding_side: str | None,
) -> tuple[Padding | None, Truncation | None]:
    """The padding and truncation of a call.

    `max_length` alone means truncation, as it always has. Without `max_length` the model's own limit stands in; a
    model without one neither truncates nor pads to it.

    Raises:
        TokenizerError: a setting that is unknown, or contradicts another.
    """
    pad, cut = choose_padding(padding), choose_truncation(truncation)
    for name, value, least in (("max_length", max_length, 0), ("stride", stride, 0)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise TokenizerError(f"{name}={value!r}: expected a whole number, {least} or more.", field=name)
    if max_length is not None and pad == "do_not_pad" and truncation is None:
        cut = "longest_first"
    if max_length is None:
        limit = tokenizer.model_max_length
        if limit > LARGE:
            pad = "do_not_pad" if pad == "max_length" else pad
            cut = "do_not_truncate"
        max_length = int(limit)
    multiple = pad_to_multiple_of
    if multiple is not None and (not isinstance(multiple, int) or multiple < 1):
        raise TokenizerError(f"pad_to_multiple_of={multiple!r}: expected a number above 0.", field="pad_to_multiple_of")
    if cut != "do_not_truncate" and pad != "do_not_pad" and multiple and max_length % multiple:
        raise TokenizerError(
            f"Truncation to max_length={max_length} and padding to a multiple of {multiple} contradict each other. "
            "Make one a multiple of the other.",
            field="pad_to_multiple_of",
        )
    filled = None
    if pad != "do_not_pad":
        filled = padding_of(tokenizer, max_length if pad == "max_length" else None, multiple, padding_side)
    if cut == "do_not_truncate":
        return filled, None
    return filled, Truncation(max_length, stride, cut, _side("truncation_side", tokenizer.truncation_side))


def padding_of(tokenizer: Any, length: int | None, multiple: int | None, side: str | None) -> Padding:
    """Padding with the tokenizer's own pad token and side.

    Raises:
        TokenizerError: the tokenizer has no pad token.
    """
    if tokenizer.pad_token is None or tokenizer.pad_token_id is None:
        raise TokenizerError(
            "Asking to pad but the tokenizer does not have a padding token. Set one that it has, for instance "
            "`tokenizer.pad_token = tokenizer.eos_token`, or add one: "
            "`tokenizer.add_special_tokens({'pad_token': '[PAD]'})`.",
            field="pad_token",
        )
    side = _side("padding_side", tokenizer.padding_side if side is None else side)
    return Padding(length, multiple, side, tokenizer.pad_token_id, tokenizer.pad_token_type_id, tokenizer.pad_token)


def _side(name: str, side: Any) -> str:
    if side not in ("right", "left"):
        raise TokenizerError(f"{name}={side!r}: expected 'right' or 'left'.", field=name)
    return side


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))


def check_inputs(text: Any, pair: Any, is_split_into_words: bool) -> bool:
    """Whether the input is a batch; an error when it is no text at all.

    Raises:
        TokenizerError: neither a text, nor words, nor a batch of these.
        ArgumentError: a batch of texts with a single second text.
    """
    _check_text("text", text)
    if pair is not None:
        _check_text("text_pair", pair)
    if is_split_into_words:
        batched = isinstance(text, (list, tuple)) and bool(text) and isinstance(text[0], (list, tuple))
    else:
        batched = isinstance(text, (list, tuple))
    if batched and isinstance(pair, str):
        raise ArgumentError(
            "text is a batch and text_pair one text: expected as many pairs as texts.", name="text_pair"
        )
    if batched and pair is not None and len(pair) != len(text):
        raise TokenizerError(
            f"batch length of text: {len(text)} does not match that of text_pair: {len(pair)}.", field="text_pair"
        )
    return batched


def _check_text(name: str, text: Any) -> None:
    if isinstance(text, str):
        return
    if isinstance(text, (list, tuple)):
        first = text[0] if text else ""
        while isinstance(first, (list, tuple)):
            first = first[0] if first else ""
        if isinstance(first, str):
            return
        text = first
    raise TokenizerError(
        f"{name} holds {type(text).__name__}: expected a text, a list of texts, or a list of lists of words with "
        "is_split_into_words=True.",
        field=name,
    )
