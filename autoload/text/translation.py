"""Tokenizers of translation models: a language code stands in the template, another one for target texts."""

from __future__ import annotations

from typing import Any

from autoload.errors import TokenizerError, did_you_mean
from autoload.text import templates
from autoload.text.encoding import BatchEncoding
from autoload.text.fast import PreTrainedTokenizerFast, light_copy


class TranslationTokenizer(PreTrainedTokenizerFast):
    """A tokenizer with a source and a target language. Target texts go through a twin, so calls change no state."""

    default_lang = "en_XX"
    default_target: str | None = None
    _plain_calls = True

    def _finish(self, settings: dict[str, Any]) -> None:
        self._twins: dict[str, Any] = {}
        source, target = settings.get("src_lang"), settings.get("tgt_lang")
        self._src_lang = self._code(source) if source else self.default_lang
        self._tgt_lang = self._code(target) if target else self.default_target
        if source or (self._rust.post_processor is None and self._rust.token_to_id(self._src_lang) is not None):
            self._set_template(self._src_lang)

    def _code(self, language: str) -> str:
        """The token of a language."""
        return language

    def _frame(self, code: str) -> tuple[str, str]:
        """Single and pair template around texts of a language."""
        raise NotImplementedError

    def _frame_target(self, code: str) -> tuple[str, str]:
        """Single and pair template around texts that the model is to produce."""
        return self._frame(code)

    def _set_template(self, code: str, target: bool = False) -> None:
        if self._rust.token_to_id(code) is None:
            known = [token for token in self._extra if "_" in token]
            raise TokenizerError(
                f"{code!r} is no language of this tokenizer{did_you_mean(code, known)}.", field="src_lang"
            )
        frame = self._frame_target(code) if target else self._frame(code)
        self._rust.post_processor = templates.write(self._rust, *frame)
        self._changed()

    def _changed(self) -> None:
        super()._changed()
        self.__dict__["_twins"] = {}

    def _twin(self, code: str) -> Any:
        """This tokenizer with the template of another language."""
        twin = self._twins.get(code)
        if twin is None or self._exposed:
            twin = type(self).__new__(type(self))
            twin.__dict__.update(self.__dict__)
            twin._attach(light_copy(self._rust, None, False))
            twin._set_template(code, target=True)
            self._twins[code] = twin
        return twin

    @property
    def src_lang(self) -> str:
        """Language of the texts. Setting it changes the template."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        code = self._code(language)
        self._set_template(code)
        self._src_lang = code

    @property
    def tgt_lang(self) -> str | None:
        """Language of target texts."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, language: str | None) -> None:
        self._tgt_lang = None if language is None else self._code(language)

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        """Language code -> id."""
        known = self.get_vocab()
        return {code: known[code] for code in self._extra if code in known}

    def _encode_target(self, text: Any, pair: Any, settings: dict[str, Any]) -> BatchEncoding:
        return self._twin(self._tgt_lang or self._src_lang)._encode(text, pair, **settings)

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Put the source language into the template."""
        self._set_template(self._code(src_lang))

    def set_tgt_lang_special_tokens(self, lang: str) -> None:
        """Put a target language into the template."""
        self._set_template(self._code(lang), target=True)

    def _switch_to_target_mode(self) -> None:
        self._set_template(self._tgt_lang or self._src_lang, target=True)

    def _switch_to_input_mode(self) -> None:
        self._set_template(self._src_lang)

    def _build_translation_inputs(
        self, raw_inputs: Any, return_tensors: str, src_lang: str | None, tgt_lang: str | None, **settings: Any
    ) -> BatchEncoding:
        """Inputs of a translation, with the id that the answer has to begin with."""
        if src_lang is None or tgt_lang is None:
            raise TokenizerError("Translation needs a src_lang and a tgt_lang for this model.", field="tgt_lang")
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, return_tensors=return_tensors, **settings)
        inputs["forced_bos_token_id"] = self.convert_tokens_to_ids(self._code(tgt_lang))
        return inputs


class MBartTokenizer(TranslationTokenizer):
    """Texts end in the language: `A </s> en_XX`."""

    def _frame(self, code: str) -> tuple[str, str]:
        return f"$A {self.eos_token} {code}", f"$A $B {self.eos_token} {code}"


class MBart50Tokenizer(TranslationTokenizer):
    """Texts begin with the language: `en_XX A </s>`."""

    def _frame(self, code: str) -> tuple[str, str]:
        return f"{code} $A {self.eos_token}", f"{code} $A $B {self.eos_token}"


class NllbTokenizer(MBart50Tokenizer):
    """mBART-50's order; with `legacy_behaviour` mBART's."""

    default_lang = "eng_Latn"

    def _frame(self, code: str) -> tuple[str, str]:
        if self.init_kwargs.get("legacy_behaviour"):
            return MBartTokenizer._frame(self, code)  # type: ignore[arg-type]
        return super()._frame(code)


class PLBartTokenizer(MBartTokenizer):
    """mBART's order, with codes in underscores; texts of the small set name no language unless asked to."""

    default_lang = "__en_XX__"

    def _finish(self, settings: dict[str, Any]) -> None:
        if settings.get("language_codes") == "multi":
            settings.setdefault("src_lang", "__en_XX__")
        super()._finish(settings)
        if not settings.get("src_lang"):
            self._rust.post_processor = templates.write(self._rust, f"$A {self.eos_token}", f"$A $B {self.eos_token}")

    def _code(self, language: str) -> str:
        return language if language.startswith("__") else f"__{language}__"

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> str:
        return super()._decode(ids, skip_special_tokens, clean_up, **options).strip()


class SeamlessM4TTokenizer(MBart50Tokenizer):
    """mBART-50's order, with codes in underscores: `__eng__ A </s>`; target texts begin with `</s>` before that."""

    default_lang = "__eng__"
    default_target = "__fra__"

    def _code(self, language: str) -> str:
        return language if "__" in language else f"__{language}__"

    def _frame_target(self, code: str) -> tuple[str, str]:
        return tuple(f"{self.eos_token} {frame}" for frame in self._frame(code))  # type: ignore[return-value]
