"""PreTrainedTokenizerBase: what all tokenizers do, whoever splits the text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoload.bridge import stands_for
from autoload.errors import TokenizerError
from autoload.text.classes import Recipe
from autoload.text.conversation import Conversations
from autoload.text.legacy import OldNames
from autoload.text.saving import Saving
from autoload.text.specials import NAMES, SpecialTokens, as_list, reject_unknown

if TYPE_CHECKING:
    from autoload.text.encoding import BatchEncoding
    from autoload.text.plan import Choice, Count, Plan, Tokens

UNLIMITED = int(1e30)  # model_max_length of a tokenizer that names none
TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
CLEANUP = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
           (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))  # fmt: skip


@stands_for("transformers.tokenization_utils_base")
class PreTrainedTokenizerBase(SpecialTokens, Conversations, Saving, OldNames):
    """Settings, special tokens, calls, padding and decoding, over an engine that subclasses bring."""

    vocab_files_names: dict[str, str] = {}
    model_input_names: list[str] = ["input_ids", "attention_mask"]
    padding_side: str = "right"
    truncation_side: str = "right"
    is_fast: bool = False

    def _settle(self, settings: dict[str, Any]) -> None:
        """Take the settings that all tokenizers have; what is left in `settings` is kept for a save.

        Raises:
            TokenizerError: a setting has a value that cannot be meant.
        """
        self._named, self._extra = {}, []
        self.init_kwargs = settings
        self.deprecation_warnings: dict[str, bool] = {}
        self.name_or_path = settings.pop("name_or_path", "")
        self.model_max_length = _limit(settings.get("model_max_length", settings.get("max_len")))
        for side in ("padding_side", "truncation_side"):
            value = settings.get(side, getattr(type(self), side))
            if value not in ("right", "left"):
                raise TokenizerError(f"{side} is {value!r}: expected 'right' or 'left'.", field=side)
            setattr(self, side, value)
        self.model_input_names = list(settings.get("model_input_names") or type(self).model_input_names)
        self.pad_token_type_id: int = settings.get("pad_token_type_id", type(self)._pad_type)
        self.clean_up_tokenization_spaces = bool(settings.get("clean_up_tokenization_spaces") or False)
        self.split_special_tokens = bool(settings.get("split_special_tokens") or False)
        self.chat_template = settings.pop("chat_template", None)
        self.response_schema = settings.get("response_schema")
        self.response_template = settings.get("response_template")
        for name in NAMES:
            self._name_token(name, settings.get(name))

    _pad_type = 0
    recipe: Recipe = Recipe()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *inputs: Any, **settings: Any) -> Any:
        """A tokenizer of this class, whatever class the files declare. Keywords as in `AutoTokenizer.from_pretrained`."""
        from autoload.text.auto import open_for
        from autoload.text.loading import load, read_config

        settings.pop("trust_remote_code", None)
        files = open_for(os.fspath(pretrained_model_name_or_path), settings)
        return load(cls, files, read_config(files), settings, os.fspath(pretrained_model_name_or_path))

    # -- sizes and vocabulary ---------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Size of the vocabulary with added tokens."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        raise NotImplementedError

    @property
    def vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return self.get_vocab()

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of one text fit beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of a pair fit beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens the template puts around a text or a pair."""
        raise NotImplementedError

    # -- calls ------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: Count = None,
        stride: Tokens = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: Count = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_token_type_ids: Choice = None,
        return_attention_mask: Choice = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        *,
        split_special_tokens: Choice = None,
        max_target_length: Count = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **more: Any,
    ) -> BatchEncoding:
        """Turn texts into model inputs.

        Args:
            text: one text, a batch of texts, or with `is_split_into_words` words and batches of these.
            text_pair: the second text of each pair.
            text_target: texts that the model is to produce; their ids become `labels` beside `text`.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False.
            max_length: in tokens, special tokens included; the model's own limit where None.
            stride: tokens that overflowing pieces share with the piece before.
            return_tensors: "pt", "np" or "mlx"; lists where None.

        Returns:
            The model's inputs by name: flat lists for one text, nested ones for a batch.

        Raises:
            TokenizerError: inputs or settings that cannot be meant.
            ArgumentError: an unknown keyword.
        """
        if tokenizer_kwargs:
            more = {**tokenizer_kwargs, **more}
        if more:
            more = self._own_arguments(more)
        if text is None and text_target is None:
            raise TokenizerError("Nothing to encode: pass text or text_target.", field="text")
        settings: dict[str, Any] = dict(
            # what goes in
            add_special_tokens=add_special_tokens,
            split_special_tokens=split_special_tokens,
            is_split_into_words=is_split_into_words,
            # how long it gets
            truncation=truncation,
            stride=stride,
            max_length=max_length,
            padding_side=padding_side,
            padding=padding,
            pad_to_multiple_of=pad_to_multiple_of,
            # what comes out
            return_tensors=return_tensors,
            return_length=return_length,
            return_offsets_mapping=return_offsets_mapping,
            return_attention_mask=return_attention_mask,
            return_token_type_ids=return_token_type_ids,
            return_special_tokens_mask=return_special_tokens_mask,
            return_overflowing_tokens=return_overflowing_tokens,
            verbose=verbose,
            **more,
        )
        encoding = None if text is None else self._encode(text, text_pair, **settings)
        if text_target is None:
            assert encoding is not None
            return encoding
        if max_target_length is not None:
            settings["max_length"] = max_target_length
        target = self._encode_target(text_target, text_pair_target, settings)
        if encoding is None:
            return target
        encoding["labels"] = target["input_ids"]
        return encoding

    def _encode_target(self, text: Any, pair: Any, settings: dict[str, Any]) -> BatchEncoding:
        """Encode texts that the model is to produce; translation models change language for these."""
        return self._encode(text, pair, **settings)

    def _own_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keywords of `__call__` that only this class takes."""
        import inspect

        known = inspect.signature(PreTrainedTokenizerBase.__call__).parameters
        reject_unknown(
            f"{type(self).__name__}.__call__", given, [name for name in known if name not in ("self", "more")]
        )
        return given

    def _encode(
        self,
        text: Any,
        pair: Any = None,
        *,
        padding: Any = False,
        truncation: Any = None,
        max_length: Count = None,
        stride: Tokens = 0,
        pad_to_multiple_of: Count = None,
        padding_side: str | None = None,
        return_token_type_ids: Choice = None,
        return_attention_mask: Choice = None,
        split_special_tokens: Choice = None,
        verbose: bool = True,
        is_split_into_words: bool = False,
        **outputs: Any,
    ) -> BatchEncoding:
        from autoload.text.plan import Plan, check_inputs, resolve

        batched = check_inputs(text, pair, is_split_into_words)
        filled, cut = resolve(self, padding, truncation, max_length, stride, pad_to_multiple_of, padding_side)
        plan = Plan(
            padding=filled,
            truncation=cut,
            is_split_into_words=is_split_into_words,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            return_token_type_ids=_wanted(return_token_type_ids, "token_type_ids", self.model_input_names),
            return_attention_mask=_wanted(return_attention_mask, "attention_mask", self.model_input_names),
            warn_length=self.model_max_length if verbose and max_length is None else None,
            **outputs,
        )
        if batched:
            rows = list(text) if pair is None else list(zip(text, pair, strict=True))
            return self._encode_rows(rows, plan, batched=True)
        row = (text, pair) if pair else text  # an empty second text of a single call is no second text
        return self._encode_rows([row], plan, batched=False)

    def _encode_rows(self, rows: list[Any], plan: Plan, batched: bool) -> BatchEncoding:
        raise NotImplementedError

    def encode(self, text: Any, text_pair: Any = None, **settings: Any) -> Any:
        """Ids of a text, with special tokens; keywords as in a call."""
        return self(text, text_pair, **settings)["input_ids"]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **settings: Any
    ) -> list[str]:
        """Tokens of a text."""
        raise NotImplementedError

    def _warn_if_long(self, length: int, limit: int | None) -> None:
        if limit is None or length <= limit or TOO_LONG in self.deprecation_warnings:
            return
        import logging

        self.deprecation_warnings[TOO_LONG] = True
        logging.getLogger("autoload.text").warning(
            "Token indices sequence length is longer than the specified maximum sequence length for this model "
            "(%d > %d). The model may fail on it, or give poor results; pass truncation=True.",
            length,
            limit,
        )

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Bring encoded examples to one length.

        Args:
            encoded_inputs: one example, a list of examples, or a mapping from names to lists of rows.
            padding: True or "longest", "max_length", or False.
            return_tensors: "pt", "np" or "mlx"; where None, tensors stay tensors and lists stay lists.
        """
        from autoload.text.padding import pad_examples

        mask = _wanted(return_attention_mask, "attention_mask", self.model_input_names)
        return pad_examples(
            self, encoded_inputs, padding, max_length, pad_to_multiple_of, padding_side, mask, return_tensors
        )

    # -- decoding ---------------------------------------------------------------------------------------------------

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> Any:
        """Text of ids; a list of texts for nested ids.

        Args:
            token_ids: a number, a list, a tensor or an array of ids.
            skip_special_tokens: leave special tokens out.
            clean_up_tokenization_spaces: drop the space before punctuation; the tokenizer's setting where None.
        """
        ids = as_list(token_ids)
        if not isinstance(ids, (int, Sequence)) or isinstance(ids, str):
            raise TokenizerError(f"decode: expected ids, found {type(ids).__name__}.", field="token_ids")
        if isinstance(ids, Sequence) and len(ids) and not isinstance(ids[0], int):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **options) for row in ids]
        ids = [ids] if isinstance(ids, int) else _integers(ids)
        return self._decode(ids, skip_special_tokens, clean_up_tokenization_spaces, **options)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **options: Any,
    ) -> list[str]:
        """Texts of a batch of ids."""
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **options)
        return texts if isinstance(texts, list) else [texts]

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Drop the spaces that word-by-word decoding puts before punctuation and contractions."""
        for spaced, joined in CLEANUP:
            out_string = out_string.replace(spaced, joined)
        return out_string

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )

    def _repr_html_(self) -> str:
        from autoload.notebook import card

        facts = {
            "loaded from": self.name_or_path,
            "tokens": f"{self.vocab_size:,} and {len(self) - self.vocab_size:,} added",
            "model_max_length": self.model_max_length if self.model_max_length < UNLIMITED else "no limit",
            "padding, truncation": f"{self.padding_side}, {self.truncation_side}",
            "inputs": ", ".join(self.model_input_names),
            **self.special_tokens_map,
        }
        return card(type(self).__name__, facts)


def _integers(ids: Any) -> list[int]:
    try:
        return [int(index) for index in ids]
    except (TypeError, ValueError) as e:
        raise TokenizerError(f"decode: expected ids, found {ids!r:.80}.", field="token_ids") from e


def _wanted(asked: bool | None, name: str, names: list[str]) -> bool:
    return name in names if asked is None else asked


def _limit(value: Any) -> int:
    if value is None:
        return UNLIMITED
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value < 1:
        raise TokenizerError(f"model_max_length is {value!r}: expected a number above 0.", field="model_max_length")
    return UNLIMITED if value == float("inf") else int(value)
