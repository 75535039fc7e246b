"""AutoTokenizer: from the name of a repository to its tokenizer."""

from __future__ import annotations

import os
from typing import Any

from autoload.errors import ArgumentError, RemoteCodeRefused, TokenizerError, did_you_mean
from autoload.hub import Files, open_files
from autoload.text.classes import RECIPES, tokenizer_class
from autoload.text.loading import load, read_config
from autoload.text.model_types import CLASS_OF_TYPE, DECLARED_WRONGLY, GENERIC, MISTRAL
from autoload.text.unsupported import refusal

HUB = ("subfolder", "revision", "cache_dir", "force_download", "local_files_only", "lock", "token", "proxies")
IGNORED = ("use_fast", "code_revision", "_commit_hash", "_from_auto", "resume_download", "use_auth_token", "mirror",
           "adapter_kwargs")  # fmt: skip
BASE_NAMES = {"PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "PythonBackend",
              "SentencePieceBackend", "PreTrainedTokenizerBase"}  # fmt: skip

_registered: dict[type, type] = {}


class AutoTokenizer:
    """Finds the tokenizer of a repository; never an object itself."""

    def __init__(self) -> None:
        raise ArgumentError(
            "AutoTokenizer makes no objects itself: call AutoTokenizer.from_pretrained(name).", name="AutoTokenizer"
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *inputs: Any, **settings: Any) -> Any:
        """The tokenizer of a directory or of a Hub repository.

        Args:
            pretrained_model_name_or_path: a directory, or the name of a repository.
            config: a model configuration that says which class to take, in place of config.json.
            tokenizer_type: a model type that says which class to take, whatever the files declare.
            revision, subfolder, cache_dir, token, force_download, local_files_only, lock: as for models.
            settings: settings of the tokenizer, such as `padding_side="left"`; they win over the files'.

        Returns:
            A `PreTrainedTokenizerFast`, or a `PreTrainedTokenizer` for the few kinds without a Rust pipeline.

        Raises:
            MissingFile: no file that could hold a vocabulary; all that were looked for are listed.
            CorruptFile, ConfigError: a file, or a field of one, that cannot be meant.
            RemoteCodeRefused: only code of the repository could load it.
            ArgumentError: an unknown keyword.
        """
        name = os.fspath(pretrained_model_name_or_path)
        config, kind = settings.pop("config", None), settings.pop("tokenizer_type", None)
        trust = settings.pop("trust_remote_code", None)
        files = open_for(name, settings, kind)
        if trust:
            raise RemoteCodeRefused(
                f"{files.where}: code from repositories never runs here; leave trust_remote_code out.",
                where=files.where,
            )
        declared = read_config(files)
        chosen = choose(files, declared, config, kind)
        return load(chosen, files, declared, settings, name)

    @staticmethod
    def register(
        config_class: type,
        tokenizer_class: type | None = None,
        slow_tokenizer_class: type | None = None,
        fast_tokenizer_class: type | None = None,
        exist_ok: bool = False,
    ) -> None:
        """Use a tokenizer class for the models of a configuration class.

        Raises:
            ArgumentError: no tokenizer class.
            TokenizerError: the configuration class has one already, and `exist_ok` is False.
        """
        chosen = tokenizer_class or fast_tokenizer_class or slow_tokenizer_class
        if chosen is None:
            raise ArgumentError("AutoTokenizer.register: pass tokenizer_class.", name="tokenizer_class")
        if _registered.get(config_class, chosen) is not chosen and not exist_ok:
            raise TokenizerError(
                f"{config_class.__name__} is registered with {_registered[config_class].__name__} already; pass "
                "exist_ok=True to replace it.",
                field="config_class",
            )
        _registered[config_class] = chosen


def open_for(name: str, settings: dict[str, Any], kind: str | None = None) -> Files:
    """The files of a repository; takes the Hub's keywords out of `settings`."""
    hub = {key: settings.pop(key) for key in HUB if key in settings}
    for key in IGNORED:
        settings.pop(key, None)
    if kind is not None and os.path.isfile(name):  # a lone vocabulary file, whose class the caller names
        name = os.path.dirname(name) or "."
    return open_files(name, purpose="tokenizer", **{key: value for key, value in hub.items() if value is not None})


def choose(files: Files, declared: dict[str, Any], config: Any, kind: str | None) -> type:
    """The class of a repository's tokenizer."""
    if kind is not None:
        if kind not in CLASS_OF_TYPE:
            raise TokenizerError(
                f"tokenizer_type={kind!r} is no model type with a tokenizer{did_you_mean(kind, CLASS_OF_TYPE)}.",
                field="tokenizer_type",
            )
        if (refused := refusal(CLASS_OF_TYPE[kind], files.where)) is not None:
            raise refused
        return _class(CLASS_OF_TYPE[kind])
    if config is not None and (found := _registered.get(type(config))) is not None:
        return found
    model = _fields(config) if config is not None else _model_config(files)
    model_type = model.get("model_type") or ""
    if (
        found := next((c for k, c in _registered.items() if getattr(k, "model_type", None) == model_type), None)
    ) and model_type:
        return found
    name = declared.get("tokenizer_class") or model.get("tokenizer_class")
    registered = CLASS_OF_TYPE.get(model_type)
    if isinstance(chosen := name or registered, str) and (refused := refusal(chosen, files.where)) is not None:
        raise refused
    if isinstance(name, str) and name and name not in BASE_NAMES:
        if (model_type in DECLARED_WRONGLY or model_type in MISTRAL) and registered is not None:
            return _class(registered)
        if (found := tokenizer_class(name)) is not None:
            return found
        _refuse_remote(files, declared, name)
        return _class(registered or GENERIC)
    if name in BASE_NAMES:
        return _class(GENERIC)
    if registered is not None:
        return _class(registered)
    for part in ("text_config", "encoder", "llm_config", "language_config"):
        inner = model.get(part)
        inner = inner.get("model_type") if isinstance(inner, dict) else None
        if inner in CLASS_OF_TYPE:
            return _class(CLASS_OF_TYPE[inner])
    return _class(GENERIC)


def _refuse_remote(files: Files, declared: dict[str, Any], name: str) -> None:
    """A class of the repository's own, and no tokenizer.json that would make it unnecessary."""
    auto_map = declared.get("auto_map")
    if auto_map and files.find("tokenizer.json") is None:
        raise RemoteCodeRefused(
            f"{files.where}: its tokenizer is the class {name} of its own code, which never runs here, and there is no "
            "tokenizer.json that would do without it.",
            remedy="Add a tokenizer.json, made where the class can be run.",
            where=files.where,
            auto_map=auto_map,
        )


def _class(name: str) -> type:
    found = tokenizer_class(name)
    if found is None:
        raise TokenizerError(
            f"There is no tokenizer class {name!r}{did_you_mean(name, RECIPES)}.", field="tokenizer_class"
        )
    return found


def _model_config(files: Files) -> dict[str, Any]:
    config = files.json("config.json")
    return config if isinstance(config, dict) else {}


def _fields(config: Any) -> dict[str, Any]:
    if isinstance(config, dict):
        return config
    return {key: getattr(config, key, None) for key in ("model_type", "tokenizer_class", "text_config")}
