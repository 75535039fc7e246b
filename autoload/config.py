"""A model's configuration: config.json as attributes.

`PreTrainedConfig` keeps the Hub's field names and every key it does not know, fills in what the model type leaves out
(`autoload/configs/` has those defaults, one file per family), folds old spellings into today's, and refuses values that
cannot be meant before anything is allocated. No torch in here: reading a configuration must stay cheap.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from autoload.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

ACTIVATIONS = frozenset(
    "gelu gelu_10 gelu_accurate gelu_fast gelu_new gelu_python gelu_python_tanh gelu_pytorch_tanh hardswish laplace "
    "leaky_relu linear mish prelu quick_gelu relu relu2 relu6 sigmoid silu sqrtsoftplus swish tanh xielu".split()
)
DTYPES = frozenset(
    "float64 float32 float16 bfloat16 double float half int8 uint8 float8_e4m3fn float8_e5m2 complex64".split()
)
# Fields that `rope_parameters` took the place of; the last two are GPT-NeoX's.
ROPE_FIELDS = dict(
    rope_theta="rope_theta",
    rope_scaling="rope_scaling",
    partial_rotary_factor="partial_rotary_factor",
    rotary_emb_base="rope_theta",
    rotary_pct="partial_rotary_factor",
)
ROPE_TYPES = frozenset("default linear dynamic yarn longrope llama3 proportional axial".split())
OLD_ROPE_TYPES = {"su": "longrope", "xdrope": "dynamic"}

# Fields of the model type "" that a saved file leaves out while they have these values.
COMMON: dict[str, Any] = {
    "architectures": None,
    "output_hidden_states": False,
    "output_attentions": False,
    "return_dict": True,
    "dtype": None,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "problem_type": None,
}
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# Sizes that must be whole numbers of at least one, where a type has them; and the most that can be meant.
SIZES: dict[str, int] = {
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "vocab_size", "head_dim", "n_embd", "dim", "hidden_dim"), 2**31
    ),
    **dict.fromkeys(("embedding_size", "max_position_embeddings", "n_positions", "d_model", "d_ff", "d_kv"), 2**31),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "num_heads"), 2**16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 10_000),
    **dict.fromkeys(("n_inner", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff", "dim_head", "rotary_dim"), 2**31),
    **dict.fromkeys(("word_embed_proj_dim", "state_dim", "act_dim", "max_ep_len", "max_seq_len"), 2**31),
    **dict.fromkeys(("attention_heads", "num_kv_heads", "prompt_types", "prompt_length", "segment_types"), 2**16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok"), 2**16),
    "type_vocab_size": 2**31,
    **dict.fromkeys(
        ("sliding_window", "attention_chunk_size", "attention_window", "image_size", "patch_size", "num_channels"),
        2**31,
    ),
}
# Sizes that may have one value per axis or layer.
LISTS = frozenset({"image_size", "patch_size", "intermediate_size", "attention_window", "moe_topk"})
FREE = frozenset({"id2label", "label2id", "rope_parameters", "gating"})  # checked elsewhere, or of several types
# Sizes for which null is a choice: no window, as many key heads as heads, an even share of the width.
NULLABLE = frozenset(("sliding_window", "attention_chunk_size", "num_key_value_heads", "head_dim"))
MAX_LABELS = 1_000_000
# Names of fields that count layers, which are loops, and the most that can be meant.
LAYERS = re.compile(r"layers?$|^(max_)?depths?$|^block_sizes$|num_blocks$|_per_block$|_networks$|_cycles$|group_num$")
MOST_LAYERS = 10_000


# How a part's configuration is made: of a type, of a class, or of a type among fields that a function fills in.
SubConfig: TypeAlias = "str | type[PreTrainedConfig] | Callable[[Mapping[str, Any]], Mapping[str, Any]]"


@dataclass(frozen=True)
class ConfigSpec:
    """What the config.json of one model type may leave out.

    `defaults` are the reference's, in its order. `aliases` maps a standard name to this type's own (`hidden_size` to
    `n_embd`). `complete` computes fields from others once all are read, `finish` from `rope_parameters` too.
    `sub_configs` maps a field that holds another configuration to the model type it has when the file does not say, or
    to its class where it is no type, or to what fills in the file's fields; those in `optional` may be null, for none.
    A type with `rope_parameters` among its defaults gets them filled from `rope_theta` and `rope_scaling`; `theta` is
    their default base (one per kind of layer where the type always has several), `partial_rotary_factor` the default
    part of a head that turns.
    """

    defaults: Mapping[str, Any]
    aliases: Mapping[str, str] = field(default_factory=dict)
    complete: Callable[[PreTrainedConfig], None] | None = None
    finish: Callable[[PreTrainedConfig], None] | None = None
    sub_configs: Mapping[str, SubConfig] = field(default_factory=dict)
    optional: tuple[str, ...] = ()  # of `sub_configs`
    theta: float | Mapping[str, float] = 10000.0
    partial_rotary_factor: float | None = None
    ignore_at_inference: tuple[str, ...] = ("past_key_values",)
    members: Mapping[str, Any] = field(default_factory=dict)  # further attributes of the class


class PreTrainedConfig:
    """Configuration of one model: attributes are the fields of config.json.

    Args:
        **fields: fields of config.json, by any name that the type knows them by. Unknown ones are kept.

    Raises:
        ConfigError: a field has a value that cannot be meant.
    """

    model_type: ClassVar[str] = ""
    spec: ClassVar[ConfigSpec] = ConfigSpec({})
    attribute_map: ClassVar[Mapping[str, str]] = {}
    keys_to_ignore_at_inference: ClassVar[tuple[str, ...]] = ()
    sub_configs: ClassVar[dict[str, type]] = {}
    written_in_part: ClassVar[bool] = False  # within another configuration, though it has no model type

    def __init__(self, **fields: Any):
        spec = type(self).spec
        values = {**copy.deepcopy(COMMON), **copy.deepcopy(dict(spec.defaults))}
        fields = {self.attribute_map.get(key, key): value for key, value in fields.items() if key != "model_type"}
        labels = fields.pop("num_labels", None)
        self._name_or_path: str = str(fields.pop("name_or_path", fields.pop("_name_or_path", "")))
        self._attn_implementation: str | None = fields.pop(
            "attn_implementation", fields.pop("_attn_implementation", None)
        )
        self._experts_implementation: str | None = fields.pop("experts_implementation", None)
        if (dtype := fields.pop("torch_dtype", None)) is not None and fields.get("dtype") is None:
            fields["dtype"] = dtype
        for key, value in values.items():
            given = fields.pop(key, value)
            unset = given is None and (isinstance(value, bool) or key in SIZES and key not in NULLABLE)
            self.__dict__[key] = value if unset else given
        for key in ("_commit_hash", "transformers_version", "use_return_dict"):
            fields.pop(key, None)
        names = ROPE_FIELDS if "rope_parameters" in self.__dict__ else {}
        rope = {standard: fields.pop(key) for key, standard in names.items() if key in fields}
        self.__dict__.update(fields)
        for name, default_type in spec.sub_configs.items():
            if self.__dict__.get(name) is not None or name not in spec.optional:
                self.__dict__[name] = _sub_config(name, self.__dict__.get(name), default_type)
        _check_types(self, spec.defaults)
        _label_maps(self, labels)
        if spec.complete:
            spec.complete(self)
        if "rope_parameters" in self.__dict__:
            _fold_rope(self, rope, spec)
        if spec.finish:
            spec.finish(self)
        _check_values(self)

    def __setattr__(self, key: str, value: Any) -> None:
        prop = getattr(type(self), key, None)
        if isinstance(prop, property):
            object.__setattr__(self, key, value)
        else:
            self.__dict__[self.attribute_map.get(key, key)] = value

    def __getattr__(self, key: str) -> Any:  # only for names that are not in __dict__
        if not key.startswith("__") and key in self.attribute_map:
            return getattr(self, self.attribute_map[key])
        raise AttributeError(f"{type(self).__name__} has no field {key!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _repr_html_(self) -> str:
        from autoload.notebook import card, some

        names = "hidden_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size num_labels".split()
        sizes = {name: getattr(self, name) for name in (*names, "max_position_embeddings") if hasattr(self, name)}
        facts = {"model_type": self.model_type, "architectures": some(self.architectures or []), **sizes}
        return card(type(self).__name__, facts, self.to_json_string())

    @property
    def name_or_path(self) -> str:
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: str) -> None:
        self._name_or_path = str(value)

    @property
    def num_labels(self) -> int:
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        _label_maps(self, count)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the weights as config.json names it; reading it imports torch."""
        return torch_dtype(self.__dict__["dtype"])

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self.__dict__["dtype"] = dtype_name(value)

    torch_dtype = dtype

    @property
    def rope_scaling(self) -> dict[str, Any] | None:
        return self.__dict__.get("rope_parameters")

    @rope_scaling.setter
    def rope_scaling(self, value: dict[str, Any] | None) -> None:
        _fold_rope(self, {"rope_scaling": value}, self.spec)

    @property
    def use_return_dict(self) -> bool:
        return self.return_dict

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The configuration of the text part: itself unless it holds one."""
        names = ("decoder", "generator", "text_config") if decoder else ("text_encoder",) if encoder else ()
        for name in (*names, "text_config"):
            if isinstance(part := self.__dict__.get(name), PreTrainedConfig):
                return part
        return self

    def update(self, fields: Mapping[str, Any]) -> None:
        """Set several fields."""
        for key, value in fields.items():
            setattr(self, key, value)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data, as config.json would hold them without leaving anything out."""
        from autoload import REFERENCE_VERSION

        hidden = {"_attn_implementation", "_experts_implementation"}
        out = {
            k: v.to_dict() if isinstance(v, PreTrainedConfig) else v
            for k, v in self.__dict__.items()
            if k not in hidden
        }
        for part in self.spec.sub_configs:
            if isinstance(out.get(part), dict):
                del out[part]["transformers_version"]
        out = copy.deepcopy({k: _plain(v) for k, v in out.items()})
        return out | {"model_type": self.model_type, "transformers_version": REFERENCE_VERSION}

    def to_diff_dict(self) -> dict[str, Any]:
        """Like `to_dict`, without the common fields that have their usual value."""
        full = self.to_dict()
        out = {k: v for k, v in full.items() if k not in COMMON or v != COMMON[k] or v != self.spec.defaults.get(k, v)}
        for name, default_type in self.spec.sub_configs.items():
            untyped = isinstance(default_type, type) and not (default_type.model_type or default_type.written_in_part)
            if untyped or name == "backbone_config":  # written in full
                continue
            if isinstance(part := self.__dict__.get(name), PreTrainedConfig):
                # What stands two levels down is written in full, as every reader of such files has seen it.
                usual = {key for key in COMMON if full[name].get(key) == part.spec.defaults.get(key, COMMON[key])}
                out[name] = {key: value for key, value in part.to_diff_dict().items() if key not in usual}
                out[name] |= {inner: full[name][inner] for inner in part.spec.sub_configs}
                out[name].pop("transformers_version")
        out.pop("_name_or_path", None)
        return out

    def to_json_string(self, use_diff: bool = True) -> str:
        """The text of config.json."""
        return (
            json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True, default=str)
            + "\n"
        )

    def to_json_file(self, json_file_path: str | os.PathLike, use_diff: bool = True) -> None:
        """Write config.json, whole or not at all."""
        from autoload.commit import write_text

        write_text(Path(json_file_path), self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **hub: Any) -> None:
        """Write config.json into a directory, creating it; with `push_to_hub`, upload it too."""
        from autoload.commit import output_directory
        from autoload.saving import upload

        folder = output_directory(save_directory)
        self.to_json_file(folder / "config.json")
        if push_to_hub:
            upload(folder, **hub)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **keywords: Any) -> Any:
        """As `AutoConfig.from_pretrained`, for a file of this type."""
        from autoload.auto import load_config

        return load_config(pretrained_model_name_or_path, config_class=cls if cls.model_type else None, **keywords)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **overrides: Any) -> Any:
        """A configuration from the parsed config.json; keywords win over its fields."""
        return cls(**{**config_dict, **overrides})

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike) -> Any:
        """A configuration from one JSON file."""
        from autoload.hub import read_json

        return cls.from_dict(read_json(Path(json_file)))


PretrainedConfig = PreTrainedConfig  # the older spelling, which client programs still import


def make_config_class(name: str, model_type: str, spec: ConfigSpec) -> type[PreTrainedConfig]:
    """The configuration class of one model type; importable as `autoload.<name>`."""
    members = {
        "model_type": model_type,
        "spec": spec,
        "attribute_map": dict(spec.aliases),
        "keys_to_ignore_at_inference": list(spec.ignore_at_inference),
        "sub_configs": dict.fromkeys(spec.sub_configs, PreTrainedConfig),
        "__module__": "autoload",
        "__qualname__": name,
        "__doc__": f"Configuration of a `{model_type}` model.",
        **spec.members,
    }
    return type(name, (PreTrainedConfig,), members)


def dtype_name(value: Any) -> str | None:
    """ "bfloat16" for `torch.bfloat16`, "bfloat16" or "torch.bfloat16"."""
    if value is None:
        return None
    name = str(value).removeprefix("torch.")
    if name not in DTYPES:
        raise ConfigError("dtype", value, f"one of {', '.join(sorted(DTYPES))}", where="configuration")
    return name


def torch_dtype(value: Any) -> torch.dtype | None:
    """The torch dtype of a name."""
    name = dtype_name(value)
    if name is None:
        return None
    import torch

    return getattr(torch, name)


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _sub_config(name: str, value: Any, default_type: SubConfig) -> PreTrainedConfig:
    from autoload.registry import config_class

    if isinstance(value, PreTrainedConfig):
        return value
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ConfigError(name, value, "an object with the fields of a configuration")
    if isinstance(default_type, type):
        return default_type(**value)
    if not isinstance(default_type, str):
        value = default_type(value)
        default_type = ""
    return config_class(value.get("model_type") or default_type)(**value)


def _label_maps(config: PreTrainedConfig, count: Any) -> None:
    """Make `id2label` and `label2id` agree, with `count` labels when a count is given."""
    raw = config.__dict__.get("id2label")
    if isinstance(raw, (list, tuple)):
        raw = dict(enumerate(raw))
    if raw is None:
        raw = COMMON["id2label"]
    if not isinstance(raw, Mapping) or not all(str(k).lstrip("-").isdigit() for k in raw):
        raise ConfigError("id2label", raw, "an object that maps label numbers to names")
    id2label = {int(key): label for key, label in raw.items()}
    if count is not None:
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_LABELS:
            raise ConfigError("num_labels", count, f"a whole number from 1 to {MAX_LABELS}")
        if count != len(id2label):
            id2label = {i: f"LABEL_{i}" for i in range(count)}
            config.__dict__["label2id"] = None
    label2id = config.__dict__.get("label2id")
    if not label2id or label2id == COMMON["label2id"] != {v: k for k, v in id2label.items()}:
        label2id = {str(label): i for i, label in id2label.items()}
    if not isinstance(label2id, Mapping):
        raise ConfigError("label2id", label2id, "an object that maps label names to numbers")
    config.__dict__.update(id2label=id2label, label2id=dict(label2id))


def _check_types(config: PreTrainedConfig, defaults: Mapping[str, Any]) -> None:
    """Bring each field to the type of its default (64.0 for 64, 1 for 1.0), or refuse it."""
    for key, default in (*COMMON.items(), *defaults.items()):
        value = config.__dict__[key]
        if value is None or default is None or key in FREE:
            continue
        if isinstance(default, bool):
            if not isinstance(value, bool) and value not in (0, 1):
                raise ConfigError(key, value, "true or false")
            if not isinstance(value, bool):
                config.__dict__[key] = bool(value)
        elif isinstance(default, (int, float)):
            if isinstance(value, list) and (key in LISTS or key.endswith("_token_id")):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(key, value, "a number")
            if isinstance(default, int) and isinstance(value, float) and value.is_integer():
                config.__dict__[key] = int(value)
        elif isinstance(default, str) and not isinstance(value, str):
            raise ConfigError(key, value, "a string")
        elif isinstance(default, (list, tuple)) and not isinstance(value, (list, tuple)):
            raise ConfigError(key, value, "a list")
    for key in ("architectures", "layer_types"):
        names = config.__dict__.get(key)
        if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
            raise ConfigError(key, names, "a list of names")
    for key, value in config.__dict__.items():
        if isinstance(defaults.get(key), (Mapping, list)):  # one size for each part of the model
            continue
        if key in SIZES and value is not None and not (key in LISTS and isinstance(value, (list, tuple, Mapping))):
            number = config.__dict__[key] = _whole(key, value)
            optional_zero = key in (
                "sliding_window",
                "attention_chunk_size",
                "num_hidden_layers",
                "num_layers",
                "type_vocab_size",
            )
            if not (0 if optional_zero else 1) <= number <= SIZES[key]:
                raise ConfigError(key, number, f"a whole number from 1 to {SIZES[key]}")
        elif isinstance(value, float) and not math.isfinite(value) and "eps" in key:
            raise ConfigError(key, value, "a finite number")
        _check_count(key, value)


def _check_count(key: str, value: Any) -> None:
    """Refuse what no loop over layers ends with, and no tensor can have."""
    for number in value if isinstance(value, (list, tuple)) else (value,):
        if type(number) is int and LAYERS.search(key) and number > MOST_LAYERS:
            raise ConfigError(key, value, f"at most {MOST_LAYERS}")


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise ConfigError(key, value, "a whole number")
    return int(value)


def _fold_rope(config: PreTrainedConfig, given: Mapping[str, Any], spec: ConfigSpec) -> None:
    """One spelling for rotary settings: `rope_parameters`, flat or one per layer type, each with type and theta."""
    by_kind = isinstance(spec.theta, Mapping)
    rope = (not by_kind and given.get("rope_scaling")) or config.__dict__.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        raise ConfigError("rope_parameters", rope, "an object with rope_type and its settings")
    rope = copy.deepcopy(dict(rope))
    if isinstance(spec.theta, Mapping):
        _rope_by_kind(config, rope, given, spec.theta)
    base = given.get("rope_theta") or config.__dict__.get("rope_theta") or (None if by_kind else spec.theta)
    partial = given.get(
        "partial_rotary_factor", config.__dict__.get("partial_rotary_factor", spec.partial_rotary_factor)
    )
    kinds = set(config.__dict__.get("layer_types") or ()) | set(getattr(config, "_rope_type_labels", ()))
    nested = [name for name in rope if name in kinds or (by_kind and name in spec.theta)]
    for one in [rope[name] for name in nested] or ([] if by_kind else [rope]):
        if one is None:  # a kind of layer without positions
            continue
        if not isinstance(one, dict):
            raise ConfigError("rope_parameters", one, "an object with rope_type and its settings")
        one.setdefault("rope_theta", base)
        if partial is not None:
            one.setdefault("partial_rotary_factor", partial)
        named = "su" if one.get("type") == "su" else one.get("rope_type", one.get("type", "default"))
        one["rope_type"] = OLD_ROPE_TYPES.get(named, named) if isinstance(named, str) else named
        if one["rope_type"] in ("llama3", "yarn", "longrope") and "max_position_embeddings" in config.__dict__:
            original = config.__dict__.get("original_max_position_embeddings")
            if original is not None and not nested:
                one["original_max_position_embeddings"] = original
            one.setdefault("original_max_position_embeddings", config.max_position_embeddings)
        _check_rope(one)
    config.__dict__["rope_parameters"] = rope


def _rope_by_kind(
    config: PreTrainedConfig, rope: dict[str, Any], given: Mapping[str, Any], thetas: Mapping[str, float]
) -> None:
    """Fill in each kind's settings; the old flat fields speak of the layers that see everything."""
    local = config.__dict__.pop("rope_local_base_freq", None)
    given_bases = {"full_attention": given.get("rope_theta"), "sliding_attention": local}
    for kind, theta in thetas.items():
        if not isinstance(rope.get(kind) or {}, Mapping):
            raise ConfigError(f"rope_parameters.{kind}", rope[kind], "an object with rope_type and its settings")
        rope[kind] = dict(rope.get(kind) or {"rope_type": "default"})
        if kind == "full_attention" and isinstance(given.get("rope_scaling"), Mapping):
            rope[kind].update(given["rope_scaling"])
        rope[kind].setdefault("rope_theta", given_bases.get(kind) or theta)


def _check_rope(rope: Mapping[str, Any]) -> None:
    kind = rope["rope_type"]
    if kind not in ROPE_TYPES:
        raise ConfigError("rope_parameters.rope_type", kind, f"one of {', '.join(sorted(ROPE_TYPES))}")
    needed = {"linear": ["factor"], "dynamic": ["factor"], "yarn": ["factor"], "proportional": []}.get(kind, [])
    if kind == "llama3":
        needed = ["factor", "low_freq_factor", "high_freq_factor"]
    if kind == "longrope":
        for key in ("short_factor", "long_factor"):
            value = rope.get(key)
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, (int, float)) for v in value):
                raise ConfigError(f"rope_parameters.{key}", value, "a list of numbers")
    for key in ("rope_theta", *needed):
        value = rope.get(key)
        if key == "rope_theta" and value == 0:  # granite_swa: no rotation
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ConfigError(f"rope_parameters.{key}", value, "a positive number")


def _check_values(config: PreTrainedConfig) -> None:
    """What only shows when fields are seen together."""
    fields = config.__dict__
    for key in ("hidden_act", "activation_function", "hidden_activation", "activation", "ffn_activation"):
        name = fields.get(key)
        if isinstance(name, str) and name not in ACTIVATIONS and not name.startswith("g_"):
            close = nearest(name, ACTIVATIONS, 1)
            raise ConfigError(key, name, "a known activation", hint=f"Did you mean {close[0]!r}?" if close else "")
    if fields["dtype"] is not None:
        config.dtype = fields["dtype"]
    if fields["problem_type"] not in (None, *PROBLEM_TYPES):
        raise ConfigError("problem_type", fields["problem_type"], f"one of {', '.join(PROBLEM_TYPES)}")
    if fields["problem_type"] == "single_label_classification" and config.num_labels == 1:
        raise ConfigError("problem_type", fields["problem_type"], "at least 2 labels for it, or 'regression' for one")
    heads, width = getattr(config, "num_attention_heads", None), getattr(config, "hidden_size", None)
    if isinstance(heads, int) and isinstance(width, int):
        usual = config.spec.defaults
        uneven = usual.get("hidden_size", 0) % usual.get("num_attention_heads", 1)  # the type itself rounds down
        own = fields.get("head_dim") or fields.get("d_kv")  # T5's heads need not add up to the stream's width
        if not own and "embedding_size" not in fields and not uneven and width % heads:
            raise ConfigError("num_attention_heads", heads, f"a divisor of hidden_size ({width})")
        groups = getattr(config, "num_key_value_heads", None)
        if isinstance(groups, int) and heads % groups:
            raise ConfigError("num_key_value_heads", groups, f"a divisor of num_attention_heads ({heads})")
    for key, value in fields.items():
        if value is None:
            continue
        if key.endswith("_token_id"):
            _check_token_id(config, key, value)
        if isinstance(value, bool):
            continue
        if ("dropout" in key or key.endswith("_pdrop")) and isinstance(value, (int, float)) and not 0 <= value <= 1:
            raise ConfigError(key, value, "a number from 0 to 1")
        if key.endswith("norm_eps") and not (isinstance(value, (int, float)) and value >= 0):
            raise ConfigError(key, value, "a number of at least 0")
    layers, kinds = getattr(config, "num_hidden_layers", None), fields.get("layer_types")
    if kinds is not None and isinstance(layers, int) and len(kinds) != layers:
        raise ConfigError("layer_types", f"{len(kinds)} entries", f"one for each of the {layers} layers")


def _check_token_id(config: PreTrainedConfig, key: str, value: Any) -> None:
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise ConfigError(key, value, "a token number, or a list of them")
    vocabulary = config.__dict__.get("vocab_size")
    # Only the padding token is looked up while building; other numbers out of range are common on the Hub and harmless.
    if key == "pad_token_id" and isinstance(vocabulary, int) and ids and not -vocabulary <= ids[0] < vocabulary:
        raise ConfigError(key, value, f"a number below vocab_size ({vocabulary})")
