"""The Auto classes: from a name to files, a configuration, a class, and a loaded model."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import logging
import os
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from autoload import bridge, registry
from autoload.config import COMMON
from autoload.errors import (
    UNFORESEEN,
    ArgumentError,
    AutoloadError,
    ConfigError,
    CorruptFile,
    RemoteCodeRefused,
    unknown_argument,
)
from autoload.hub import Files, open_files, read_json

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("autoload")

HUB_KEYWORDS = ("cache_dir", "force_download", "local_files_only", "lock", "proxies", "revision", "subfolder", "token")
# Keywords of the reference that ask for what happens here anyway.
WITHOUT_EFFECT = (
    "_fast_init",
    "low_cpu_mem_usage",
    "code_revision",
    "weights_only",
    "adapter_kwargs",
    "_from_auto",
    "mirror",
)
ADAPTER = "adapter_config.json"
CONFIG_OPTIONS = ("num_labels", "name_or_path", "torch_dtype", "dtype", "attn_implementation")


class AutoConfig:
    """Reads the configuration of any registered model type."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not instantiated; use AutoConfig.from_pretrained(name_or_directory).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        cache_dir: str | os.PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool | None = None,
        proxies: dict[str, str] | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        lock: str | os.PathLike | bool | None = None,
        return_unused_kwargs: bool = False,
        trust_remote_code: bool | None = None,
        code_revision: str | None = None,
        **overrides: Any,
    ) -> Any:
        """The configuration of a model.

        Args:
            pretrained_model_name_or_path: a directory, the name of a Hub repository, or a JSON file.
            cache_dir, force_download, local_files_only, proxies, token, revision, subfolder: where and how to look.
            lock: a lock file that says which commit and content is meant (see `autoload lock`).
            return_unused_kwargs: also return the keywords that are no fields of the configuration.
            trust_remote_code: True is refused; code of repositories does not run.
            code_revision: without effect.
            **overrides: fields to set.

        Returns:
            The configuration, or with `return_unused_kwargs` a pair (configuration, unused keywords).

        Raises:
            FileError: nothing there, or the Hub failed.
            ConfigError: a field cannot be meant.
            UnknownModelType: no registered type has that name.
            ArgumentError: a keyword that is no field.
        """
        return load_config(
            pretrained_model_name_or_path,
            return_unused_kwargs=return_unused_kwargs,
            trust_remote_code=trust_remote_code,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            proxies=proxies,
            token=token,
            revision=revision,
            subfolder=subfolder,
            lock=lock,
            **overrides,
        )

    @staticmethod
    def for_model(model_type: str, **fields: Any) -> Any:
        """A configuration of a type, with its defaults."""
        return registry.config_class(model_type, "for_model")(**fields)

    @staticmethod
    def register(model_type: str, config: type, exist_ok: bool = False) -> None:
        """Use `config` for files whose `model_type` is this."""
        registry.register_config(model_type, config, exist_ok)


class _Auto:
    """Common to all Auto classes of models: `task` says which head they give."""

    task: str

    def __init__(self, *unused: Any, **also_unused: Any) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not instantiated; use {name}.from_pretrained(...) or {name}.from_config(config).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: Any = None,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        cache_dir: str | os.PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool | None = None,
        proxies: dict[str, str] | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        lock: str | os.PathLike | bool | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        device: str | int | torch.device | None = None,
        device_map: str | int | torch.device | dict[str, Any] | None = None,
        tp_plan: str | None = None,
        device_mesh: Any = None,
        max_memory: dict[Any, Any] | None = None,
        offload_folder: str | os.PathLike | None = None,
        attn_implementation: str | None = None,
        experts_implementation: str | None = None,
        strict: str | bool = "head",
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        key_mapping: dict[str, str] | None = None,
        generation_config: Any = None,
        io: str = "map",
        disable_mmap: bool | None = None,
        trust_remote_code: bool | None = None,
        quantization_config: Any = None,
        gguf_file: str | None = None,
        adapter_name: str | None = "default",
        adapter_kwargs: Mapping[str, Any] | None = None,
        **overrides: Any,
    ) -> Any:
        """Load a model with the head that this class is named for.

        Args:
            pretrained_model_name_or_path: a directory or the name of a Hub repository; None with `state_dict`.
            *model_args: passed to the model's constructor.
            config: a configuration, or where to read one; the model's own if None.
            state_dict: tensors to load in place of a file.
            cache_dir, force_download, local_files_only, proxies, token, revision, subfolder: where and how to look.
            lock: a lock file that says which commit and content is meant (see `autoload lock`).
            variant: read `model.<variant>.safetensors`.
            use_safetensors: True reads only safetensors, False only pytorch_model.bin; None prefers safetensors.
            dtype: of the weights; "auto" (as None) is the checkpoint's own. `torch_dtype` is its older name.
            device: one device for everything.
            device_map: the same, or a plan over several devices (needs accelerate).
            tp_plan: "auto" cuts the matrices of a decoder for all processes that torchrun started.
            device_mesh: the same on this mesh, or `fully_shard` on its dimension "fsdp"; each process reads its slices.
            max_memory, offload_folder: of `device_map`.
            attn_implementation: "sdpa", "eager", "flex_attention" or "flash_attention_2".
            experts_implementation: "grouped_mm" or "eager", for models with experts.
            strict: "head" allows a new task head, and names it; True allows nothing to be missing or left over; False
                fills whatever is missing.
            ignore_mismatched_sizes: make parameters of another shape new.
            output_loading_info: also return a dict of missing, unexpected and mismatched keys.
            key_mapping: renames for the checkpoint's names, pattern to replacement.
            generation_config: in place of the file's.
            io: "map" maps weights into memory; "read" copies them, for files that may change under a running program.
            disable_mmap: True is `io="read"`.
            trust_remote_code: True is refused; code of repositories does not run.
            quantization_config: a configuration of torchao, or the reference's TorchAoConfig: the base model's linear
                layers are converted once they are read. Such a model is for inference, and is not saved.
            gguf_file: refused, not supported.
            adapter_name: of the adapter, where a directory holds one in place of a model (its model is loaded too, which
                needs the package peft).
            adapter_kwargs: where to look for it, in place of `revision`, `subfolder` and the like.
            **overrides: fields of the configuration, or keywords of the model's constructor.

        Returns:
            The model in evaluation mode, or with `output_loading_info` a pair (model, info).

        Raises:
            FileError: files are missing or damaged, or the Hub failed.
            ConfigError, UnknownModelType, TaskError: the configuration or the task.
            WeightsError: the weights do not fit the model.
            ArgumentError: an argument that nothing knows.
        """
        given = {
            k: v
            for k, v in locals().items()
            if k not in ("cls", "pretrained_model_name_or_path", "model_args", "overrides", "__class__")
        }
        return load_model(cls.task, pretrained_model_name_or_path, *model_args, **given, **overrides)

    @classmethod
    def from_config(
        cls,
        config: Any,
        *,
        dtype: str | torch.dtype | None = None,
        torch_dtype: str | torch.dtype | None = None,
        attn_implementation: str | None = None,
        experts_implementation: str | None = None,
        trust_remote_code: bool | None = None,
        **options: Any,
    ) -> Any:
        """A model with fresh weights, in training mode.

        Args:
            config: of the model.
            dtype: of the weights; the configuration's if None.
            attn_implementation, experts_implementation: see `from_pretrained`.
            trust_remote_code: True is refused.
            **options: keywords of the model's constructor.
        """
        refuse_remote_code(trust_remote_code, getattr(config, "_name_or_path", "") or "from_config")
        if not hasattr(config, "to_dict"):
            raise ArgumentError(
                f"{cls.__name__}.from_config: expected a configuration, found {type(config).__name__}.", name="config"
            )
        return build_model(
            registry.class_for(config, cls.task),
            config,
            dtype=dtype if dtype is not None else torch_dtype,
            attn_implementation=attn_implementation,
            experts_implementation=experts_implementation,
            **options,
        )

    @classmethod
    def register(cls, config_class: type, model_class: type, exist_ok: bool = False) -> None:
        """Give `model_class` for configurations of class `config_class`."""
        registry.register_head(cls.task, config_class, model_class, exist_ok)


def _make(task: str, purpose: str) -> type:
    name = registry.auto_class_name(task)
    return type(
        name, (_Auto,), {"task": task, "__doc__": f"Loads any model for this: {purpose}.", "__module__": __name__}
    )


AUTO_CLASSES: dict[str, type] = {
    registry.auto_class_name(task): _make(task, doc) for task, doc in registry.TASKS.items()
}
globals().update(AUTO_CLASSES)


def load_config(
    name_or_path: str | os.PathLike,
    *,
    config_class: Any = None,
    files: Files | None = None,
    return_unused_kwargs: bool = False,
    trust_remote_code: bool | None = None,
    **keywords: Any,
) -> Any:
    """Read a configuration; the body of `AutoConfig.from_pretrained`.

    Args:
        name_or_path: see there.
        config_class: the class, when it is known; else `model_type` decides.
        files: the model's files, when they are open already.
        return_unused_kwargs, trust_remote_code: see there.
        **keywords: for the Hub, and fields to set.
    """
    hub = {key: keywords.pop(key) for key in HUB_KEYWORDS if key in keywords}
    for key in WITHOUT_EFFECT:
        keywords.pop(key, None)
    refuse_remote_code(trust_remote_code, os.fspath(name_or_path))
    single = files is None and os.fspath(name_or_path).endswith(".json") and os.path.isfile(name_or_path)
    if single:
        from pathlib import Path

        where, raw = os.fspath(name_or_path), read_json(Path(name_or_path))
    else:
        files = files or open_files(name_or_path, purpose="configuration", **hub)
        path = files.require("config.json", "the configuration")
        where, raw = str(path), read_json(path)
        files.confirm()
    if not isinstance(raw, dict):
        raise CorruptFile(f"{where}: expected a JSON object, found {type(raw).__name__}.", path=where)
    if config_class is not None:
        raw = _part(raw, config_class.model_type)
    cls = config_class or registry.config_class(_model_type(raw, where), where, raw)
    if config_class is not None and raw.get("model_type", cls.model_type) != cls.model_type:
        logger.warning("%s: a %r model is read as %r, as was asked for.", where, raw["model_type"], cls.model_type)
    known = {*COMMON, *CONFIG_OPTIONS, *raw, *cls.spec.defaults, *cls.spec.aliases} if hasattr(cls, "spec") else {*raw}
    fields = {k: v for k, v in keywords.items() if k in known or not hasattr(cls, "spec")}
    unused = {k: v for k, v in keywords.items() if k not in fields}
    if unused and not return_unused_kwargs:
        raise unknown_argument("AutoConfig.from_pretrained", next(iter(unused)), [*HUB_KEYWORDS, *sorted(known)])
    config = named_config(cls, raw, fields, where)
    config._name_or_path = os.fspath(name_or_path)
    return (config, unused) if return_unused_kwargs else config


def _part(raw: dict[str, Any], model_type: str) -> dict[str, Any]:
    """Of a configuration that holds others, the one of the type; else the whole."""
    if raw.get("model_type") == model_type:
        return raw
    parts = [value for value in raw.values() if isinstance(value, dict) and value.get("model_type") == model_type]
    return parts[0] if parts else raw


def named_config(cls: Any, raw: Mapping[str, Any], fields: Mapping[str, Any], where: str) -> Any:
    """A configuration whose errors name the file."""
    merged = {**raw, **fields}
    if "num_labels" in fields and "id2label" not in fields and len(raw.get("id2label") or ()) != fields["num_labels"]:
        merged.pop("id2label", None)
        merged.pop("label2id", None)
    for given, other in (("out_features", "out_indices"), ("out_indices", "out_features")):
        if given in fields and other not in fields:  # two ways to name the same stages
            merged.pop(other, None)
    try:
        return cls.from_dict(merged) if hasattr(cls, "from_dict") else cls(**merged)
    except ConfigError as e:
        if e.where not in ("config.json", "configuration"):
            raise
        raise ConfigError(e.field, e.got, e.expected, where=where, hint=e.hint) from None
    except UNFORESEEN as e:
        if isinstance(e, AutoloadError) or not hasattr(cls, "spec"):  # a user's own class speaks for itself
            raise
        raise ConfigError.of(e, where, cls.__name__) from e


def _model_type(raw: Mapping[str, Any], where: str) -> Any:
    """`model_type` of a parsed config.json, inferred from `architectures` when that leaves one possibility."""
    if raw.get("model_type") not in (None, ""):
        return raw["model_type"]
    architectures = raw.get("architectures")
    wanted = [a for a in architectures if isinstance(a, str)] if isinstance(architectures, list) else []
    types = {
        t
        for t in registry.MODELS
        for a in wanted
        if a in {registry.class_name(t, task) for task in registry.tasks_of(t).values()}
    }
    if len(types) == 1:
        return types.pop()
    raise ConfigError("model_type", None, "the name of a model type", where=where, hint="Add it, or pass config=....")


def refuse_remote_code(trust: bool | None, where: str) -> None:
    """Code of repositories is never run; asking for it is an error, so that nobody believes it was."""
    if trust:
        raise RemoteCodeRefused(
            f"{where}: trust_remote_code=True is not supported, code of repositories does not run here. Drop the argument "
            "to load the built-in architecture of this model type, or register your own class (autoload.register).",
            where=where,
        )


def load_model(
    target: Any,
    name_or_path: str | os.PathLike | None,
    *model_args: Any,
    config: Any = None,
    state_dict: Mapping[str, torch.Tensor] | None = None,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    device: Any = None,
    device_map: Any = None,
    tp_plan: Any = None,
    device_mesh: Any = None,
    max_memory: Any = None,
    offload_folder: Any = None,
    strict: Any = "head",
    ignore_mismatched_sizes: bool = False,
    output_loading_info: bool = False,
    key_mapping: Mapping[str, str] | None = None,
    generation_config: Any = None,
    io: str = "map",
    disable_mmap: bool | None = None,
    trust_remote_code: bool | None = None,
    quantization_config: Any = None,
    gguf_file: str | None = None,
    attn_implementation: str | None = None,
    experts_implementation: str | None = None,
    adapter_name: str | None = "default",
    adapter_kwargs: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Any:
    """Load a model; the body of every `from_pretrained`. `target` is a task's name or a class."""
    given = {k: v for k, v in locals().items() if k not in ("target", "name_or_path", "model_args", "keywords")}
    bridge.settle()  # another thread may have been in the middle of importing the reference
    if gguf_file is not None:
        raise ArgumentError("from_pretrained: gguf_file is not supported, expected None. Drop it.", name="gguf_file")
    if io not in ("map", "read"):
        raise ArgumentError(f"from_pretrained: io is {io!r}, expected 'map' or 'read'.", name="io")
    if strict not in ("head", True, False):
        raise ArgumentError(f"from_pretrained: strict is {strict!r}, expected 'head', True or False.", name="strict")
    if variant is not None and not (isinstance(variant, str) and re.fullmatch(r"[\w-]+", variant)):
        raise ArgumentError(f"from_pretrained: variant is {variant!r}, expected a word such as 'fp16'.", name="variant")
    _check_renames(key_mapping)
    for key in WITHOUT_EFFECT:
        keywords.pop(key, None)
    hub = {key: keywords.pop(key) for key in HUB_KEYWORDS if key in keywords}
    if state_dict is not None and name_or_path is not None:
        raise ArgumentError("from_pretrained: pass a name or a state_dict, not both.", name="state_dict")
    if name_or_path is None and (state_dict is None or config is None):
        raise ArgumentError("from_pretrained: without a name, pass both config and state_dict.", name="config")
    where = os.fspath(name_or_path) if name_or_path is not None else "state_dict"
    refuse_remote_code(trust_remote_code, where)

    files = open_files(name_or_path, purpose="model", **hub) if name_or_path is not None else None
    if files is not None and adapter_name is not None and (adapter := _adapter(files, where, hub, adapter_kwargs)):
        from autoload.adapters import load_with_base

        return load_with_base(partial(load_model, target), adapter, where, model_args, given | hub | keywords)
    label_count = keywords.get("num_labels") or len(keywords.get("id2label") or ())
    config, options = _configuration(target, config, files, where, keywords)
    cls = target if isinstance(target, type) else registry.class_for(config, target)
    if files is not None and hasattr(cls, "config_beside"):
        config = cls.config_beside(config, files)
    if files is not None:
        _refuse_quantized(config, where)
    config.__dict__.update(_kernels(attn_implementation, experts_implementation))
    _check_options(cls, options, config)

    from autoload import loading, placement, quantization, skeleton  # torch from here on
    from autoload.weights import find_weights

    recipe = quantization.recipe(quantization_config)
    copied = io == "read" or bool(disable_mmap)
    weights: Any = state_dict
    if files is not None:
        weights = find_weights(files, variant=variant, use_safetensors=use_safetensors, copy=copied)
        for name in getattr(cls, "weights_beside", ()):
            if (path := files.find(name)) is not None:
                weights.add(path)
    wanted = dtype if dtype is not None else torch_dtype
    chosen = loading.choose_dtype(wanted, config, weights if files is not None else None)
    model = skeleton.build_skeleton(cls, config, model_args, options, len(weights.entries) if files else None)
    if tp_plan is not None or device_mesh is not None:
        if device is not None or device_map is not None:
            raise ArgumentError("from_pretrained: pass device_map or a device_mesh, not both.", name="device_mesh")
        device = skeleton.shard(model, tp_plan, device_mesh, chosen)
    plan = placement.plan(model, device, device_map, chosen, max_memory)
    report = loading.load_weights(
        model,
        weights,
        dtype=chosen,
        device=plan.device,
        strict=strict,
        ignore_mismatched_sizes=ignore_mismatched_sizes,
        remade=[label_count] if label_count else [],
        where=where,
        key_mapping=key_mapping,
    )
    if chosen is not None and hasattr(config, "dtype"):
        config.dtype = chosen
    model.loading_report = report
    if getattr(model, "can_generate", lambda: False)() and files is not None:
        _generation_config(model, generation_config, files)
    model.eval()
    if files is not None and hasattr(model, "read_further"):
        model.read_further(files)
    if files is not None:
        files.confirm()
    if recipe is not None:
        quantization.quantize(model, recipe)
    placement.dispatch(model, plan, offload_folder)
    return (model, report.as_dict()) if output_loading_info else model


def _adapter(files: Files, name: str, hub: Mapping[str, Any], further: Mapping[str, Any] | None) -> Files | None:
    """The files of an adapter, where that is what the name stands for, or `adapter_kwargs` asks for one."""
    if further:
        asked = open_files(name, purpose="adapter", **{**hub, **further})
        return asked if asked.find(ADAPTER) is not None else None
    if files.find(ADAPTER) is None:
        return None
    if files.find("config.json") is None:
        return files
    logger.warning("%s: its adapter is not put on the model; model.load_adapter(%r) does that.", files.where, name)
    return None


def load_part(files: Files, stem: str, use_safetensors: bool | None = None) -> dict[str, torch.Tensor]:
    """Tensors that a model keeps in a file of their own, `stem` + .safetensors or .bin.

    Raises:
        MissingFile: there is none.
        CorruptCheckpoint: it is damaged.
    """
    from autoload.weights import find_part

    weights = find_part(files, stem, use_safetensors)
    return {name: weights.read(name) for name in weights.entries}


def _configuration(
    target: Any, config: Any, files: Files | None, where: str, keywords: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The configuration of a model, and the keywords left for its constructor."""
    config_class = getattr(target, "config_class", None) if isinstance(target, type) else None
    if not getattr(config_class, "model_type", "") or hasattr(target, "config_beside"):
        config_class = None
    if config is not None and hasattr(config, "to_dict"):
        config = copy.deepcopy(config)
        config._name_or_path = where
        return config, keywords
    if config is not None:  # a path or a name
        if not isinstance(config, (str, os.PathLike)):
            text = f"from_pretrained: config is {config!r}, expected a configuration, or where to read one."
            raise ArgumentError(text, name="config")
        files = None
        return load_config(config, config_class=config_class, return_unused_kwargs=True, **keywords)
    return load_config(where, config_class=config_class, files=files, return_unused_kwargs=True, **keywords)


def _refuse_quantized(config: Any, where: str) -> None:
    """Packed numbers and numbers without their scales would load as other values."""
    for field in ("quantization_config", "compression_config"):
        if (found := getattr(config, "__dict__", {}).get(field)) is not None:
            hint = "Quantized weights are not supported. Load a repository with plain ones."
            raise ConfigError(field, found, "null", where=os.path.join(where, "config.json"), hint=hint)


def _check_renames(key_mapping: Any) -> None:
    """Patterns that are none would fail half way through a load."""
    expected = "expected an object of pattern -> replacement"
    if key_mapping is not None and not isinstance(key_mapping, Mapping):
        raise ArgumentError(f"from_pretrained: key_mapping is {key_mapping!r}, {expected}.", name="key_mapping")
    for pattern, replacement in (key_mapping or {}).items():
        try:
            re.sub(pattern, replacement, "")
        except (re.error, TypeError) as e:
            text = f"from_pretrained: key_mapping has {pattern!r}: {replacement!r} ({e}), {expected}."
            raise ArgumentError(text, name="key_mapping") from None


def _kernels(attention: str | None, experts: str | None) -> dict[str, str]:
    from autoload.errors import did_you_mean

    known = ("eager", "sdpa", "flex_attention", "flash_attention_2")
    if attention is not None and attention not in known:
        hint = did_you_mean(attention, known)
        raise ArgumentError(
            f"attn_implementation is {attention!r}, expected one of {', '.join(known)}{hint}",
            name="attn_implementation",
        )
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        text = (
            "attn_implementation 'flash_attention_2' needs the package flash-attn, which is not installed. Use 'sdpa'."
        )
        raise ArgumentError(text, name="attn_implementation")
    out = {"_attn_implementation": attention, "_experts_implementation": experts}
    return {key: value for key, value in out.items() if value is not None}


def _check_options(cls: type, options: Mapping[str, Any], config: Any) -> None:
    """Keywords that are neither arguments, fields nor known to the model's constructor are an error."""
    if not options:
        return
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and not hasattr(cls, "variant"):
        return
    own = [n for n, p in parameters.items() if n not in ("self", "config") and p.kind is not p.VAR_KEYWORD]
    own += list(getattr(cls, "options", ()))
    arguments = inspect.signature(_Auto.from_pretrained).parameters
    for name in options:
        if name not in own:
            raise unknown_argument(
                "from_pretrained", name, [*arguments, *own, *getattr(config, "__dict__", {}), "num_labels"]
            )


def _generation_config(model: Any, given: Any, files: Files) -> None:
    from autoload.generation.configuration import GenerationConfig

    if given is not None:
        model.generation_config = (
            GenerationConfig.from_pretrained(given) if isinstance(given, (str, os.PathLike)) else given
        )
        return
    if files.find("generation_config.json") is not None:
        raw = files.json("generation_config.json")
        model.generation_config = GenerationConfig.from_file_content(raw, f"{files.where}: generation_config.json")


def build_model(
    cls: Any,
    config: Any,
    *,
    dtype: Any = None,
    torch_dtype: Any = None,
    attn_implementation: str | None = None,
    experts_implementation: str | None = None,
    **options: Any,
) -> Any:
    """A model with fresh weights; the body of every `from_config`."""
    config = copy.deepcopy(config)
    config.__dict__.update(_kernels(attn_implementation, experts_implementation))
    _check_options(cls, options, config)
    from autoload import loading, skeleton

    chosen = loading.choose_dtype(dtype if dtype is not None else torch_dtype, config, None)
    if not hasattr(cls, "variant"):  # a user's own module
        model = cls(config, **options)
        return model if chosen is None else model.to(chosen)
    import torch

    model = skeleton.build_skeleton(cls, config, (), options)
    room, device = skeleton.parameter_device(), torch.get_default_device()
    model._apply(lambda t: torch.empty_like(t, device=room) if t.is_meta else t.to(device))  # keeps computed tables
    model = model.to(chosen or torch.get_default_dtype())
    model.init_weights()
    config.dtype = model.dtype
    return model
