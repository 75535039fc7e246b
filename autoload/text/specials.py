"""The named tokens of a tokenizer: `bos_token`, `pad_token_id`, and whatever else a model gives a name."""

from __future__ import annotations

from typing import Any

from autoload.errors import TokenizerError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class NamedToken:
    """Attribute `x_token`: the token's text, or None. Setting it names a token; it adds none to the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: SpecialTokens, owner: type | None = None) -> str | None:
        return tokenizer._named.get(self.name) if tokenizer is not None else self  # type: ignore[return-value]

    def __set__(self, tokenizer: SpecialTokens, value: Any) -> None:
        tokenizer._name_token(self.name, value)


class NamedTokenId:
    """Attribute `x_token_id`: the id of the token of that name, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: SpecialTokens, owner: type | None = None) -> int | None:
        if tokenizer is None:
            return self  # type: ignore[return-value]
        token = tokenizer._named.get(self.name)
        return None if token is None else tokenizer.convert_tokens_to_ids(token)

    def __set__(self, tokenizer: SpecialTokens, value: int | None) -> None:
        tokenizer._name_token(self.name, None if value is None else tokenizer.convert_ids_to_tokens(value))


class SpecialTokens:
    """Named and extra special tokens, over the vocabulary methods of a tokenizer."""

    bos_token, bos_token_id = NamedToken(), NamedTokenId()
    eos_token, eos_token_id = NamedToken(), NamedTokenId()
    unk_token, unk_token_id = NamedToken(), NamedTokenId()
    sep_token, sep_token_id = NamedToken(), NamedTokenId()
    pad_token, pad_token_id = NamedToken(), NamedTokenId()
    cls_token, cls_token_id = NamedToken(), NamedTokenId()
    mask_token, mask_token_id = NamedToken(), NamedTokenId()

    _named: dict[str, str]  # name -> token, in the order of NAMES, then the model's own
    _extra: list[str]  # special tokens without a name

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        raise NotImplementedError

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        raise NotImplementedError

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        raise NotImplementedError

    def _name_token(self, name: str, value: Any) -> None:
        if value is None:
            self._named.pop(name, None)
            return
        text = content(value)
        if text is None:
            raise TokenizerError(f"{name}={value!r}: expected a text or an AddedToken.", field=name)
        self._named[name] = text
        order = [*NAMES, *(key for key in self._named if key not in NAMES)]
        self._named = {key: self._named[key] for key in order if key in self._named}

    def __getattr__(self, name: str) -> Any:
        """Tokens that only this model names: `image_token`, `image_token_id`."""
        if not name.startswith("_"):
            named = self.__dict__.get("_named", {})
            if name in named:
                return named[name]
            if name.endswith("_id") and name[:-3] in named:
                return self.convert_tokens_to_ids(named[name[:-3]])
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        named = self.__dict__.get("_named")
        if named is not None and name not in NAMES and (name in named or name.removesuffix("_id") in named):
            if name.endswith("_id"):
                name, value = name[:-3], self.convert_ids_to_tokens(value)
            self._name_token(name, value)
            return
        object.__setattr__(self, name, value)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Name of each named token -> its text."""
        return dict(self._named)

    @property
    def all_special_tokens(self) -> list[str]:
        """Named tokens, then extra ones, each once."""
        return list(dict.fromkeys([*self._named.values(), *self._extra]))

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    @property
    def extra_special_tokens(self) -> list[str]:
        """Special tokens that have no name of their own."""
        return list(self._extra)

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: list[Any]) -> None:
        self._extra = [content(token) or "" for token in tokens]

    @property
    def extra_special_tokens_ids(self) -> list[int]:
        """Ids of `extra_special_tokens`."""
        return self.convert_tokens_to_ids(self.extra_special_tokens)

    def add_special_tokens(
        self, special_tokens_dict: dict[str, Any], replace_extra_special_tokens: bool = True, **old: bool
    ) -> int:
        """Name tokens, and add those that the vocabulary lacks.

        Args:
            special_tokens_dict: name -> text or AddedToken; under `extra_special_tokens` (or its old name
                `additional_special_tokens`) a list of these.
            replace_extra_special_tokens: whether the list replaces the extra tokens or extends them.

        Returns:
            How many tokens were new to the vocabulary.

        Raises:
            TokenizerError: a name that is no token's, or a value that is no token.
        """
        replace = old.pop("replace_additional_special_tokens", replace_extra_special_tokens)
        reject_unknown(f"{type(self).__name__}.add_special_tokens", old, ("replace_extra_special_tokens",))
        added = 0
        for key, value in special_tokens_dict.items():
            if key in ("extra_special_tokens", "additional_special_tokens"):
                if not isinstance(value, (list, tuple)) or any(content(token) is None for token in value):
                    raise TokenizerError(f"{key}={value!r}: expected a list of texts or AddedTokens.", field=key)
                new = [content(token) or "" for token in value]
                self._extra = new if replace else list(dict.fromkeys([*self._extra, *new]))
                added += self.add_tokens(list(value), special_tokens=True)
            elif key in NAMES or key in self._named or key.endswith("_token"):
                self._name_token(key, value)
                added += self.add_tokens([value], special_tokens=True)
            else:
                raise TokenizerError(
                    f"{key!r} is no special token: expected one of {', '.join(NAMES)} or extra_special_tokens.",
                    field=key,
                )
        return added

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 for each id that is a special token, 0 for the others.

        Args:
            token_ids_0: ids with special tokens in them; ids without, when `already_has_special_tokens` is False.
            token_ids_1: ids of the second text, without special tokens.
        """
        if not already_has_special_tokens:
            return self._template_mask(token_ids_0, token_ids_1)
        if token_ids_1 is not None:
            raise TokenizerError(
                "token_ids_1 goes with already_has_special_tokens=False; ids with special tokens are one list.",
                field="token_ids_1",
            )
        special = set(self.all_special_ids)
        return [int(index in special) for index in as_list(token_ids_0)]

    def _template_mask(self, first: list[int], second: list[int] | None) -> list[int]:
        raise NotImplementedError


def content(token: Any) -> str | None:
    """Text of a token given as text, as AddedToken, or as the dictionary that configurations hold."""
    if isinstance(token, str):
        return token
    if isinstance(token, dict):
        token = token.get("content")
        return token if isinstance(token, str) else None
    text = getattr(token, "content", None)
    return text if isinstance(text, str) else None


def as_list(ids: Any) -> Any:
    """Ids of a tensor or an array as Python numbers."""
    return ids.tolist() if hasattr(ids, "tolist") else ids


def reject_unknown(function: str, given: dict[str, Any], known: Any) -> None:
    """Refuse keywords that a function does not take.

    Raises:
        ArgumentError: there is one; it names the nearest known keyword.
    """
    if given:
        from autoload.errors import unknown_argument

        raise unknown_argument(function, next(iter(given)), known)
