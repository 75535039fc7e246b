"""How to generate: the content of generation_config.json, its defaults and its checks. No torch."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoload.errors import GenerationError, unknown_argument
from autoload.generation.checks import CALL_ARGUMENTS, FIELDS, check_field, check_supported, check_together
from autoload.generation.watermarks import CompileConfig, SynthIDTextWatermarkingConfig, WatermarkingConfig

FILE_NAME = "generation_config.json"
METADATA = ("_from_model_config", "_commit_hash", "_original_object_hash", "transformers_version")
EXTRA_OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
HUB_ARGUMENTS = ("subfolder", "revision", "cache_dir", "force_download", "local_files_only", "lock", "token", "proxies")

# What a call uses where neither the caller nor the model says anything.
DEFAULTS: dict[str, Any] = {
    "assistant_confidence_threshold": 0.4,
    "assistant_lookbehind": 10,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_scores": False,
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict_in_generate": False,
    "target_lookbehind": 10,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "use_cache": True,
}


class GenerationMode(str, Enum):
    """The ways of choosing tokens."""

    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    ASSISTED_GENERATION = "assisted_generation"


class GenerationConfig:
    """Settings of `generate`. A field that is None is not set: the model's own value or the default holds.

    Args:
        fields: by the reference's names. Unknown ones are kept.

    Raises:
        GenerationError: a value that cannot be meant.
    """

    def __init__(self, **fields: Any):
        self.__dict__.update(dict.fromkeys(FIELDS))
        self._take(fields, "GenerationConfig")

    def _take(self, fields: Mapping[str, Any], where: str) -> None:
        for name, value in fields.items():
            if name not in ("_commit_hash", "_original_object_hash"):
                setattr(self, name, check_field(name, _rebuilt(name, value), where))
        check_together(self.__dict__, where)

    # -- making

    @classmethod
    def from_model_config(cls, model_config: Any) -> GenerationConfig:
        """What a model's configuration says about generation: its special tokens, and fields of old files."""
        if isinstance(model_config, Mapping):
            own = dict(model_config)
            nested = next((own[k] for k in ("decoder", "generator", "text_config") if own.get(k)), {})
        else:
            own, text = _attributes(model_config), model_config.get_text_config(decoder=True)
            nested = {} if text is model_config else _attributes(text)
        found = {name: value for name in FIELDS if (value := _first(name, own, nested)) is not None}
        if not found.get("return_dict_in_generate") and any(found.get(name) for name in EXTRA_OUTPUTS):
            found["return_dict_in_generate"] = True
        config = cls()
        config._take({**found, "_from_model_config": True}, "config.json")
        return config

    @classmethod
    def from_file_content(cls, raw: Any, where: str, **fields: Any) -> GenerationConfig:
        """From parsed JSON; `where` names the file in errors."""
        if not isinstance(raw, Mapping):
            raise GenerationError(
                f"{where}: found {type(raw).__name__}, expected an object.", field=None, got=raw, expected="an object"
            )
        config = cls()
        config._take({**raw, **fields}, where)
        return config

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """From fields; `return_unused_kwargs=True` also gives the keywords that are no fields."""
        wants_rest = kwargs.pop("return_unused_kwargs", False)
        config = cls.from_file_content(config_dict, "GenerationConfig")
        rest = config.update(**kwargs)
        if wants_rest:
            return config, rest
        config.__dict__.update(rest)
        return config

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike,
        config_file_name: str | os.PathLike | None = None,
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Read a directory's or a Hub repository's generation_config.json.

        Args:
            pretrained_model_name: a directory or the name of a repository.
            config_file_name: another name of the file.
            return_unused_kwargs: also give back the keywords that are no fields.
            kwargs: where to find the file (subfolder, revision, cache_dir, force_download, local_files_only, lock, token),
                and fields that replace the file's.

        Raises:
            MissingFile: there is no such file.
            CorruptFile: it cannot be read.
            GenerationError: a field has a value that cannot be meant.
        """
        from autoload.hub import open_files, read_json

        name = os.fspath(config_file_name) if config_file_name is not None else FILE_NAME
        files = open_files(
            pretrained_model_name, purpose="generation", **{k: kwargs.pop(k) for k in HUB_ARGUMENTS if k in kwargs}
        )
        path = files.require(name, "the settings of generate")
        config = cls.from_file_content(read_json(path), str(path))
        files.confirm()
        rest = config.update(**kwargs)
        return (config, rest) if return_unused_kwargs else config

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        """What holds for a field that nobody sets; `Seq2SeqTrainer` asks by this name."""
        return dict(DEFAULTS)

    def update(self, defaults_only: bool = False, allow_custom_entries: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Set fields; returns the keywords that are none.

        Args:
            defaults_only: only where nothing is set.
            allow_custom_entries: take unknown names as well.
            kwargs: fields and their values.
        """
        known = {k: v for k, v in kwargs.items() if allow_custom_entries or k in self.__dict__}
        self._take({k: v for k, v in known.items() if not defaults_only or self.__dict__.get(k) is None}, "generate")
        return {k: v for k, v in kwargs.items() if k not in known}

    # -- checking

    def validate(self, strict: bool = False) -> None:
        """Check all fields, alone and together.

        Raises:
            GenerationError: a value that cannot be meant.
        """
        for name in CALL_ARGUMENTS:
            if name in self.__dict__:
                raise GenerationError(
                    f"GenerationConfig: {name} is an argument of generate(), not a setting. Pass it there.",
                    field=name,
                    got=self.__dict__[name],
                    expected="absent",
                )
        self._take(dict(self.__dict__), "GenerationConfig")

    def get_generation_mode(self, assistant_model: Any = None) -> GenerationMode:
        """How tokens are chosen under these settings."""
        own = ("prompt_lookup_num_tokens", "assistant_early_exit")
        assisted = assistant_model is not None or any(self.__dict__[name] is not None for name in own)
        if (self.__dict__["num_beams"] or 1) > 1:
            if assisted:
                raise GenerationError(
                    "generate: num_beams is more than 1, expected 1 with an assistant model or prompt lookup.",
                    field="num_beams",
                    got=self.__dict__["num_beams"],
                    expected="1",
                )
            return GenerationMode.BEAM_SAMPLE if self.__dict__["do_sample"] else GenerationMode.BEAM_SEARCH
        if assisted:
            return GenerationMode.ASSISTED_GENERATION
        return GenerationMode.SAMPLE if self.__dict__["do_sample"] else GenerationMode.GREEDY_SEARCH

    # -- keeping

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data."""
        from autoload import REFERENCE_VERSION

        return {k: _plain(v) for k, v in self.__dict__.items()} | {"transformers_version": REFERENCE_VERSION}

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that are set, as plain data."""
        return {k: v for k, v in self.to_dict().items() if k not in FIELDS or v is not None}

    def to_json_string(
        self, use_diff: bool = True, ignore_metadata: bool = False, keys_to_pop: Iterable[str] | None = None
    ) -> str:
        """As generation_config.json would hold it."""
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        left_out = {*(keys_to_pop or ()), *(METADATA if ignore_metadata else ())}
        kept = {k: v for k, v in fields.items() if k not in left_out}
        return json.dumps(kept, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike, use_diff: bool = True) -> None:
        from autoload.commit import write_text

        write_text(Path(json_file_path), self.to_json_string(use_diff=use_diff))

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        config_file_name: str | os.PathLike | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> None:
        """Write generation_config.json; the file is replaced in one step."""
        from autoload.commit import output_directory, write_text
        from autoload.saving import upload

        if hub and not push_to_hub:
            raise unknown_argument("save_pretrained", next(iter(hub)), ("config_file_name", "push_to_hub"))
        self.validate()
        folder = output_directory(save_directory)
        text = self.to_json_string(keys_to_pop=("compile_config",))
        write_text(folder / os.fspath(config_file_name or FILE_NAME), text)
        if push_to_hub:
            upload(folder, **hub)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        return self.to_json_string(False, True) == other.to_json_string(False, True)

    def __hash__(self) -> int:
        return hash(self.to_json_string(ignore_metadata=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:  # only for what is absent; declared so that type checkers take any field
        raise AttributeError(f"GenerationConfig has no field {name!r}")


def merged(given: GenerationConfig | None, own: GenerationConfig, fields: Mapping[str, Any]) -> tuple[Any, dict]:
    """The settings of one call, and the keywords that are no settings.

    The caller's keywords win over the caller's configuration, that one over the model's, that one over `DEFAULTS`.
    """
    settings = copy.deepcopy(given) if given is not None else GenerationConfig()
    for source in (own.__dict__, DEFAULTS):
        for name, value in source.items():
            if value is not None and settings.__dict__.get(name) is None and name not in METADATA:
                settings.__dict__[name] = copy.copy(value)
    for name, value in settings.__dict__.items():  # attributes may have been set since the configurations were made
        settings.__dict__[name] = check_field(name, value, "generate")
    rest = settings.update(**fields)
    check_supported(settings.__dict__, "generate")
    return settings, rest


def _first(name: str, *sources: Mapping[str, Any]) -> Any:
    return next((source[name] for source in sources if source.get(name) is not None), None)


def _attributes(config: Any) -> dict[str, Any]:
    return {name: value for name in FIELDS if (value := getattr(config, name, None)) is not None}


def _rebuilt(name: str, value: Any) -> Any:
    """Objects that a file holds as plain data."""
    if isinstance(value, dict) and name == "watermarking_config":
        return (SynthIDTextWatermarkingConfig if "ngram_len" in value else WatermarkingConfig).from_dict(value)
    if isinstance(value, dict) and name == "compile_config":
        return CompileConfig(**value)
    return value


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):  # arrays and tensors
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
