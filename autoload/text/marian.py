"""Tokenizers that split with a SentencePiece model and look the pieces up in a vocabulary of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from autoload.errors import ConfigError, TokenizerError, did_you_mean, reading
from autoload.text.encoding import BatchEncoding
from autoload.text.languages import M2M100, WMT21
from autoload.text.lookup import LookupTokenizer
from autoload.text.pipelines import read_vocab
from autoload.text.sentencepiece import SPACE, pipeline
from autoload.text.spmodel import CONTROL, UNKNOWN, read_model

SETS = {"m2m100": M2M100, "wmt21": WMT21}


def open_splitter(path: Path) -> Tokenizer:
    """The model of a file, without special tokens: it only splits. Control pieces never stand for their own text."""
    model = read_model(path)
    own = [(text if kind not in (UNKNOWN, CONTROL) else f"\0{text}", score) for text, score, kind in model.pieces]
    return pipeline(model, own, model.unk_id, special=False)


class SplitAndLookup(LookupTokenizer):
    """Pieces of a SentencePiece model, ids of a vocabulary."""

    _splitter: Tokenizer

    def _pieces(self, text: str) -> list[str]:
        encoding = self._splitter.encode(text, add_special_tokens=False)
        return encoding.tokens

    def _join(self, tokens: list[str]) -> str:
        """Pieces between special tokens are texts of their own."""
        special, parts, run = set(self.all_special_tokens), [], []
        for token in tokens:
            if token in special:
                parts += [_text(run), token + self._after_special]
                run = []
            else:
                run.append(token)
        return "".join([*parts, _text(run)]).strip()

    _after_special = ""

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        saved = super()._saved_vocabulary()
        return {**saved, **self._models}

    _models: dict[str, bytes]  # SentencePiece files as they were read


def _text(pieces: list[str]) -> str:
    text = "".join(pieces).replace(SPACE, " ")
    return text[1:] if text.startswith(" ") else text


class MarianTokenizer(SplitAndLookup):
    """Two models, for source and target; `>>fr<<` before a text stays whole."""

    optional_files = ("target_vocab_file",)
    _after_special = " "
    _target_splitter: Tokenizer

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        self._take(read_vocab(paths["vocab_file"]))
        unknown = settings["unk_token"]
        if unknown not in self._vocab:
            raise ConfigError(unknown, None, "an id", where=str(paths["vocab_file"]))
        self._source_vocab = self._target_vocab = self._vocab
        if settings.get("separate_vocabs"):
            self._target_vocab = read_vocab(paths["target_vocab_file"])
            self._tokens_of = {index: token for token, index in self._target_vocab.items()}
        self._splitter, self._target_splitter = open_splitter(paths["source_spm"]), open_splitter(paths["target_spm"])
        self._source_splitter = self._splitter
        self._models = {self.recipe.files[key]: paths[key].read_bytes() for key in ("source_spm", "target_spm")}

    @property
    def supported_language_codes(self) -> list[str]:
        """Codes of target languages that may stand before a text."""
        return [token for token in self._source_vocab if token.startswith(">>") and token.endswith("<<")]

    def _pieces(self, text: str) -> list[str]:
        code, end, rest = text.partition("<<")
        if text.startswith(">>") and end:
            return [code + end, *super()._pieces(rest)]
        return super()._pieces(text)

    def _encode_target(self, text: Any, pair: Any, settings: dict[str, Any]) -> BatchEncoding:
        twin = self._twin(_splitter=self._target_splitter, _vocab=self._target_vocab)
        return twin._encode(text, pair, **settings)

    def _switch_to_target_mode(self) -> None:
        self._splitter, self._vocab = self._target_splitter, self._target_vocab

    def _switch_to_input_mode(self) -> None:
        self._splitter, self._vocab = self._source_splitter, self._source_vocab

    def _decode(self, ids: list[int], skip_special_tokens: bool, clean_up: bool | None, **options: Any) -> str:
        options.pop("use_source_tokenizer", None)  # both models spell their pieces alike
        return super()._decode(ids, skip_special_tokens, clean_up, **options)

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        saved = {**self._models, "vocab.json": json.dumps(self._source_vocab, indent=2, ensure_ascii=False)}
        if self._target_vocab is not self._source_vocab:
            saved["target_vocab.json"] = json.dumps(self._target_vocab, indent=2, ensure_ascii=False)
        return saved


class M2M100Tokenizer(SplitAndLookup):
    """A language before the text, `__en__`; languages have the ids after the vocabulary."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        super()._open(paths, settings)
        self._splitter = open_splitter(paths["spm_file"])
        self._models = {self.recipe.files["spm_file"]: paths["spm_file"].read_bytes()}
        self._codes = SETS[settings.get("language_codes") or "m2m100"]
        own = settings.pop("additional_special_tokens", None) or settings.get("extra_special_tokens") or []
        languages = [self.get_lang_token(code) for code in self._codes]
        settings["extra_special_tokens"] = [*languages, *(token for token in own if token not in languages)]

    def _seed_added(self) -> None:
        self.add_tokens([self.get_lang_token(code) for code in self._codes], special_tokens=True)

    def _finish(self, settings: dict[str, Any]) -> None:
        self._src_lang = settings.get("src_lang") or "en"
        self._tgt_lang = settings.get("tgt_lang")
        self._framed = self._known(self._src_lang)

    def _known(self, code: str) -> str:
        if code not in self._codes:
            raise TokenizerError(
                f"{code!r} is no language of this tokenizer{did_you_mean(code, self._codes)}.", field="src_lang"
            )
        return code

    def get_lang_token(self, lang: str) -> str:
        """The token of a language."""
        return f"__{lang}__"

    def get_lang_id(self, lang: str) -> int:
        """The id of a language."""
        return self._added[self.get_lang_token(self._known(lang))]

    @property
    def lang_code_to_id(self) -> dict[str, int]:
        """Language code -> id."""
        return {code: self.get_lang_id(code) for code in self._codes}

    def _template(self, pair: bool) -> list[str]:
        rows = ["$A", "$B"] if pair else ["$A"]
        return [self.get_lang_token(self._framed), *rows, self._named["eos_token"]]

    @property
    def src_lang(self) -> str:
        """Language of the texts. Setting it changes the template."""
        return self._src_lang

    @src_lang.setter
    def src_lang(self, language: str) -> None:
        self._src_lang = self._framed = self._known(language)

    @property
    def tgt_lang(self) -> str | None:
        """Language of target texts."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, language: str | None) -> None:
        self._tgt_lang = None if language is None else self._known(language)

    def set_src_lang_special_tokens(self, src_lang: str) -> None:
        """Put the source language into the template."""
        self._framed = self._known(src_lang)

    def set_tgt_lang_special_tokens(self, tgt_lang: str) -> None:
        """Put a target language into the template."""
        self._framed = self._known(tgt_lang)

    def _encode_target(self, text: Any, pair: Any, settings: dict[str, Any]) -> BatchEncoding:
        twin = self._twin(_framed=self._known(self._tgt_lang or self._src_lang))
        return twin._encode(text, pair, **settings)

    def _switch_to_target_mode(self) -> None:
        self._framed = self._known(self._tgt_lang or self._src_lang)

    def _switch_to_input_mode(self) -> None:
        self._framed = self._src_lang

    def _build_translation_inputs(
        self, raw_inputs: Any, src_lang: str | None, tgt_lang: str | None, **settings: Any
    ) -> BatchEncoding:
        """Inputs of a translation, with the id that the answer has to begin with."""
        if src_lang is None or tgt_lang is None:
            raise TokenizerError("Translation needs a src_lang and a tgt_lang for this model.", field="tgt_lang")
        self.src_lang = src_lang
        inputs = self(raw_inputs, add_special_tokens=True, **settings)
        inputs["forced_bos_token_id"] = self.get_lang_id(tgt_lang)
        return inputs


class Speech2TextTokenizer(SplitAndLookup):
    """Transcriptions; where the model translates, a language stands before them."""

    _after_special = " "
    languages = ("pt", "fr", "ru", "nl", "ro", "it", "es", "de")

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        super()._open(paths, settings)
        self._splitter = open_splitter(paths["spm_file"])
        self._models = {self.recipe.files["spm_file"]: paths["spm_file"].read_bytes()}
        self._tgt_lang: str | None = None
        if settings.get("lang_codes"):
            settings["extra_special_tokens"] = [f"<lang:{code}>" for code in self.languages]
            self._tgt_lang = settings.get("tgt_lang") or self.languages[0]

    @property
    def tgt_lang(self) -> str | None:
        """Language of the transcriptions."""
        return self._tgt_lang

    @tgt_lang.setter
    def tgt_lang(self, language: str) -> None:
        if language not in self.languages:
            raise TokenizerError(
                f"tgt_lang={language!r}: expected one of {', '.join(self.languages)}.", field="tgt_lang"
            )
        self._tgt_lang = language

    def _template(self, pair: bool) -> list[str]:
        first = [f"<lang:{self._tgt_lang}>"] if self._tgt_lang else []
        return [*first, "$A", *(["$B"] if pair else []), self._named["eos_token"]]

    def _join(self, tokens: list[str]) -> str:
        text = super()._join(tokens)
        return text.upper() if self.init_kwargs.get("do_upper_case") else text


class BartphoTokenizer(SplitAndLookup):
    """Pieces of a multilingual model, ids of the Vietnamese ones among them."""

    def _open(self, paths: dict[str, Path], settings: dict[str, Any]) -> None:
        names = ("bos_token", "pad_token", "eos_token", "unk_token", "sep_token", "cls_token")
        tokens = list(dict.fromkeys(settings[name] for name in names))
        with reading(paths["monolingual_vocab_file"], "vocabulary"):
            lines = paths["monolingual_vocab_file"].read_text(encoding="utf-8").splitlines()
        tokens += [line.split()[0] for line in lines if line.split()]
        self._take({token: index for index, token in enumerate(dict.fromkeys([*tokens, settings["mask_token"]]))})
        self._splitter = open_splitter(paths["vocab_file"])
        self._models = {
            self.recipe.files[key]: paths[key].read_bytes() for key in ("vocab_file", "monolingual_vocab_file")
        }

    def _join(self, tokens: list[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").strip()

    def _saved_vocabulary(self) -> dict[str, str | bytes]:
        return dict(self._models)
