"""From the files of a repository to a tokenizer: settings merged, pipeline built or read, overrides applied."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from tokenizers import AddedToken, Tokenizer

from autoload.errors import ConfigError, CorruptFile, FileError, MissingFile, TokenizerError, reading
from autoload.hub import Files, read_json
from autoload.text import overrides, templates
from autoload.text.settings import check, reject_unknown
from autoload.text.specials import NAMES, content

CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
NOT_SETTINGS = ("tokenizer_class", "init_inputs", "auto_map", "special_tokens_map_file", "tokenizer_file", "backend",
                "is_local", "local_files_only", "added_tokens_decoder", "name_or_path", "vocab_file",
                "merges_file", "use_fast")  # fmt: skip
MISTRAL_TYPES = ("mistral", "mistral3", "voxtral", "ministral", "pixtral")
LARGE = 100_000  # tokens; Mistral's vocabularies of that size are tekken's
CHARSMAP, ESCAPED = b"precompiled_charsmap", b"\\u00"  # a key of tokenizer.json, and what could spell it otherwise
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def load(cls: type, files: Files, config: dict[str, Any], given: dict[str, Any], name_or_path: str = "") -> Any:
    """A tokenizer of class `cls` from `files`.

    Args:
        config: content of tokenizer_config.json.
        given: settings of the caller; they win.

    Raises:
        MissingFile: none of the files that could hold a vocabulary is there; it lists them.
        CorruptFile, ConfigError: a file or a field that cannot be meant.
    """
    reject_unknown(f"{cls.__name__}.from_pretrained", given, config, cls.recipe.defaults)
    settings = read_settings(files, config, given)
    settings["name_or_path"] = name_or_path
    with_json = files.locate("tokenizer.json") if hasattr(cls, "_attach") else None
    if with_json is not None:
        for key in ("add_bos_token", "add_eos_token"):  # the file's own template holds them
            if key not in given:
                settings.pop(key, None)
    tokenizer = cls._from_files(files, with_json, settings, given)
    if with_json is not None and tokenizer.vocab_size > LARGE:
        mend_split(tokenizer, files, settings.get("fix_mistral_regex"))
    files.confirm()
    return tokenizer


def mend_split(tokenizer: Any, files: Files, wanted: bool | None) -> None:
    """Some tokenizer.json files of Mistral's models split texts in a wrong way; mended where asked for."""
    model = files.json("config.json")
    if not isinstance(model, dict) or model.get("model_type") not in MISTRAL_TYPES:
        return
    version = str(model.get("transformers_version") or "0").partition(".")[0]
    if version.isdigit() and int(version) >= 5:
        return
    if wanted:
        overrides.split_as_tekken(tokenizer._rust)
        tokenizer._changed()
    elif wanted is None:
        import logging

        logging.getLogger("autoload.text").warning(
            "%s: this model type's older tokenizer.json files split texts otherwise than the model was trained on; "
            "pass fix_mistral_regex=True to mend that, or False to keep it without this notice.",
            files.where,
        )


def read_settings(files: Files, config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a tokenizer: configuration file, then chat templates, then the caller's."""
    settings = {key: value for key, value in config.items() if key not in NOT_SETTINGS}
    if (template := read_templates(files, settings.get("chat_template"))) is not None:
        settings["chat_template"] = template
    settings["added_tokens"] = read_added(files, config, settings)
    check(settings, f"{files.where}/{CONFIG}")
    check(given, "from_pretrained")
    settings.update(given)
    return settings


def read_config(files: Files) -> dict[str, Any]:
    """Content of tokenizer_config.json; empty where there is none."""
    config = files.json(CONFIG)
    if config is None:
        return {}
    if not isinstance(config, dict):
        path = f"{files.where}/{CONFIG}"
        raise CorruptFile(f"{path}: expected a JSON object, found {type(config).__name__}.", path=path)
    check({key: config[key] for key in ("tokenizer_class",) if key in config}, f"{files.where}/{CONFIG}")
    return config


def read_templates(files: Files, inline: Any) -> Any:
    """The chat template, or templates by name; files win over the configuration's."""
    if isinstance(inline, list):
        bad = [part for part in inline if not isinstance(part, dict) or not {"name", "template"} <= part.keys()]
        if bad:
            raise ConfigError(
                "chat_template", bad[0], "objects with `name` and `template`", where=f"{files.where}/{CONFIG}"
            )
        inline = {part["name"]: part["template"] for part in inline}
    texts = inline.values() if isinstance(inline, dict) else [] if inline is None else [inline]
    if not all(isinstance(text, str) for text in texts):
        raise ConfigError("chat_template", inline, "a text", where=f"{files.where}/{CONFIG}")
    path = files.locate(TEMPLATE)
    if path is None:
        return inline
    named = {"default": _text(path)}
    for name in _template_names(files):
        if (extra := files.locate(f"additional_chat_templates/{name}.jinja")) is not None:
            named[name] = _text(extra)
    return named if len(named) > 1 else named["default"]


def _template_names(files: Files) -> list[str]:
    """All that a directory has; of a Hub repository the two that exist in practice, without a listing."""
    folder = "additional_chat_templates/"
    if files.commit is None and os.path.isdir(os.path.join(files.where, folder)):
        inside = [name.removeprefix(folder) for name in files.names() if name.startswith(folder)]
        return [name.removesuffix(".jinja") for name in inside if name.endswith(".jinja") and "/" not in name]
    return ["tool_use", "rag"] if files.commit is not None else []


def _text(path: str) -> str:
    with reading(path, "chat template"), open(path, encoding="utf-8") as file:
        return file.read()


def read_added(files: Files, config: dict[str, Any], settings: dict[str, Any]) -> dict[int, AddedToken]:
    """Added tokens by id, in order. The configuration's list, where there is one, is used alone."""
    where = f"{files.where}/{CONFIG}"
    decoder = config.get("added_tokens_decoder")
    if decoder is not None:
        if not isinstance(decoder, dict):
            raise ConfigError("added_tokens_decoder", decoder, "an object of id -> token", where=where)
        if bad := [key for key in decoder if not (key.isascii() and key.isdigit())]:
            raise ConfigError("added_tokens_decoder", bad[0], "ids as keys", where=where)
        return {
            int(key): _added(decoder[key], f"added_tokens_decoder[{key!r}]", where) for key in sorted(decoder, key=int)
        }
    names = _mapping(files, "special_tokens_map.json")
    for key, value in names.items():
        if isinstance(value, list):
            settings.setdefault("extra_special_tokens" if key == "additional_special_tokens" else key, value)
        elif settings.get(key) is None:
            settings[key] = {**value, "special": True} if isinstance(value, dict) else value
    special = {content(value) for value in (*names.values(), *(names.get("additional_special_tokens") or ()))}
    added = _mapping(files, "added_tokens.json")
    where = f"{files.where}/added_tokens.json"
    ids = {_number(index, token, where): token for token, index in added.items()}
    return {
        index: AddedToken(ids[index], special=ids[index] in special, normalized=ids[index] not in special)
        for index in sorted(ids)
    }


def _mapping(files: Files, name: str) -> dict[str, Any]:
    value = files.json(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        path = f"{files.where}/{name}"
        raise CorruptFile(f"{path}: expected a JSON object, found {type(value).__name__}.", path=path)
    return value


def _number(value: Any, token: str, where: str) -> int:
    if type(value) is not int or value < 0:
        raise ConfigError(token, value, "an id", where=where)
    return value


def _added(value: Any, field: str, where: str) -> AddedToken:
    text = content(value)
    if text is None:
        raise ConfigError(field, value, "an object with `content`", where=where)
    if not isinstance(value, dict):
        return value if isinstance(value, AddedToken) else AddedToken(text)
    return AddedToken(text, **{flag: bool(value[flag]) for flag in FLAGS if flag in value})


# -- Rust-backed ----------------------------------------------------------------------------------------------------


def fast_from_files(
    cls: Any, files: Files, with_json: str | None, settings: dict[str, Any], given: dict[str, Any]
) -> Any:
    """A Rust-backed tokenizer: tokenizer.json as it is, or a pipeline built by the recipe of the class."""
    fill_defaults(cls, settings, verbatim=with_json is not None)
    if with_json is not None:
        rust = read_pipeline(with_json)
    else:
        rust = build_pipeline(cls, files, settings)
    tokenizer = assemble(cls, rust, settings, given, verbatim=with_json is not None)
    if cls.recipe.keep:
        found = {name: path for name in cls.recipe.files.values() if (path := files.find(name)) is not None}
        tokenizer._kept = {name: path.read_bytes() for name, path in found.items()}
    return tokenizer


def read_pipeline(path: str) -> Tokenizer:
    """The pipeline of a tokenizer.json.

    Raises:
        CorruptFile: it cannot be parsed, or its template names ids that the vocabulary lacks.
    """
    with reading(path, "tokenizer", remedy="Fetch it again."):
        with open(path, "rb") as f:
            data = f.read()
        if CHARSMAP in data or ESCAPED in data:
            from autoload.text.spmodel import check_charsmaps

            check_charsmaps(data)
        try:
            rust = Tokenizer.from_buffer(data)
        except Exception as e:
            raise _wrong_id(path) or e from e
        overrides.check_template(rust, path)
        overrides.check_growth(rust, path)
    if not rust.get_vocab_size(with_added_tokens=False):
        raise CorruptFile(f"{path}: model.vocab is empty, expected tokens and their ids.", path=str(path))
    unknown = getattr(rust.model, "unk_token", None)
    if unknown is not None and rust.token_to_id(unknown) is None:
        raise CorruptFile(
            f"{path}: model.unk_token is {unknown!r}, which the vocabulary does not have, expected one of its tokens.",
            path=path,
        )
    return rust


def _wrong_id(path: str) -> CorruptFile | None:
    """The error for an id in a vocabulary that is no id; the pipeline's own error names a column of the file."""
    try:
        data = read_json(path)
    except CorruptFile:  # no JSON at all, which the pipeline's own error says
        return None
    model = data.get("model") if isinstance(data, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    for token, index in vocab.items() if isinstance(vocab, dict) else ():
        if type(index) is not int or not 0 <= index < 1 << 32:
            return CorruptFile(f"{path}: model.vocab[{token!r}] is {index!r}, expected an id.", path=path)
    return None


def build_pipeline(cls: Any, files: Files, settings: dict[str, Any]) -> Tokenizer:
    """A pipeline from vocabulary files, by the recipe of the class."""
    recipe = cls.recipe
    found = {key: path for key, name in recipe.files.items() if (path := files.find(name)) is not None}
    if not recipe.build.startswith("discovery") and found and len(found) == len(recipe.files):
        module, _, function = recipe.build.partition(":")
        build = getattr(import_module(f"autoload.text.{module}"), function)
        with reading(next(iter(found.values())), "vocabulary"):
            if module == "sentencepiece":
                from autoload.text.conversions import converted

                return converted(recipe.build, build, found, settings)
            return build(found, settings)
    from autoload.text.discovery import discover

    try:
        return discover(cls, files, settings)
    except MissingFile as e:
        if not found:
            raise
        lacking = [name for key, name in recipe.files.items() if key not in found]
        raise files.missing(
            lacking, f"{cls.__name__} needs it beside {', '.join(p.name for p in found.values())}"
        ) from e


def fill_defaults(cls: Any, settings: dict[str, Any], verbatim: bool) -> None:
    """What the class says where the files do not. A setting of a verbatim pipeline has no default but its own."""
    recipe = cls.recipe
    for key, value in recipe.tokens.items():
        if key not in settings:
            settings[key] = value
    if not verbatim:
        for key, value in recipe.defaults.items():
            settings.setdefault(key, value)
    elif "model_max_length" in recipe.defaults:
        settings.setdefault("model_max_length", recipe.defaults["model_max_length"])


def assemble(cls: Any, rust: Tokenizer, settings: dict[str, Any], given: dict[str, Any], verbatim: bool) -> Any:
    """A tokenizer on a pipeline: names, added tokens, and the settings that change the pipeline."""
    tokenizer = cls.__new__(cls)
    added = settings.pop("added_tokens", {})
    extra = extra_tokens(settings)
    model_names = settings.pop("model_specific_special_tokens", {})
    for name, value in model_names.items() if isinstance(model_names, dict) else ():
        settings.setdefault(name, value)
    baked = rust.padding
    tokenizer._settle(settings)
    for key, value in settings.items():
        if key not in NAMES and key.endswith("_token") and content(value) is not None and not isinstance(value, bool):
            tokenizer._name_token(key, value)
    if tokenizer.pad_token is None and "pad_token" not in settings and baked and baked.get("pad_token"):
        tokenizer._name_token("pad_token", baked["pad_token"])
    if baked and baked.get("pad_type_id"):
        tokenizer.pad_token_type_id = baked["pad_type_id"]
    tokenizer._extra = [content(token) or "" for token in extra]
    tokenizer._attach(rust)
    add_tokens(tokenizer, list(added.values()), extra, settings)
    check_added(tokenizer, added)
    if verbatim:
        overrides.apply(tokenizer, settings, given)
    else:
        overrides.frame(tokenizer, settings)
    if any(key in given for key in ("add_bos_token", "add_eos_token")):
        overrides.reframe(tokenizer, settings)
    tokenizer._finish(settings)
    if rust.post_processor is None:  # without one, the pieces of overflowing pairs forget their second text
        rust.post_processor = templates.write(rust, *templates.frame(None, None))
    tokenizer._changed()
    return tokenizer


def extra_tokens(settings: dict[str, Any]) -> list[Any]:
    """Special tokens without a name; a dictionary names them instead."""
    extra = settings.pop("extra_special_tokens", None) or []
    if isinstance(extra, dict):
        for name, value in extra.items():
            settings.setdefault(name, value)
        extra = []
    old = settings.pop("additional_special_tokens", None) or []
    tokens = [*extra, *(token for token in old if token not in extra)]
    for token in tokens:
        if content(token) is None:
            raise TokenizerError(f"extra_special_tokens holds {token!r}, expected texts.", field="extra_special_tokens")
    return [_added(token, "extra_special_tokens", CONFIG) if isinstance(token, dict) else token for token in tokens]


def add_tokens(tokenizer: Any, added: list[AddedToken], extra: list[Any], settings: dict[str, Any]) -> None:
    """Give the pipeline the tokens of the configuration: those it lacks, and those whose flags differ.

    All at once: the pipeline rebuilds its matcher at every call, which takes a second for a thousand tokens.
    """
    rust, recipe = tokenizer._rust, tokenizer.recipe
    known = {token.content: token for token in rust.get_added_tokens_decoder().values()}
    new: dict[str, AddedToken] = {}
    for token in added:
        before = known.get(token.content)
        if before is None or _flags(before) != _flags(token):
            new[token.content] = token
    for name, text in tokenizer._named.items():
        if text in known or text in new:
            continue
        value = settings.get(name)
        strip = recipe.strip_named
        lstrip = strip or (recipe.lstrip_mask and name == "mask_token")
        token = AddedToken(text, special=True, normalized=False, lstrip=lstrip, rstrip=strip)
        if isinstance(value, dict):
            # old configurations say normalized=True, which hides a token from pipelines that prefix texts
            token = _added({**value, "special": True, "normalized": False}, name, CONFIG)
        new[text] = token
    for token in extra:
        text = content(token) or ""
        if text not in known and text not in new:
            plain = not isinstance(token, AddedToken)
            new[text] = AddedToken(text, special=True, normalized=False) if plain else token
    if new:
        rust.add_tokens(list(new.values()))


def check_added(tokenizer: Any, added: dict[int, AddedToken]) -> None:
    """Refuse ids that the model could never have seen.

    Raises:
        ConfigError: an added token is to have an id beyond the vocabulary.
    """
    size = len(tokenizer)
    for index, token in added.items():
        found = tokenizer._rust.token_to_id(token.content) if index >= size else index
        if found != index and token.content:
            raise ConfigError(
                f"added_tokens_decoder[{str(index)!r}]",
                token.content,
                f"an id below {size}, where it has {found}",
                where=CONFIG,
            )


def _flags(token: AddedToken) -> tuple[bool, ...]:
    return tuple(getattr(token, flag) for flag in FLAGS)


def construct(tokenizer: Any, *args: Any, **settings: Any) -> None:
    """`PreTrainedTokenizerFast(tokenizer_object=..., pad_token=...)` and `BertTokenizer("vocab.txt")`.

    Raises:
        TokenizerError: nothing that could hold a vocabulary was passed.
    """
    from pathlib import Path

    cls = type(tokenizer)
    names = [*cls.recipe.files] or ["tokenizer_file"]
    settings.update(zip(names, args, strict=False))
    rust = settings.pop("tokenizer_object", None)
    json_path = settings.pop("tokenizer_file", None)
    paths = {key: Path(os.fspath(value)) for key in cls.recipe.files if (value := settings.pop(key, None)) is not None}
    given = dict(settings)
    settings.setdefault("added_tokens", {})
    fill_defaults(cls, settings, verbatim=rust is not None or json_path is not None)
    verbatim = True
    if rust is not None:
        from autoload.text.saving import written

        rust = Tokenizer.from_str(written(rust).to_str())  # the caller keeps theirs, with its padding and truncation
    elif json_path is not None:
        rust = read_pipeline(os.fspath(json_path))
    elif paths:
        module, _, function = cls.recipe.build.partition(":")
        with reading(next(iter(paths.values())), "vocabulary"):
            rust = getattr(import_module(f"autoload.text.{module}"), function)(paths, settings)
        verbatim = False
    else:
        wanted = ", ".join(f"{key}=..." for key in (*cls.recipe.files, "tokenizer_file", "tokenizer_object"))
        raise TokenizerError(
            f"{cls.__name__} needs a vocabulary: pass {wanted}, or use from_pretrained.", field="vocab_file"
        )
    made = assemble(cls, rust, settings, given, verbatim)
    if cls.recipe.keep:
        made._kept = {cls.recipe.files[key]: path.read_bytes() for key, path in paths.items()}
    tokenizer.__setstate__(made.__getstate__())


def missing_vocabulary(files: Files, names: list[str]) -> FileError:
    """The error for a repository without a vocabulary: never an empty tokenizer."""
    return files.missing(list(dict.fromkeys(names)), "a tokenizer needs one of them")
