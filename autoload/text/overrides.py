"""The short list of settings that change a pipeline; whatever else tokenizer.json says stands."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors

from autoload.errors import CorruptFile
from autoload.text import templates

SPACE = "▁"
MOST_GROWTH = 50_000
BERT_FLAGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def check_template(rust: Tokenizer, path: str) -> None:
    """Refuse a template with ids that the vocabulary lacks.

    Raises:
        CorruptFile: there is one.
    """
    size = rust.get_vocab_size(with_added_tokens=True)
    for pair in (False, True):
        for piece in templates.read(rust, pair):
            for index in piece.ids:
                if index >= size and rust.id_to_token(index) is None:
                    raise CorruptFile(
                        f"{path}: post_processor uses the token id {index}, expected one below {size}, the number of tokens.",
                        path=path,
                    )


def check_growth(rust: Tokenizer, path: str) -> None:
    """Refuse replacements that make a text many times as long: no model has them, and memory ends with them.

    Those of fixed texts are tried, on all the texts that they name; those of patterns count as if everything matched.

    Raises:
        CorruptFile: they do.
    """
    growing = (normalizers.Replace, normalizers.Prepend)
    chains = {
        "normalizer": [json.loads(s.__getstate__()) for s in _steps(rust.normalizer) if isinstance(s, growing)],
        "decoder": _decoders(json.loads(rust.decoder.__getstate__())) if rust.decoder is not None else [],
    }
    for name, steps in chains.items():
        replaced = [(step["pattern"], step["content"]) for step in steps if step.get("type") == "Replace"]
        sample = "".join({text: None for pattern, content in replaced for text in (pattern.get("String", ""), content)})
        before, factor = len(sample) + 1, 1
        size = before + sum(len(step["prepend"]) for step in steps if step.get("type") == "Prepend")
        for pattern, content in replaced:
            fixed = pattern.get("String")
            if fixed:
                size += sample.count(fixed) * (len(content) - len(fixed))
                sample = sample.replace(fixed, content) if size < before * MOST_GROWTH else sample
            else:
                factor *= max(1, len(content))
            if size * factor > before * MOST_GROWTH:
                text = f"{path}: {name} makes a text more than {MOST_GROWTH} times as long, expected a few times."
                raise CorruptFile(text, path=path)


def apply(tokenizer: Any, settings: dict[str, Any], given: dict[str, Any]) -> None:
    """Settings of the configuration and of the caller, onto a pipeline read from tokenizer.json."""
    rust = tokenizer._rust
    _bert_flags(rust, settings)
    if rust.decoder is None:
        decoder = _decoder_for(rust)
        if decoder is not None:
            rust.decoder = decoder
    for key in ("add_prefix_space", "trim_offsets"):
        value = settings.get(key)
        known = key in tokenizer.recipe.defaults or not tokenizer.recipe.files
        if isinstance(value, bool) and known and (key == "add_prefix_space" or key in given):
            _set_flag(rust, key, value)
    if isinstance(given.get("do_lower_case"), bool) and "do_lower_case" in tokenizer.recipe.defaults:
        _set_lower(rust, given["do_lower_case"])
    if isinstance(given.get("add_prefix_space"), bool):
        _set_prefix(rust, given["add_prefix_space"])
    if given.get("legacy") is False:
        prefix_once(rust)


def prefix_once(rust: Tokenizer) -> None:
    """Put the space before the first text only, not after every special token, and not before another space."""
    kept = [step for step in _steps(rust.normalizer) if not isinstance(step, normalizers.Prepend)]
    if len(kept) == len(_steps(rust.normalizer)):
        return
    rust.normalizer = normalizers.Sequence(kept)
    rust.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)


def split_as_tekken(rust: Tokenizer) -> None:
    """Split texts as Mistral's tekken vocabularies were made; some of their first conversions carry another split."""
    from autoload.text.tiktoken import TEKKEN_SPLIT

    before = rust.pre_tokenizer
    split = pre_tokenizers.Split(Regex(TEKKEN_SPLIT), "isolated")
    if isinstance(before, pre_tokenizers.Sequence):
        before[0] = split
        rust.pre_tokenizer = before
    elif before is not None:
        spelled = isinstance(before, pre_tokenizers.ByteLevel)
        rest = before if spelled else pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        rust.pre_tokenizer = pre_tokenizers.Sequence([split, rest])


def _set_prefix(rust: Tokenizer, value: bool) -> None:
    """The space before a text, where the pipeline spells spaces as SentencePiece does."""
    steps = _steps(rust.normalizer)
    kept = [step for step in steps if not isinstance(step, normalizers.Prepend)]
    spelled = any(b"\xe2\x96\x81" in step.__getstate__() for step in kept)
    if len(kept) < len(steps) and not value:
        rust.normalizer = normalizers.Sequence(kept)
    elif len(kept) == len(steps) and value and spelled and rust.pre_tokenizer is None:
        rust.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), *kept])
    before = rust.pre_tokenizer
    if before is not None:
        state = json.loads(before.__getstate__())
        parts = _parts(state)
        scheme = {part.get("prepend_scheme") for part in parts if part.get("type") == "Metaspace"}
        words = any(part.get("type") == "WhitespaceSplit" for part in parts)  # each word needs its prefix
        if scheme and not words and ("never" in scheme) is value:
            _change(state, "Metaspace", "prepend_scheme", "always" if value else "never")
            before.__setstate__(json.dumps(state).encode())
            rust.pre_tokenizer = before


def _set_lower(rust: Tokenizer, value: bool) -> None:
    """Lower case before the model, or its absence; BERT's normalizer has a flag of its own."""
    steps = _steps(rust.normalizer)
    if any(isinstance(step, normalizers.BertNormalizer) for step in steps):
        return
    kept = [step for step in steps if not isinstance(step, normalizers.Lowercase)]
    if value != (len(kept) < len(steps)):
        rust.normalizer = normalizers.Sequence([normalizers.Lowercase(), *kept] if value else kept)


def _steps(normalizer: Any) -> list[Any]:
    """The normalizers of a pipeline, in order."""
    if normalizer is None:
        return []
    if not isinstance(normalizer, normalizers.Sequence):
        return [normalizer]
    return [normalizer[index] for index in range(len(normalizer))]


def _decoder_for(rust: Tokenizer) -> Any:
    """The decoder that undoes a pre-tokenizer, for files that came without one."""
    before = rust.pre_tokenizer
    state = {} if before is None else json.loads(before.__getstate__())
    for part in [state, *state.get("pretokenizers", [])]:
        if part.get("type") == "Metaspace":
            return decoders.Metaspace(
                replacement=part["replacement"], prepend_scheme=part.get("prepend_scheme", "always")
            )
        if part.get("type") == "ByteLevel":
            return decoders.ByteLevel()
    return None


def _bert_flags(rust: Tokenizer, settings: dict[str, Any]) -> None:
    if not isinstance(rust.normalizer, normalizers.BertNormalizer):
        return
    state = json.loads(rust.normalizer.__getstate__())
    wanted = {flag: settings[key] for key, flag in BERT_FLAGS.items() if key in settings}
    if any(state[flag] != value for flag, value in wanted.items()):
        state.update(wanted)
        state.pop("type")
        rust.normalizer = normalizers.BertNormalizer(**state)


def _set_flag(rust: Tokenizer, key: str, value: bool) -> None:
    """A flag of ByteLevel and of RobertaProcessing, wherever they are in the pipeline."""
    before, after = rust.pre_tokenizer, rust.post_processor
    if key == "add_prefix_space" and before is not None:
        state = json.loads(before.__getstate__())
        if _change(state, "ByteLevel", key, value):
            before.__setstate__(json.dumps(state).encode())
            rust.pre_tokenizer = before
    if after is not None:
        state = json.loads(after.__getstate__())
        if _change(state, "RobertaProcessing", key, value):
            after.__setstate__(json.dumps(state).encode())
            rust.post_processor = after


def _change(state: dict[str, Any], kind: str, key: str, value: bool | str) -> bool:
    """Set a key in all parts of a kind; whether that changed anything."""
    changed = False
    for part in _parts(state):
        if part.get("type") == kind and part.get(key) != value:
            part[key] = value
            changed = True
    return changed


def _parts(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [state, *state.get("pretokenizers", []), *state.get("processors", [])]


def _decoders(state: dict[str, Any]) -> list[dict[str, Any]]:
    return [inner for part in state.get("decoders", ()) for inner in _decoders(part)] or [state]


def frame(tokenizer: Any, settings: dict[str, Any]) -> None:
    """The template of a pipeline built from vocabulary files, by the recipe of the class."""
    recipe, rust, named = tokenizer.recipe, tokenizer._rust, tokenizer._named
    if recipe.roberta:
        sep, cls = (
            (named["sep_token"], named["cls_token"])
            if "sep_token" in named
            else (named["eos_token"], named["bos_token"])
        )
        rust.post_processor = processors.RobertaProcessing(
            (sep, rust.token_to_id(sep)),
            (cls, rust.token_to_id(cls)),
            trim_offsets=settings.get("trim_offsets", True),
            add_prefix_space=bool(settings.get("add_prefix_space")),
        )
    elif recipe.single:
        rust.post_processor = templates.write(rust, _words(recipe.single, named), _words(recipe.pair, named))
    elif recipe.language_model:
        reframe(tokenizer, settings)


def reframe(tokenizer: Any, settings: dict[str, Any]) -> None:
    """The template that add_bos_token and add_eos_token ask for, where the class lets them."""
    if tokenizer.recipe.fixed:
        return
    named, rust = tokenizer._named, tokenizer._rust
    bos = named.get("bos_token") if settings.get("add_bos_token") else None
    eos = named.get("eos_token") if settings.get("add_eos_token") else None
    rust.post_processor = templates.write(rust, *templates.frame(bos, eos))


def _words(template: str, named: dict[str, str]) -> str:
    """A recipe's template with the tokens in place of their names."""
    words = []
    for word in template.split(" "):
        name, colon, type_id = word.partition(":")
        words.append(named.get(f"{name}_token", name) + colon + type_id)
    return " ".join(words)
