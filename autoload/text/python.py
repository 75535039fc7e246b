"""PreTrainedTokenizer: tokenizers that are not Rust pipelines: bytes, characters, two models at once.

A subclass brings a vocabulary and four small methods; matching added tokens, the template, truncation and padding are
here. There are no offsets, so encodings have no alignment.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from autoload.bridge import stands_for
from autoload.errors import TokenizerError
from autoload.hub import Files
from autoload.text.base import PreTrainedTokenizerBase
from autoload.text.encoding import BatchEncoding
from autoload.text.ids import frame_ids
from autoload.text.padding import pad_columns
from autoload.text.plan import Plan
from autoload.text.specials import as_list, content


@stands_for("transformers.tokenization_python", "PythonBackend")
class PreTrainedTokenizer(PreTrainedTokenizerBase):
    """A tokenizer in Python."""

    strip_named = False  # whether named tokens take the white space around them
    optional_files: tuple[str, ...] = ()

    # -- what subclasses bring --------------------------------------------------------------------------------------

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        """Read the vocabulary."""

    def _pieces(self, text: str) -> list[str]:
        """Tokens of a text without added tokens in it."""
        raise NotImplementedError

    def _piece_id(self, piece: str) -> int | None:
        """Id of a token of the vocabulary; None for others."""
        raise NotImplementedError

    def _id_piece(self, index: int) -> str | None:
        """Token of an id of the vocabulary; None for others."""
        raise NotImplementedError

    def _own_vocab(self) -> dict[str, int]:
        """The vocabulary without added tokens."""
        raise NotImplementedError

    def _join(self, tokens: list[str]) -> str:
        """Text of tokens, added tokens among them."""
        return " ".join(tokens)

    @property
    def _id_count(self) -> int:
        """How many ids the vocabulary takes; added tokens have those from here on."""
        return self.vocab_size

    # -- loading ----------------------------------------------------------------------------------------------------

    def __init__(self, *args: Any, **settings: Any):
        names = list(self.recipe.files)
        settings.update(zip(names, args, strict=False))
        paths = {key: Path(settings.pop(key)) for key in names if settings.get(key) is not None}
        missing = [key for key in names if key not in paths and key not in self.optional_files]
        if missing:
            raise TokenizerError(f"{type(self).__name__} needs {', '.join(missing)}.", field=missing[0])
        self._build(paths, settings)

    @classmethod
    def _from_files(
        cls, files: Files, with_json: str | None, settings: dict[str, Any], given: dict[str, Any]
    ) -> PreTrainedTokenizer:
        paths = {}
        for key, name in cls.recipe.files.items():
            path = files.find(name)
            if path is not None:
                paths[key] = path
            elif key not in cls.optional_files:
                raise files.missing([name], f"{cls.__name__} needs it")
        tokenizer = cls.__new__(cls)
        tokenizer._build(paths, settings)
        return tokenizer

    def _build(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        from autoload.text.loading import extra_tokens

        added = list(settings.pop("added_tokens", {}).values())
        for key, value in {**self.recipe.tokens, **self.recipe.defaults}.items():
            settings.setdefault(key, value)
        self._added: dict[str, int] = {}
        self._added_tokens: dict[int, AddedToken] = {}
        self._pattern: re.Pattern[str] | None = None
        self._open(paths, settings)
        extra = extra_tokens(settings)
        self._settle(settings)
        for key, value in settings.items():
            if key.endswith("_token") and key not in self._named and content(value) is not None:
                self._name_token(key, value)
        self._extra = [content(token) or "" for token in extra]
        self._seed_added()
        self.add_tokens(added)
        for name, text in self._named.items():
            if text not in self._added:
                flags = settings[name] if isinstance(settings.get(name), dict) else {}
                token = AddedToken(
                    text,
                    special=True,
                    normalized=False,
                    lstrip=flags.get("lstrip", self.strip_named),
                    rstrip=flags.get("rstrip", self.strip_named),
                )
                self.add_tokens([token])
        self.add_tokens([token for token in extra if content(token) not in self._added], special_tokens=True)
        self._finish(settings)

    def _seed_added(self) -> None:
        """Added tokens that the class itself has, ahead of those of the files."""

    def _finish(self, settings: dict[str, Any]) -> None:
        """A class's own last steps."""

    # -- vocabulary -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        count = self._id_count
        return count + sum(
            index >= count and self._piece_id(token.content) is None for index, token in self._added_tokens.items()
        )

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return {**self._own_vocab(), **self._added}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> token, of the tokens that are matched before the text is split."""
        return dict(sorted(self._added_tokens.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Token -> id, of the tokens that are matched before the text is split."""
        return dict(sorted(self._added.items(), key=lambda item: item[1]))

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
        tokens = new_tokens if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        before = len(self)
        for token in tokens:
            text = content(token)
            if text is None:
                raise TokenizerError(f"add_tokens: {token!r} is neither a text nor an AddedToken.", field="new_tokens")
            if not text:
                continue
            if not isinstance(token, AddedToken):
                token = AddedToken(text, special=special_tokens, normalized=False)
            if special_tokens:
                token.special = True
            index = self._added.get(text)
            if index is None:
                index = self._piece_id(text)
            if index is None:
                index = len(self)
            self._added[text], self._added_tokens[index] = index, token
        self._pattern = None
        return len(self) - before

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Id of a token, ids of a list of them; the unknown token's id (or None) for what the vocabulary lacks."""
        if isinstance(tokens, str):
            found = self._added.get(tokens)
            if found is None:
                found = self._piece_id(tokens)
            unknown = self._named.get("unk_token")
            if found is None and unknown is not None and unknown != tokens:
                return self.convert_tokens_to_ids(unknown)
            return found
        if tokens is None:
            return None
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Token of an id, tokens of a list of them; the unknown token (or None) for ids that the vocabulary lacks."""
        ids = as_list(ids)
        if isinstance(ids, int):
            if ids in self._added_tokens:
                return self._added_tokens[ids].content
            found = self._id_piece(ids) if ids >= 0 else None
            return self._named.get("unk_token") if found is None else found
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.convert_ids_to_tokens(int(index)) for index in ids if index not in skipped]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text of tokens."""
        return self._join(tokens)

    # -- template ---------------------------------------------------------------------------------------------------

    def _template_ids(self, first: list[int], second: list[int] | None) -> list[int]:
        return [item for part, _ in self._parts(first, second) for item in part]

    def _template_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        return [int(special) for part, special in self._parts(first, second) for _ in part]

    def _template_types(self, first: list[int], second: list[int] | None) -> list[int]:
        return [0] * len(self._template_ids(first, second))

    def _parts(self, first: list[int], second: list[int] | None) -> list[tuple[list[int], bool]]:
        """The rows and the special tokens around them, in order; whether each is special."""
        template = self._template(second is not None)
        rows = {"$A": first, "$B": second or []}
        return [
            (rows[word], False) if word in rows else ([self.convert_tokens_to_ids(word)], True) for word in template
        ]

    def _template(self, pair: bool) -> list[str]:
        """Tokens around a text or a pair."""
        words = (self.recipe.pair if pair else self.recipe.single) or ("$A $B" if pair else "$A")
        return [self._named.get(f"{word}_token", word) for word in words.split(" ")]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens the template puts around a text or a pair."""
        return len(self._template_ids([], [] if pair else None))

    # -- encoding ---------------------------------------------------------------------------------------------------

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **settings: Any
    ) -> list[str]:
        """Tokens of a text."""
        split = settings.pop("split_special_tokens", self.split_special_tokens)
        tokens = self._tokens(text, split)
        return tokens if pair is None else tokens + self._tokens(pair, split)

    def _tokens(self, text: str, split_special: bool) -> list[str]:
        tokens: list[str] = []
        for part, added in self._around_added(text, split_special):
            if added:
                tokens.append(part)
            elif part:
                tokens += self._pieces(part)
        return tokens

    def _around_added(self, text: str, split_special: bool) -> list[tuple[str, bool]]:
        """The text in parts; whether each is an added token. Longer tokens win over shorter ones."""
        known = {key: self._added_tokens[index] for key, index in self._added.items() if index in self._added_tokens}
        if split_special:
            return [(text, False)]
        if self._pattern is None:
            words = sorted(known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, words)) or r"(?!)")
        parts: list[tuple[str, bool]] = []
        position = 0
        for found in self._pattern.finditer(text):
            token, before = known[found[0]], text[position : found.start()]
            if token.single_word and _inside_word(text, found.start(), found.end()):
                continue
            if token.lstrip:
                before = before.rstrip()
            parts += [(before, False), (found[0], True)]
            position = found.end()
            if token.rstrip:
                position += len(text) - position - len(text[position:].lstrip())
        parts.append((text[position:], False))
        return parts

    def _ids(self, text: Any, plan: Plan) -> list[int]:
        words = text if isinstance(text, (list, tuple)) else [text]
        tokens: list[str] = []
        for word in words:
            tokens += self._tokens(word, plan.split_special_tokens)
        return self.convert_tokens_to_ids(tokens)

    def _encode_rows(self, rows: list[Any], plan: Plan, batched: bool) -> BatchEncoding:
        if plan.return_offsets_mapping:
            raise TokenizerError(
                f"{type(self).__name__} has no Rust pipeline, so it gives no offsets.", field="return_offsets_mapping"
            )
        columns: dict[str, list[Any]] = {}
        for row in rows:
            pair = isinstance(row, tuple) or (isinstance(row, list) and not plan.is_split_into_words)
            first, second = row if pair else (row, None)
            data = self._row(self._ids(first, plan), None if second is None else self._ids(second, plan), plan)
            for key, value in data.items():
                columns.setdefault(key, []).append(value)
        for key in ("overflowing_tokens", "num_truncated_tokens") if plan.return_tensors is not None else ():
            columns.pop(key, None)
        if not rows:
            columns["input_ids"] = []
        columns = pad_columns(columns, "input_ids", plan.padding, plan.return_attention_mask)
        if plan.return_length:
            columns["length"] = [len(row) for row in columns["input_ids"]]
        if not batched and plan.return_tensors is None:
            columns = {key: value[0] for key, value in columns.items()}
        return BatchEncoding(columns, tensor_type=plan.return_tensors)

    def _row(self, first: list[int], second: list[int] | None, plan: Plan) -> dict[str, Any]:
        cut = plan.truncation
        data = frame_ids(
            self,
            first,
            second,
            add_special_tokens=plan.add_special_tokens,
            truncation=cut.strategy if cut else False,
            max_length=cut.max_length if cut else None,
            stride=cut.stride if cut else 0,
            return_attention_mask=False,  # the batch makes it, after padding
            return_token_type_ids=plan.return_token_type_ids,
            return_special_tokens_mask=plan.return_special_tokens_mask,
            return_overflowing_tokens=plan.return_overflowing_tokens,
        )
        if plan.warn_length is not None and cut is None:
            self._warn_if_long(len(data["input_ids"]), plan.warn_length)
        return data

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> Any:
        text = self._join(self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens))
        if self.clean_up_tokenization_spaces if clean_up is None else clean_up:
            return self.clean_up_tokenization(text)
        return text

    # -- copies and files -------------------------------------------------------------------------------------------

    def _twin(self, **changes: Any) -> Any:
        """This tokenizer with other attributes, sharing its vocabulary."""
        twin = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(twin, name, value)
        return twin

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        return {}


def _inside_word(text: str, start: int, end: int) -> bool:
    return (start > 0 and text[start - 1] != " ") or (end < len(text) and text[end] != " ")
