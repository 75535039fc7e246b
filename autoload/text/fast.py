"""PreTrainedTokenizerFast: a tokenizer whose engine is a Rust pipeline of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer

from autoload.bridge import stands_for
from autoload.errors import TokenizerError
from autoload.text import templates
from autoload.text.base import PreTrainedTokenizerBase
from autoload.text.encoding import BatchEncoding
from autoload.text.saving import written
from autoload.text.specials import as_list, content

if TYPE_CHECKING:
    from autoload.text.plan import Plan, Truncation

VARIANTS = 32  # settings of truncation that are kept ready


@stands_for("transformers.tokenization_utils_tokenizers", "TokenizersBackend")
class PreTrainedTokenizerFast(PreTrainedTokenizerBase):
    """A tokenizer on a Rust pipeline. The pipeline itself never holds padding or truncation: calls do not change it."""

    __slots__ = ("_added", "_exposed", "_lock", "_variants")  # outside __dict__, of which datasets makes a fingerprint
    is_fast = True

    def __init__(self, *args: Any, **settings: Any):
        from autoload.text.loading import construct

        construct(self, *args, **settings)

    @classmethod
    def _from_files(cls, files: Any, with_json: Any, settings: dict[str, Any], given: dict[str, Any]) -> Any:
        from autoload.text.loading import fast_from_files

        return fast_from_files(cls, files, with_json, settings, given)

    def _finish(self, settings: dict[str, Any]) -> None:
        """A class's own last steps after the pipeline stands."""

    def _attach(self, rust: Tokenizer) -> None:
        """Take a pipeline, and take its baked padding and truncation away."""
        rust.no_padding()
        rust.no_truncation()
        self._rust = rust
        self._exposed = False  # whether callers hold the pipeline, and may change it behind our back
        self._variants: dict[Any, Tokenizer] = {}
        self._added: dict[int, AddedToken] | None = None

    @property
    def _tokenizer(self) -> Tokenizer:
        self._exposed = True
        return self._rust

    @_tokenizer.setter
    def _tokenizer(self, rust: Tokenizer) -> None:
        self._attach(rust)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The Rust pipeline. It may be changed; the next call uses it as it is then."""
        return self._tokenizer

    @property
    def decoder(self) -> Any:
        """The decoder of the Rust pipeline."""
        return self._tokenizer.decoder

    def _engine(self, truncation: Truncation | None, split_special: bool, special_tokens: int) -> Tokenizer:
        """The pipeline with these settings: itself, or a light copy that shares its vocabulary."""
        rust = self._rust
        if truncation is None and not split_special:
            if not self._exposed or (rust.padding is None and rust.truncation is None):
                return rust
            return light_copy(rust, None, rust.encode_special_tokens)
        key, variants = (truncation, split_special), self._variants
        if not self._exposed and (ready := variants.get(key)) is not None:
            return ready
        if truncation is not None:
            _check_room(truncation, special_tokens)
        made = light_copy(rust, truncation, split_special)
        if not self._exposed:
            if len(variants) >= VARIANTS:
                variants.clear()
            variants[key] = made  # of the pipeline as it was above: where it changed since, nobody asks this any more
        return made

    def _changed(self) -> None:
        """Forget the copies that were made before the pipeline changed."""
        self._variants = {}
        self._added = None

    # -- vocabulary -------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens."""
        return self._rust.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self._rust.get_vocab_size(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return self._rust.get_vocab(with_added_tokens=True)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> token, of the tokens that are matched before the text is split."""
        added = self._added
        if added is None or self._exposed:
            self._added = added = dict(sorted(self._rust.get_added_tokens_decoder().items()))
        return dict(added)

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Token -> id, of the tokens that are matched before the text is split."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Token -> id, of the tokens that are matched before the text is split."""
        return self.added_tokens_encoder

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens that are matched before the text is split.

        Args:
            new_tokens: a text or AddedToken, or a list of these.
            special_tokens: whether decoding with `skip_special_tokens` leaves them out.

        Returns:
            How many were new to the vocabulary.
        """
        if not isinstance(new_tokens, (list, tuple)):
            new_tokens = [new_tokens]
        for token in new_tokens:
            if content(token) is None:
                raise TokenizerError(f"add_tokens: {token!r} is neither a text nor an AddedToken.", field="new_tokens")
        if not new_tokens:
            return 0
        add = self._rust.add_special_tokens if special_tokens else self._rust.add_tokens
        before = len(self)
        add(list(new_tokens))
        self._changed()
        return len(self) - before

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Id of a token, ids of a list of them; the unknown token's id (or None) for what the vocabulary lacks."""
        if isinstance(tokens, str):
            found = self._rust.token_to_id(tokens)
            if found is None and (unknown := self._named.get("unk_token")) is not None:
                found = self._rust.token_to_id(unknown)
            return found
        if tokens is None:
            return None
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Token of an id, tokens of a list of them; None for ids that the vocabulary lacks."""
        ids = as_list(ids)
        if isinstance(ids, int):
            return self._token(ids, self.added_tokens_decoder)
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        added = self.added_tokens_decoder
        return [self._token(index, added) for index in map(int, ids) if index not in skipped]

    def _token(self, index: int, added: dict[int, AddedToken]) -> str | None:
        """Text of an id. The pipeline's own answer for an added token is its normalized form, as `▁<s>` for `<s>`."""
        if index in added:
            return added[index].content
        return self._rust.id_to_token(index) if 0 <= index < 1 << 32 else None

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text of tokens."""
        decoder = self._rust.decoder
        return decoder.decode(tokens) if decoder is not None else " ".join(tokens)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens the template puts around a text or a pair."""
        return self._rust.num_special_tokens_to_add(pair)

    # -- encoding ---------------------------------------------------------------------------------------------------

    def __call__(self, text: Any = None, text_pair: Any = None, *args: Any, **settings: Any) -> BatchEncoding:
        # One text with default settings is what most calls are: it goes with as little Python as can be. Attributes
        # are read from the dictionary, because the classes' `__getattr__` makes every other way of reading slow.
        own = self.__dict__
        if (
            type(text) is not str
            or text_pair is not None
            or args
            or settings
            or own["split_special_tokens"]
            or not self._plain_calls
            or self._exposed
        ):
            return super().__call__(text, text_pair, *args, **settings)
        rust = own["_rust"]
        try:
            encoding = rust.encode_batch_fast([text])[0]
        except BaseException as e:
            if isinstance(e, (KeyboardInterrupt, SystemExit)):
                raise
            return super().__call__(text)  # which says what is wrong
        ids = encoding.ids
        data = {}
        for name in own["model_input_names"]:
            if name == "input_ids":
                data[name] = ids
            elif name == "attention_mask":
                data[name] = [1] * len(ids)
            elif name == "token_type_ids":
                data[name] = encoding.type_ids
        if len(ids) > own["model_max_length"]:
            self._warn_if_long(len(ids), self.model_max_length)
        result = BatchEncoding.__new__(BatchEncoding)
        result.data = data
        result._encodings = lambda: [rust.encode(text)]
        result._n_sequences = 1
        return result

    __call__.__doc__ = PreTrainedTokenizerBase.__call__.__doc__

    _plain_calls = True  # classes with own encoding steps take the general way always

    def _encode_rows(self, rows: list[Any], plan: Plan, batched: bool) -> BatchEncoding:
        from autoload.text.rows import Rows

        pair = bool(rows) and isinstance(rows[0], tuple) and not plan.is_split_into_words
        if plan.is_split_into_words:
            pair = bool(rows) and isinstance(rows[0], tuple)
        special = self.num_special_tokens_to_add(pair) if plan.add_special_tokens else 0
        rust = self._engine(plan.truncation, plan.split_special_tokens, special)
        encoded = Rows(rust, rows, plan)
        data = encoded.columns(self.model_input_names)
        if plan.warn_length is not None and plan.truncation is None:
            for row in data["input_ids"]:
                self._warn_if_long(len(row), plan.warn_length)
        nested = batched or plan.return_overflowing_tokens
        if not nested and plan.return_tensors is None:
            data = {key: value[0] for key, value in data.items()}
        return BatchEncoding(data, encoded.encodings, plan.return_tensors, n_sequences=2 if pair else 1)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **settings: Any
    ) -> list[str]:
        """Tokens of a text."""
        return self._encode(text, pair, add_special_tokens=add_special_tokens, **settings).tokens()

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> str:
        options.pop("use_source_tokenizer", None)
        if skip_special_tokens:  # by id: the pipeline compares texts, and misses tokens that it keeps normalized
            special = {index for index, token in self.added_tokens_decoder.items() if token.special}
            ids = [index for index in ids if index not in special]
        try:
            text = self._rust.decode(ids, skip_special_tokens=skip_special_tokens)
        except OverflowError as e:
            wrong = next(index for index in ids if not 0 <= index < 1 << 32)
            raise TokenizerError(
                f"decode: {wrong} is no id; labels padded with -100 need these replaced.", field="token_ids"
            ) from e
        if self.clean_up_tokenization_spaces if clean_up is None else clean_up:
            return self._clean_up(text)
        return text

    def _clean_up(self, text: str) -> str:
        """Cleaning damages what BPE tokens spell exactly, so it is for word-piece and unigram models."""
        if type(self._rust.model).__name__ == "BPE" and not self.init_kwargs.get(
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"
        ):
            return text
        return self.clean_up_tokenization(text)

    def _template_ids(self, first: list[int], second: list[int] | None) -> list[int]:
        template = templates.read(self._rust, second is not None)
        return templates.spread(template, first, second, lambda piece: piece.ids)

    def _template_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        template = templates.read(self._rust, second is not None)
        plain = ([0] * len(first), [0] * len(second or []))
        return templates.spread(template, *plain, lambda piece: [1] * len(piece.ids))

    def _template_types(self, first: list[int], second: list[int] | None) -> list[int]:
        template = templates.read(self._rust, second is not None)
        types = {piece.sequence: piece.type_id for piece in template}
        rows = ([types.get(0, 0)] * len(first), [types.get(1, 0)] * len(second or []))
        return templates.spread(template, *rows, lambda piece: [piece.type_id] * len(piece.ids))

    # -- training and copies ----------------------------------------------------------------------------------------

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[Any],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: list[Any] | None = None,
        special_tokens_map: dict[str, str] | None = None,
        **trainer: Any,
    ) -> PreTrainedTokenizerFast:
        """A tokenizer with this one's pipeline and a new vocabulary, learned from texts.

        Args:
            text_iterator: texts, or batches of texts.
            vocab_size: size of the vocabulary to learn.
            length: number of texts, for the progress bar.
            new_special_tokens: special tokens to add.
            special_tokens_map: old special token -> its new text.
            trainer: further keywords of the trainer of this kind of model.
        """
        from autoload.text.training import train

        return train(self, text_iterator, vocab_size, length, new_special_tokens, special_tokens_map, trainer)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rust": written(self._rust), "_exposed": self._exposed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rust, exposed = state.pop("_rust"), state.pop("_exposed")
        for key, value in state.items():
            object.__setattr__(self, key, value)
        self._attach(rust)
        self._exposed = exposed

    def __deepcopy__(self, memo: dict[int, Any]) -> PreTrainedTokenizerFast:
        import copy

        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__setstate__({key: copy.deepcopy(value, memo) for key, value in self.__getstate__().items()})
        return other


def light_copy(rust: Tokenizer, truncation: Truncation | None, split_special: bool) -> Tokenizer:
    """The same pipeline with other settings; model, normalizer and the rest are shared, not copied."""
    other = Tokenizer(rust.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(rust, part)) is not None:
            setattr(other, part, value)
    added = rust.get_added_tokens_decoder()
    other.add_tokens([added[index] for index in sorted(added)])
    other.encode_special_tokens = split_special
    if truncation is not None:
        other.enable_truncation(
            max_length=truncation.max_length,
            stride=truncation.stride,
            strategy=truncation.strategy,
            direction=truncation.direction,
        )
    return other


def _check_room(truncation: Truncation, special_tokens: int) -> None:
    room = truncation.max_length - special_tokens
    if room < 0:
        raise TokenizerError(
            f"max_length={truncation.max_length} leaves no room beside the {special_tokens} special tokens.",
            field="max_length",
        )
    if truncation.stride and truncation.stride >= room:
        raise TokenizerError(
            f"stride={truncation.stride} is not below {room}, the {truncation.max_length} tokens of max_length less "
            f"{special_tokens} special tokens: pieces would never advance. Lower stride or raise max_length.",
            field="stride",
        )
