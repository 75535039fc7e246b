"""A module named `transformers` made of this library, for environments without the reference.

`install()` lets sentence-transformers load and encode, and PEFT train, save and load adapters, where the reference is not
installed. Only what those two import is served: our own objects (`OURS`), small functions (`SMALL`), and placeholders
for classes that they name but do not use on that way (`PLACEHOLDERS`), which raise an ImportError when they are made.
Every other name is an ImportError that says so. Nothing happens unless `install()` is called; `uninstall()` takes it back.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from enum import Enum
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ROOT = "transformers"
AUTO = "AutoConfig AutoModel AutoModelForCausalLM AutoModelForMaskedLM AutoModelForMultimodalLM AutoTokenizer"
HEADS = "AutoModelForQuestionAnswering AutoModelForSeq2SeqLM AutoModelForSequenceClassification"
TOKENIZERS = "PreTrainedTokenizer PreTrainedTokenizerBase PreTrainedTokenizerFast BatchEncoding"
CACHES = "Cache DynamicCache EncoderDecoderCache StaticCache"
# Configurations that sentence-transformers tells encoder-decoder models by.
CONFIGS = (
    "BlenderbotConfig BlenderbotSmallConfig LongT5Config M2M100Config MT5Config MarianConfig PegasusConfig PegasusXConfig "
    "ProphetNetConfig SwitchTransformersConfig T5Config UMT5Config UdopConfig WhisperConfig"
)

# Module below `transformers` -> names in it -> where they are: "module:name", or "module" for the same name there.
OURS: dict[str, dict[str, str]] = {
    "": {
        **dict.fromkeys(f"{AUTO} {HEADS} AutoModelForTokenClassification".split(), "autoload"),
        **dict.fromkeys(f"{TOKENIZERS} {CACHES} PreTrainedModel PreTrainedConfig PretrainedConfig".split(), "autoload"),
        **dict.fromkeys("GenerationConfig GenerationMixin StoppingCriteria StoppingCriteriaList".split(), "autoload"),
        "AutoProcessor": "autoload:AutoTokenizer",  # of text models it is the tokenizer
        "AddedToken": "tokenizers",
    },
    "cache_utils": dict.fromkeys(CACHES.split(), "autoload"),
    "configuration_utils": dict.fromkeys(("PretrainedConfig", "PreTrainedConfig"), "autoload"),
    "integrations.peft": {"PeftAdapterMixin": "autoload.adapters:AdapterMixin"},
    "modeling_utils": {"PreTrainedModel": "autoload"},
    "modeling_outputs": dict.fromkeys(
        "BaseModelOutput CausalLMOutputWithPast QuestionAnsweringModelOutput SequenceClassifierOutput TokenClassifierOutput".split(),
        "autoload.outputs",
    ),
    "pytorch_utils": {"Conv1D": "autoload.layers.linear"},
    "tokenization_utils_base": dict.fromkeys(("BatchEncoding", "PreTrainedTokenizerBase"), "autoload"),
    "utils": {"ModelOutput": "autoload"},
}
FILES = {
    "CONFIG_NAME": "config.json",
    "GENERATION_CONFIG_NAME": "generation_config.json",
    "SAFE_WEIGHTS_NAME": "model.safetensors",
    "SAFE_WEIGHTS_INDEX_NAME": "model.safetensors.index.json",
    "WEIGHTS_NAME": "pytorch_model.bin",
    "WEIGHTS_INDEX_NAME": "pytorch_model.bin.index.json",
    "ADAPTER_CONFIG_NAME": "adapter_config.json",
    "ADAPTER_SAFE_WEIGHTS_NAME": "adapter_model.safetensors",
    "ADAPTER_WEIGHTS_NAME": "adapter_model.bin",
}
TRAINER_FILES = {
    "OPTIMIZER_NAME": "optimizer.pt",
    "OPTIMIZER_NAME_BIN": "optimizer.bin",
    "SCALER_NAME": "scaler.pt",
    "SCHEDULER_NAME": "scheduler.pt",
    "TRAINER_STATE_NAME": "trainer_state.json",
    "TRAINING_ARGS_NAME": "training_args.bin",
}
PLACEHOLDERS: dict[str, str] = {
    "": f"{CONFIGS} BloomPreTrainedModel EvalPrediction FeatureExtractionMixin ImageProcessingMixin ProcessorMixin Trainer "
    "TrainerCallback TrainerControl TrainerState TrainingArguments",
    "conversion_mapping": "",
    "core_model_loading": "Concatenate ConversionOps MergeModulelist Transpose WeightConverter WeightRenaming "
    "dot_natural_key rename_source_key",
    "dynamic_module_utils": "get_relative_import_files",
    "feature_extraction_utils": "FeatureExtractionMixin",
    "image_processing_utils": "BaseImageProcessor",
    "integrations": "CodeCarbonCallback TrackioCallback WandbCallback",
    "modelcard": "make_markdown_table",
    "processing_utils": "ProcessorMixin",
    "trainer": "Trainer",
    "trainer_callback": "TrainerCallback TrainerControl TrainerState",
    "trainer_utils": "EvalLoopOutput EvalPrediction HubStrategy",
    "training_args": "ParallelMode TrainingArguments",
    "utils.hub": "get_checkpoint_shard_files",
}


def install() -> None:
    """Serve `import transformers` from this library.

    Raises:
        RuntimeError: a module of that name is imported already; this one must come first.
    """
    found = sys.modules.get(ROOT)
    if isinstance(found, Served):
        return
    if found is not None:
        raise RuntimeError(
            f"{ROOT} is imported already, from {getattr(found, '__file__', None)}. Call autoload.compat.install() before "
            "anything that imports it, or do without: our models work beside it."
        )
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Serve it no more. Modules that took names from it keep these."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in [name for name, module in sys.modules.items() if isinstance(module, Served)]:
        del sys.modules[name]


class Served(ModuleType):
    """One of the modules; what is in it is looked up on first use."""

    def __getattr__(self, name: str) -> Any:
        below = self.__name__.partition(".")[2]
        if (home := OURS.get(below, {}).get(name)) is not None:
            module, _, other = home.partition(":")
            value = getattr(importlib.import_module(module), other or name)
        elif name in SMALL.get(below, {}):
            value = SMALL[below][name]
        elif name in PLACEHOLDERS.get(below, "").split():
            value = _configuration(name) if name.endswith("Config") else _placeholder(name)
        else:
            raise AttributeError(f"{_said(f'{self.__name__}.{name}')}", name=name, obj=self)
        setattr(self, name, value)
        return value


class Finder(MetaPathFinder, Loader):
    """Makes the modules; for others below `transformers`, and for names that no module has, it says why there are none."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        root, _, below = fullname.partition(".")
        if root != ROOT:
            return None
        if below not in MODULES:  # this is also where `from transformers import Name` ends up
            raise ModuleNotFoundError(_said(fullname), name=ROOT)
        return ModuleSpec(fullname, self, origin=__file__, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Served(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        from autoload import REFERENCE_VERSION

        if module.__name__ == ROOT:
            module.__dict__["__version__"] = REFERENCE_VERSION


def _said(name: str) -> str:
    return (
        f"{name} is not there: autoload stands in for {ROOT} in this process (autoload.compat), and serves only what "
        "sentence-transformers needs to encode and PEFT to train adapters. Install the package itself for the rest."
    )


def _placeholder(name: str) -> Any:
    """A class to inherit from and to ask `isinstance` for, or a function, that cannot be used."""
    if name[:1].islower():

        def function(*unused: Any, **also_unused: Any) -> Any:
            raise ImportError(_said(f"{name}()"))

        return function

    def make(self: Any, *unused: Any, **also_unused: Any) -> None:
        raise ImportError(_said(name))

    members = {"__init__": make, "__module__": __name__, "_VALID_DICT_FIELDS": [], "_VALID_LIST_FIELDS": []}
    return type(name, (), members)


def _configuration(name: str) -> Any:
    """Our configuration class where the type is here, else one that nothing is an instance of."""
    import autoload

    return getattr(autoload, name, None) or _placeholder(name)


class Once(logging.LoggerAdapter):
    """A logger that can also say a thing once only."""

    said: set[tuple[str, str]] = set()

    def warning_once(self, message: str, *arguments: Any) -> None:
        if (self.logger.name, message) not in self.said:
            self.said.add((self.logger.name, message))
            self.warning(message, *arguments)


class Named(str, Enum):
    """An enumeration of texts."""


class Uploads:
    """What an object with `save_pretrained` needs to be uploaded."""

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Save and upload; returns the address of the commit."""
        from autoload.model import PreTrainedModel

        return PreTrainedModel.push_to_hub(self, repo_id, **hub)  # type: ignore[arg-type]


class Activations(dict[str, Any]):
    """Activation functions by name, made when asked for."""

    def __missing__(self, name: str) -> Any:
        from autoload.layers.activations import Activation

        return Activation(name)


def _has(package: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(package) is not None


def _compiling() -> bool:
    import torch

    return torch.compiler.is_compiling()


def cached_file(path_or_repo_id: Any, filename: str, **hub: Any) -> str | None:
    """Path of a file of a directory or of a Hub repository; None where there is none."""
    from autoload.hub import open_files

    wanted = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
    found = open_files(path_or_repo_id, **{k: v for k, v in hub.items() if k in wanted}).find(filename)
    return None if found is None else str(found)


def _adapter_config(model_id: Any, **hub: Any) -> str | None:
    from autoload.errors import FileError

    try:
        return cached_file(model_id, FILES["ADAPTER_CONFIG_NAME"], **hub)
    except FileError:
        return None


def _logging() -> ModuleType:
    module = ModuleType(f"{ROOT}.utils.logging")
    module.get_logger = lambda name=None: Once(logging.getLogger(name or "autoload"), {})  # type: ignore[attr-defined]
    module.get_verbosity = lambda: logging.getLogger("autoload").getEffectiveLevel()  # type: ignore[attr-defined]
    return module


AVAILABLE: dict[str, Any] = {
    "is_datasets_available": _has("datasets"),
    "is_peft_available": _has("peft"),
    "is_nltk_available": _has("nltk"),
    "is_torch_npu_available": lambda: False,
}
SMALL: dict[str, dict[str, Any]] = {
    "": AVAILABLE,
    "activations": {"ACT2FN": Activations()},
    # Adapters are never renamed: parameters here have the names of the reference's present release.
    "conversion_mapping": {
        "_MODEL_TO_CONVERSION_PATTERN": {},
        "get_checkpoint_conversion_mapping": lambda *unused, **also_unused: None,
        "get_model_conversion_mapping": lambda *unused, **also_unused: [],
    },
    "distributed": {},
    "distributed.utils": {"is_dtensor": lambda tensor: type(tensor).__name__ == "DTensor"},
    "distributed.sharding_utils": {"DtensorShardOperation": _placeholder("DtensorShardOperation")},
    "integrations": {"deepspeed_config": lambda: None, "is_deepspeed_zero3_enabled": lambda: False},
    "trainer": TRAINER_FILES,
    "utils": {
        **FILES,
        **AVAILABLE,
        "logging": _logging(),
        "ExplicitEnum": Named,
        "PushToHubMixin": Uploads,
        "cached_file": cached_file,
        "http_user_agent": lambda user_agent=None: "autoload",
        "is_torchdynamo_compiling": _compiling,
    },
    "utils.hub": {"cached_file": cached_file, "PushToHubMixin": Uploads},
    "utils.import_utils": {**AVAILABLE, "NLTK_IMPORT_ERROR": "{0} needs the package nltk: pip install nltk"},
    "utils.peft_utils": {"find_adapter_config_file": _adapter_config},
}
MODULES = frozenset({*OURS, *PLACEHOLDERS, *SMALL})
_finder = Finder()
