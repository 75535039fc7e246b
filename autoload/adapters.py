"""Adapters that a model carries itself: LoRA and its kin, by the package peft, which is imported when they are used.

An adapter is a few small matrices beside those of a model, kept in a directory of their own: adapter_config.json, which
names the model that they belong to, and adapter_model.safetensors. Hu et al. 2021 (arXiv:2106.09685).
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoload.errors import (
    UNFORESEEN,
    AdapterError,
    ArgumentError,
    AutoloadError,
    ConfigError,
    CorruptFile,
    WeightsError,
    did_you_mean,
)
from autoload.hub import Files, open_files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoload.loading import LoadingReport

logger = logging.getLogger("autoload")

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model"
PREFIX = "base_model.model."  # of the names in a file: a PeftModel holds the model under these
HUB_KEYWORDS = ("cache_dir", "force_download", "local_files_only", "lock", "proxies", "revision", "subfolder", "token")


class AdapterMixin:
    """What a model does with adapters of its own, without a `PeftModel` around it."""

    peft_config: dict[str, Any]  # of each adapter by name, while there are any
    _hf_peft_config_loaded = False  # whether there are; trainers look this up

    def add_adapter(self, adapter_config: Any, adapter_name: str | None = None) -> None:
        """Put a new adapter on the model, to train it: everything else is frozen.

        Args:
            adapter_config: of peft, a `LoraConfig` for one.
            adapter_name: "default" if None.

        Raises:
            AdapterError: there is one of that name, or this method of peft needs a `PeftModel`.
        """
        peft = _peft()
        if not isinstance(adapter_config, peft.PeftConfig):
            text = f"add_adapter: expected a configuration of peft, found {type(adapter_config).__name__}."
            raise ArgumentError(text, name="adapter_config")
        adapter_config.base_model_name_or_path = self.__dict__.get("name_or_path")
        _inject(self, adapter_config, adapter_name or "default", "add_adapter")
        self.set_adapter(adapter_name or "default")

    def load_adapter(
        self,
        peft_model_id: str | os.PathLike | None = None,
        adapter_name: str | None = None,
        peft_config: Any = None,
        adapter_state_dict: Mapping[str, Tensor] | None = None,
        low_cpu_mem_usage: bool = False,
        is_trainable: bool = False,
        hotswap: bool | str = "auto",
        local_files_only: bool = False,
        adapter_kwargs: Mapping[str, Any] | None = None,
        use_safetensors: bool | None = None,
        **hub: Any,
    ) -> LoadingReport:
        """Put an adapter on the model that was trained before. It is used from now on, in place of the others.

        Args:
            peft_model_id: a directory or the name of a Hub repository that holds it.
            adapter_name: "default" if None.
            peft_config: of peft or a dict, in place of the file.
            adapter_state_dict: its tensors, in place of the file.
            low_cpu_mem_usage: without effect.
            is_trainable: whether it trains on; else the model is put in evaluation mode.
            hotswap: "auto" or False; to take the place of an adapter, delete that one first.
            local_files_only, adapter_kwargs, **hub: where and how to look, as in `from_pretrained`.
            use_safetensors: True or False takes that format alone.

        Returns:
            Where each parameter of the adapter came from.

        Raises:
            AdapterError: there is one of that name, or this method of peft needs a `PeftModel`.
            ConfigError: adapter_config.json cannot be meant.
            FileError: files are missing or damaged, or the Hub failed.
            WeightsError: the tensors do not fit; the model is then as it was.
        """
        from autoload.weights import find_part

        if hotswap not in ("auto", False):
            text = f"load_adapter: hotswap is {hotswap!r}, expected 'auto' or False. Delete the other adapter first."
            raise ArgumentError(text, name="hotswap")
        files = None
        if peft_model_id is not None:
            where = {**hub, **({"local_files_only": True} if local_files_only else {}), **(adapter_kwargs or {})}
            files = open_files(peft_model_id, purpose="adapter", **_known("load_adapter", where))
        elif peft_config is None or adapter_state_dict is None:
            text = "load_adapter: pass the name of an adapter, or both peft_config and adapter_state_dict."
            raise ArgumentError(text, name="peft_model_id")
        if peft_config is None or isinstance(peft_config, Mapping):
            peft_config = configuration(files, peft_config)
        if hasattr(peft_config, "inference_mode"):
            peft_config.inference_mode = not is_trainable
        origin = "adapter_state_dict"
        if adapter_state_dict is None:
            weights = find_part(files, WEIGHTS, use_safetensors)  # type: ignore[arg-type]
            origin, adapter_state_dict = weights.paths[0].name, {name: weights.read(name) for name in weights.entries}
        name = adapter_name or "default"
        trained = [p for p in self.parameters() if p.requires_grad]  # type: ignore[attr-defined]
        _inject(self, peft_config, name, _where(files) if files else "load_adapter")
        try:
            return _fill(self, name, adapter_state_dict, origin, files.where if files else origin)
        except BaseException:
            self.delete_adapter(name)
            for parameter in trained:
                parameter.requires_grad_(True)
            raise

    def set_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Use this adapter, or these together, and let it train; the others rest."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        _present(self, names)
        for layer in _wrappers(self):
            layer.set_adapter(adapter_name if isinstance(adapter_name, str) else names)

    def enable_adapters(self) -> None:
        """Use the adapters again."""
        _present(self)
        for layer in _wrappers(self):
            layer.enable_adapters(enabled=True)

    def disable_adapters(self) -> None:
        """Use the model alone."""
        _present(self)
        for layer in _wrappers(self):
            layer.enable_adapters(enabled=False)

    def active_adapters(self) -> list[str]:
        """Names of the adapters in use."""
        _present(self)
        active = next(_wrappers(self)).active_adapter
        return [active] if isinstance(active, str) else list(active)

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The tensors of one adapter, by the names that they have in a file but for its prefix.

        Args:
            adapter_name: the first of the active ones if None.
            state_dict: of the model, where it is made in another way.
        """
        _present(self, [] if adapter_name is None else [adapter_name])
        name = self.active_adapters()[0] if adapter_name is None else adapter_name
        return _peft().get_peft_model_state_dict(self, state_dict=state_dict, adapter_name=name)

    def delete_adapter(self, adapter_names: str | Sequence[str]) -> None:
        """Take adapters away; after the last one the model has its own layers again."""
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        _present(self, names)
        from peft.functional import delete_adapter  # type: ignore[import-not-found]

        model: Any = self
        for name in names:
            delete_adapter(model, name, f"{self.peft_config[name].peft_type.value.lower()}_")
            del self.peft_config[name]
        if not self.peft_config:
            _unwrap(self)


def load_with_base(
    load: Callable[..., Any], files: Files, name: str, model_args: Sequence[Any], given: Mapping[str, Any]
) -> Any:
    """The model that an adapter belongs to, with the adapter on it.

    Args:
        load: loads a model by name and keywords.
        files: of the adapter.
        name: of the adapter; a directory that has the model too is that model.
        model_args: for the model's constructor.
        given: keywords of `from_pretrained`; those that say where in a repository to look are the adapter's.
    """
    content = _content(files)
    base, revision = content.get("base_model_name_or_path"), content.get("revision")
    if os.path.isfile(os.path.join(name, "config.json")):
        base, revision = name, None
    if not isinstance(base, str) or not base:
        raise ConfigError("base_model_name_or_path", base, "the name of the model it belongs to", where=_where(files))
    if importlib.util.find_spec("peft") is None:
        raise files.missing(["config.json"], f"an adapter for {base}, which needs the package: pip install peft")
    hub = {key: given[key] for key in HUB_KEYWORDS if key in given} | dict(given["adapter_kwargs"] or {})
    own = {key: value for key, value in given.items() if key not in ("subfolder", "output_loading_info")}
    model = load(base, *model_args, **(own | dict(revision=revision, adapter_name=None, adapter_kwargs=None)))
    report = model.load_adapter(name, given["adapter_name"], use_safetensors=given["use_safetensors"], **hub)
    return (model, report.as_dict()) if given["output_loading_info"] else model


def written(model: Any, state: Mapping[str, Tensor] | None, prefixed: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What `save_pretrained` writes in place of a model that has an adapter: texts by file, and tensors.

    Raises:
        AdapterError: several adapters are active.
    """
    active = model.active_adapters()
    if len(active) > 1:
        raise AdapterError(
            f"save_pretrained: the adapters {', '.join(active)} are active, expected one. Save them one after the "
            "other, each after set_adapter.",
            name=None,
            available=[*model.peft_config],
        )
    tensors = model.get_adapter_state_dict(active[0], state)
    with tempfile.TemporaryDirectory() as folder:
        model.peft_config[active[0]].save_pretrained(folder)
        text = (Path(folder) / CONFIG).read_text(encoding="utf-8")
    return {CONFIG: text}, {f"{PREFIX if prefixed else ''}{name}": tensor for name, tensor in tensors.items()}


def configuration(files: Files | None, content: Mapping[str, Any] | None = None) -> Any:
    """The configuration of an adapter, as an object of peft; `content` in place of the file."""
    peft, where = _peft(), _where(files) if files is not None else "peft_config"
    fields: Mapping[str, Any] = _content(files) if content is None and files is not None else content or {}
    content = {key: value for key, value in fields.items() if key != "runtime_config"}
    types = sorted(str(kind.value) for kind in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING)
    if content.get("peft_type") not in types:
        near = did_you_mean(str(content.get("peft_type")), types)
        raise ConfigError("peft_type", content.get("peft_type"), f"a method of peft{near}", where=where)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made = peft.PeftConfig.from_peft_type(**content)
    except UNFORESEEN as e:
        raise ConfigError.of(e, where, "configuration of peft") from e
    for warning in said:
        logger.warning("%s: %s", where, warning.message)
    return made


def _content(files: Files) -> dict[str, Any]:
    content = files.json(CONFIG)
    if content is None:
        raise files.missing([CONFIG], "the configuration of the adapter")
    if not isinstance(content, dict):
        text = f"{_where(files)}: expected a JSON object, found {type(content).__name__}."
        raise CorruptFile(text, path=_where(files))
    return content


def _where(files: Files) -> str:
    return os.path.join(files.where, CONFIG)


def _inject(model: Any, config: Any, name: str, where: str) -> None:
    """Put new layers around those that the configuration names."""
    if name in getattr(model, "peft_config", {}):
        text = f"{where}: the model has an adapter {name!r}. Give this one another adapter_name, or delete that one."
        raise AdapterError(text, name=name, available=[*model.peft_config])
    if getattr(model, "_device_mesh", None) is not None:
        text = f"{where}: found a model over several processes, expected a whole one. Use get_peft_model of peft."
        raise AdapterError(text, name=name, available=[])
    try:
        _peft().inject_adapter_in_model(config, model, name)
    except UNFORESEEN as e:
        if not model._hf_peft_config_loaded:
            _unwrap(model)
        else:
            model.peft_config.pop(name, None)
        if isinstance(e, AutoloadError):
            raise
        text = f"{where}: {type(config).__name__} does not go on a {type(model).__name__}: {e}"
        raise AdapterError(text, name=name, available=[*getattr(model, "peft_config", ())]) from e
    model._hf_peft_config_loaded = True


def _fill(model: Any, name: str, tensors: Mapping[str, Tensor], origin: str, where: str) -> LoadingReport:
    """Put tensors into an adapter, and see that it lacks none."""
    from autoload.loading import LoadingReport

    plain = {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}
    before = {id(p): p._version for p in model.parameters()}
    try:
        found = _peft().set_peft_model_state_dict(model, plain, name)
    except KeyError as e:  # of a part that is kept whole
        raise WeightsError(f"{where}: lacks {e.args[0]}.", missing=[*e.args], unexpected=[]) from e
    except (RuntimeError, ValueError) as e:
        raise WeightsError(f"{where}: {' '.join(str(e).split())[:600]}", missing=[], unexpected=[]) from e
    own = [key for key, p in model.named_parameters() if name in key.split(".")]
    missing = [key for key in found.missing_keys if key in own]
    if missing or found.unexpected_keys:
        what = [f"lacks {', '.join(missing[:5])}"] * bool(missing)
        what += [f"has {', '.join(found.unexpected_keys[:5])}"] * bool(found.unexpected_keys)
        text = f"{where}: {' and '.join(what)}, expected the {len(own)} tensors that its configuration asks for."
        remedy = f"Check that {CONFIG} belongs to it, and the model too."
        raise WeightsError(text, remedy=remedy, missing=missing, unexpected=[*found.unexpected_keys])
    if getattr(model.peft_config[name], "inference_mode", False):
        model.eval()
        for layer in _wrappers(model):
            layer.requires_grad_(False)
    filled = [key for key, p in model.named_parameters() if p._version != before.get(id(p))]
    return LoadingReport(sources=dict.fromkeys(filled, origin))


def _present(model: Any, names: Sequence[str] = ()) -> None:
    """Raise unless the model has these adapters, or any."""
    available = [*getattr(model, "peft_config", ())] if model._hf_peft_config_loaded else []
    absent = [name for name in names if name not in available]
    if absent or not available:
        text = f"the model has no adapter{f' {absent[0]!r}' if absent else ''}, found {', '.join(available) or 'none'}."
        raise AdapterError(f"{text} Use add_adapter or load_adapter.", name=[*absent, None][0], available=available)


def _wrappers(model: Any) -> Iterator[Any]:
    """The layers of peft in a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # type: ignore[import-not-found]
    from peft.utils.other import AuxiliaryTrainingWrapper  # type: ignore[import-not-found]

    return (m for m in model.modules() if isinstance(m, (BaseTunerLayer, AuxiliaryTrainingWrapper)))


def _unwrap(model: Any) -> None:
    """Give a model its own layers back."""
    outer: dict[str, Any] = {}
    layers = {id(layer) for layer in _wrappers(model)}
    for path, module in model.named_modules():
        if id(module) in layers and not any(path.startswith(f"{other}.") for other in outer):
            outer[path] = module
    for path, module in outer.items():
        parent, _, leaf = path.rpartition(".")
        setattr(model.get_submodule(parent), leaf, _inside(module))
    model.__dict__.pop("peft_config", None)
    model._hf_peft_config_loaded = False


def _inside(module: Any) -> nn.Module:
    base = getattr(module, "get_base_layer", None)
    return base() if base is not None else module.unload_and_optionally_merge_module(False, False, None)


def _known(function: str, keywords: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keywords, if all of them say how to reach the Hub."""
    from autoload.errors import unknown_argument

    for key in keywords:
        if key not in HUB_KEYWORDS:
            raise unknown_argument(function, key, HUB_KEYWORDS)
    return keywords


def _peft() -> Any:
    try:
        import peft  # type: ignore[import-not-found]
    except ImportError as e:
        raise ImportError("adapters need the package peft, which is not installed: pip install 'autoload[peft]'") from e
    return peft
