"""What every loaded model can do besides its forward pass."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn as nn
from torch import Tensor

from autoload.adapters import AdapterMixin
from autoload.bridge import stands_for
from autoload.config import PreTrainedConfig
from autoload.errors import ArgumentError, unknown_argument
from autoload.generation.generate import GenerationMixin
from autoload.keys import Rule
from autoload.layers.attention import KERNELS, Context
from autoload.layers.linear import Conv1D
from autoload.losses import causal_lm_loss, named_loss
from autoload.signatures import SHARED, keywords_of, spelled_out

if TYPE_CHECKING:
    from autoload.loading import LoadingReport


@dataclass(frozen=True)
class Variant:
    """What tells one model type of a family from another.

    `spec` turns a configuration into the family's own settings. `heads` replaces heads of the family by task, `members`
    sets attributes of the classes (base_model_prefix, say). `keys` says how the Hub's parameter names differ from ours,
    `ignores` gives a pattern of names that the Hub's files have and the model has no use for.
    """

    spec: Callable[[Any], Any] = lambda config: None
    heads: Mapping[str, type] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    keys: Sequence[Rule] = ()
    ignores: Callable[[Any], str] | None = None


@stands_for("transformers.modeling_utils")
class PreTrainedModel(GenerationMixin, AdapterMixin, nn.Module):
    """Base of all models: a configuration, and the powers that do not depend on the architecture.

    Args:
        config: of the model. It is kept, not copied.
    """

    config_class: ClassVar[Any] = PreTrainedConfig
    base_class: ClassVar[Any] = None  # of a model with a head: the model without one
    base_model_prefix: ClassVar[str] = "model"
    main_input_name: ClassVar[str] = "input_ids"
    variant: ClassVar[Variant] = Variant()
    loading_report: LoadingReport  # of a model that was loaded
    may_lack: ClassVar[tuple[str, ...]] = ()  # parts that checkpoints often lack; new ones are made and named
    computed: ClassVar[tuple[str, ...]] = ()  # endings of names that checkpoints often lack and `init_own` computes
    unsaved: ClassVar[tuple[str, ...]] = ()  # endings of names that are not written
    read_from: Mapping[str, str] = {}  # parameters that the file of a larger model has under another name
    passes_over: tuple[str, ...] = ()  # first parts of names that only larger models have a place for
    keep_fp32: ClassVar[tuple[str, ...]] = ()  # parts that stay fp32 when weights are loaded in half precision
    keep_fp32_in_fp16: ClassVar[tuple[str, ...]] = ()  # parts that stay fp32 when weights are loaded in fp16
    ties: ClassVar[bool] = False  # weights, where the configuration does not say so
    apart: frozenset[str] = frozenset()  # parameters that could be tied, but had values of their own in the file
    reads: ClassVar[tuple[str, ...] | None] = ()  # keywords that code looks up in the **kwargs of `forward`; None: any
    accepts: ClassVar[frozenset[str] | None] = None  # all keywords of `forward`, where it would pass over others
    loss_type: str | None = None  # what the class's name says of it; trainers count labels by it
    is_quantized = False  # by `quantization_config`
    _no_split_modules: list[str] = []
    # What trainers, adapters and pipelines written for the reference look up; nothing here reads these.
    _keys_to_ignore_on_save: ClassVar[Any] = None
    input_modalities: ClassVar[Any] = "text"
    output_modalities: ClassVar[Any] = ("text",)
    supports_gradient_checkpointing = True
    gradient_checkpointing = False

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        cls.loss_type = named_loss(cls.__name__)
        if "variant" in vars(cls):  # a class of one model type
            cls.forward = spelled_out(cls, (cls.base_class or cls).named_inputs())
            cls.__init__ = _initialised(cls.__init__)
            cls.accepts = keywords_of(cls)
        elif "forward" in vars(cls):  # a user's, who knows what it takes
            cls.accepts = None

    def __init__(self, config: Any):
        super().__init__()
        if not hasattr(config, "to_dict"):
            raise ArgumentError(
                f"{type(self).__name__}: expected a configuration, found {type(config).__name__}.", name="config"
            )
        self.config = config
        self.name_or_path = getattr(config, "_name_or_path", "")
        self.warnings_issued: dict[str, bool] = {}
        self.model_tags: list[str] = []
        self.generation_config: Any = None
        self._checkpoint: Any = None
        if self.can_generate():
            from autoload.generation.configuration import GenerationConfig

            self.generation_config = GenerationConfig.from_model_config(config)

    # -- making and keeping

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **keywords: Any
    ) -> Any:
        """Load this class from a directory or the Hub; takes the keywords of `AutoModel.from_pretrained`."""
        from autoload.auto import load_model

        return load_model(cls, pretrained_model_name_or_path, *model_args, **keywords)

    @classmethod
    def _from_config(cls, config: Any, **keywords: Any) -> Any:
        from autoload.auto import build_model

        return build_model(cls, config, **keywords)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: Any = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "50GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        token: str | bool | None = None,
        save_peft_format: bool = True,
        save_original_format: bool = True,
        **hub: Any,
    ) -> None:
        """Write configuration and weights into a directory; see `autoload.saving.save_model`."""
        from autoload.saving import save_model

        save_model(
            self,
            save_directory,
            is_main_process=is_main_process,
            state_dict=state_dict,
            push_to_hub=push_to_hub,
            max_shard_size=max_shard_size,
            variant=variant,
            token=token,
            save_peft_format=save_peft_format,
            save_original_format=save_original_format,
            **hub,
        )

    def further_texts(self) -> dict[str, str]:
        """Names and content of text files that belong to the saved model."""
        return {}

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Save and upload; returns the address of the commit."""
        import tempfile

        from autoload.saving import upload

        saving = {key: hub.pop(key) for key in ("max_shard_size", "variant") if key in hub}
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **saving)
            return upload(folder, repo_id=repo_id, **hub)

    def init_weights(self) -> None:
        """Fill all parameters with fresh values; what `from_config` does."""
        std = getattr(self.config.get_text_config(), "initializer_range", 0.02)
        for module in self.modules():
            init_module(module, std)
        self.tie_weights()

    def post_init(self) -> None:
        """What the constructor of a user's subclass calls last: parameters that it added get fresh values too."""
        from autoload.skeleton import Skeleton

        if not Skeleton.is_built():
            self.init_weights()

    # -- parts

    @property
    def base_model(self) -> Any:
        """The model without its head."""
        return getattr(self, self.base_model_prefix, self)

    def get_input_embeddings(self) -> Any:
        """The table of token embeddings."""
        base = self.base_model
        if base is not self and isinstance(base, PreTrainedModel):
            return base.get_input_embeddings()
        return self.get_submodule(self.embeddings_path)

    def set_input_embeddings(self, value: nn.Module) -> None:
        base = self.base_model
        if base is not self and isinstance(base, PreTrainedModel):
            base.set_input_embeddings(value)
        else:
            _set_submodule(self, self.embeddings_path, value)

    embeddings_path: ClassVar[str] = "embed_tokens"
    output_path: ClassVar[str | None] = None  # of the layer that scores the vocabulary

    def get_output_embeddings(self) -> Any:
        """The layer that scores the vocabulary, or None."""
        return None if self.output_path is None else self.get_submodule(self.output_path)

    def set_output_embeddings(self, value: nn.Module) -> None:
        if self.output_path is not None:
            _set_submodule(self, self.output_path, value)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        """Parameters that are another one: target to source."""
        return {}

    @property
    def ties_weights(self) -> bool:
        """Whether the configuration asks for ties."""
        return getattr(self.config.get_text_config(decoder=True), "tie_word_embeddings", self.ties)

    @property
    def tied_weights(self) -> dict[str, str]:
        """What is tied, target to source: all that can be, where the configuration asks for it and no file objected."""
        tied = self._tied_weights_keys if self.ties_weights else {}
        return {target: source for target, source in tied.items() if target not in self.apart}

    def tie_weights(self, *unused: Any, **also_unused: Any) -> None:
        """Make tied parameters one object, where the configuration ties them."""
        for target, source in self.tied_weights.items():
            path, _, leaf = target.rpartition(".")
            setattr(self.get_submodule(path), leaf, self.get_parameter(source))

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Make room for more tokens, or drop the last ones; new rows are the mean of the old.

        Args:
            new_num_tokens: rows of the new table; None keeps the number.
            pad_to_multiple_of: round the number up.
            mean_resizing: False fills new rows as a fresh model would.
        """
        old = self.get_input_embeddings()
        if not hasattr(old, "num_embeddings"):
            text = f"{type(self).__name__} has no table of tokens to resize; it reads {self.main_input_name}."
            raise ArgumentError(text, name="resize_token_embeddings")
        count = old.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if count == old.num_embeddings:
            return old
        std = getattr(self.config.get_text_config(), "initializer_range", 0.02)
        table = resized(old, count, mean_resizing, std)
        self.set_input_embeddings(table)
        head = self.get_output_embeddings()
        if head is not None:
            self.set_output_embeddings(resized_head(head, count, mean_resizing, std))
        self.after_resize(count)
        self.config.get_text_config().vocab_size = count
        self.tie_weights()
        return table

    def after_resize(self, count: int) -> None:
        """For heads that hold the vocabulary's size in other parameters too."""

    # -- running

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run `forward`, as every module does; a keyword that neither it nor any other model knows is an error."""
        if self.accepts is not None:
            for name, value in keywords.items():
                known = name in self.accepts or name in SHARED or value is None
                if not known and "forward" not in self.__dict__:  # which another program puts there
                    raise unknown_argument(f"{type(self).__name__}.forward", name, self.accepts)
        return super().__call__(*arguments, **keywords)

    def run(self, layer: Callable[[Any, Context], Any], x: Any, context: Context) -> Any:
        """One layer; in training with gradient checkpointing its inside is computed again in the backward pass."""
        if self.gradient_checkpointing and self.training and self._checkpoint is not None:
            return self._checkpoint(layer.__call__, x, context)
        return layer(x, context)

    @property
    def loss_function(self) -> Callable[..., Tensor]:
        """The causal loss; heads with another loss call theirs."""
        return getattr(self, "_loss_function", None) or causal_lm_loss

    @loss_function.setter
    def loss_function(self, value: Callable[..., Tensor]) -> None:
        self._loss_function = value

    def set_attn_implementation(self, name: str) -> None:
        """Choose the attention kernel."""
        if name not in KERNELS:
            raise ArgumentError(
                f"attn_implementation is {name!r}, expected one of {', '.join(KERNELS)}.", name="attn_implementation"
            )
        for part in self.modules():  # models that hold others
            if isinstance(part, PreTrainedModel):
                part.config._attn_implementation = name

    # -- training

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **unused: Any
    ) -> None:
        """Trade time for memory in training: keep only the layers' inputs."""
        from torch.utils.checkpoint import checkpoint

        keywords = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                module.gradient_checkpointing = True
                module._checkpoint = partial(checkpoint, **keywords)
        if keywords["use_reentrant"] and self.main_input_name == "input_ids":  # it asks the inputs, not the parameters
            self.enable_input_require_grads()

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: Mapping[str, Any] | None = None, **unused: Any
    ) -> None:
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs)

    def gradient_checkpointing_disable(self) -> None:
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                module.gradient_checkpointing, module._checkpoint = False, None

    activation_checkpointing_disable = gradient_checkpointing_disable

    @property
    def is_gradient_checkpointing(self) -> bool:
        return any(isinstance(m, PreTrainedModel) and m.gradient_checkpointing for m in self.modules())

    is_activation_checkpointing = is_gradient_checkpointing

    def enable_input_require_grads(self) -> None:
        """Let gradients reach the embeddings' output, for adapters on a frozen model."""
        table = self.get_input_embeddings()
        self._input_grads_hook = table.register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))

    def disable_input_require_grads(self) -> None:
        self._input_grads_hook.remove()

    # -- facts

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the first floating parameter."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights; tied ones count once."""
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)} if exclude_embeddings else set()
        own = (p for p in self.parameters() if id(p) not in tables)
        return sum(p.numel() for p in own if p.requires_grad or not only_trainable)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of parameters, and of buffers."""
        size = sum(map(_stored_bytes, self.parameters()))
        return size + (sum(map(_stored_bytes, self.buffers())) if return_buffers else 0)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        return input_dict[self.main_input_name].numel() if self.main_input_name in input_dict else 0

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Operations of a forward and backward pass, by the rule of six per weight and token."""
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    @classmethod
    def named_inputs(cls) -> tuple[str, ...]:
        """Inputs of this type that `forward` looks up among its keywords."""
        return ()

    @classmethod
    def is_custom_code(cls) -> bool:
        """Whether a user wrote this class: its parameters are then none of those that adapters know to rename."""
        return cls.__module__.partition(".")[0] != "autoload"

    def _repr_html_(self) -> str:
        from autoload.notebook import card

        report: Any = getattr(self, "loading_report", None)
        facts = {
            "loaded from": self.name_or_path,
            "parameters": f"{self.num_parameters():,}",
            "memory": f"{self.get_memory_footprint() / 2**20:,.1f} MiB",
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": ", ".join(sorted({str(p.device) for p in self.parameters()})),
            "mode": "training" if self.training else "evaluation",
            "made new": "" if report is None else report.facts()["missing"],
        }
        return card(type(self).__name__, facts, repr(self))

    def add_model_tags(self, tags: str | Sequence[str]) -> None:
        """Tags for the model card."""
        for tag in [tags] if isinstance(tags, str) else tags:
            if tag not in self.model_tags:
                self.model_tags.append(tag)


def _initialised(build: Callable[..., None]) -> Callable[..., None]:
    """A constructor that fills the parameters as `from_config` does, unless it makes a skeleton or a part of a model."""

    @wraps(build)
    def __init__(self: Any, *args: Any, **keywords: Any) -> None:
        from autoload.skeleton import Skeleton

        if Skeleton.is_built():
            build(self, *args, **keywords)
            return
        with Skeleton(device=None):
            build(self, *args, **keywords)
        self.init_weights()

    return __init__


def _stored_bytes(x: Tensor) -> int:
    """What a tensor takes; a quantized one holds several."""
    parts = getattr(x, "__tensor_flatten__", None)
    return x.nbytes if parts is None else sum(getattr(x, name).nbytes for name in parts()[0])


def finish(output: Any, return_dict: bool | None, config: Any) -> Any:
    """The output as the caller wants it: with names, or as a tuple."""
    wanted = return_dict if return_dict is not None else config.return_dict
    return output if wanted else output.to_tuple()


def init_module(module: nn.Module, std: float) -> None:
    """Fresh values for the parameters that a module holds itself; a module may bring its own rule, `init_own`."""
    own: Any = getattr(module, "init_own", None)
    with torch.no_grad():
        if own is not None:
            own(std)
        elif isinstance(module, (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.weight.normal_(0.0, std)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif "Norm" in type(module).__name__:
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if isinstance(weight, Tensor):
                weight.fill_(1.0)
            if isinstance(bias, Tensor):
                bias.zero_()
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()


def resized(old: Any, count: int, mean: bool = True, std: float = 0.02) -> Any:
    """A table of `count` rows; those beyond the old ones are their mean, or fresh."""
    table = copy.copy(old)  # its class may scale what it gives
    table._parameters = dict(old._parameters)  # it may have some beside the rows
    table.num_embeddings = count
    table.weight = nn.Parameter(old.weight.new_empty(count, old.embedding_dim), old.weight.requires_grad)
    _resize_rows(table.weight, old.weight, mean, std)
    return table


def resized_head(old: Any, count: int, mean: bool = True, std: float = 0.02) -> nn.Linear:
    """A layer that scores `count` tokens, with the scores of the old one."""
    new = nn.Linear(old.in_features, count, old.bias is not None, old.weight.device, old.weight.dtype)
    _resize_rows(new.weight, old.weight, mean, std)
    if old.bias is not None:
        _resize_rows(new.bias, old.bias, True, std)
    return new


def _resize_rows(new: Tensor, old: Tensor, mean: bool, std: float) -> None:
    with torch.no_grad():
        kept = min(len(new), len(old))
        new[:kept] = old[:kept]
        if len(new) > kept:
            if mean:
                new[kept:] = old.float().mean(0).to(new.dtype)
            else:
                new[kept:].normal_(0.0, std)


def _set_submodule(root: nn.Module, path: str, value: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(root.get_submodule(parent), leaf, value)
