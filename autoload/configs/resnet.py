"""Defaults of ResNet's configuration, and the stages of backbones: which of them give feature maps."""

from __future__ import annotations

from typing import Any

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError


def align(c: PreTrainedConfig, features: Any, indices: Any) -> None:
    """Set which stages give feature maps, by name and by number; the last one where neither is given."""
    names, count = c.stage_names, len(c.stage_names)
    for field, given, known in (("out_features", features, names), ("out_indices", indices, range(-count, count))):
        if given is not None and not (isinstance(given, (list, tuple)) and all(one in known for one in given)):
            raise ConfigError(field, given, f"a list of some of {', '.join(map(str, known))}")
    if features is None:
        indices = [count - 1] if indices is None else list(indices)
        features = [names[i] for i in indices]
    if indices is None:
        indices = [names.index(name) for name in features]
    numbers = [i % count for i in indices]
    if numbers != sorted(set(numbers)):
        raise ConfigError("out_indices", list(indices), "each stage once, in the order of stage_names")
    if list(features) != [names[i] for i in numbers]:
        raise ConfigError("out_features", list(features), f"the stages of out_indices ({list(indices)})")
    c.__dict__.update(out_features=list(features), out_indices=list(indices))


# Attributes of the configuration of a backbone: a change of one list changes the other.
BACKBONE = dict(
    out_features=property(lambda c: c.__dict__["out_features"], lambda c, names: align(c, names, None)),
    out_indices=property(lambda c: c.__dict__["out_indices"], lambda c, numbers: align(c, None, numbers)),
)


def complete(c: PreTrainedConfig) -> None:
    if c.layer_type not in ("basic", "bottleneck"):
        raise ConfigError("layer_type", c.layer_type, "'basic' or 'bottleneck'")
    if len(c.depths) != len(c.hidden_sizes):
        raise ConfigError("depths", c.depths, f"one number for each of the {len(c.hidden_sizes)} hidden_sizes")
    c.hidden_sizes = list(c.hidden_sizes)
    c.stage_names = ["stem", *(f"stage{i + 1}" for i in range(len(c.depths)))]
    align(c, c.out_features, c.out_indices)


CONFIGS = {
    "resnet": ConfigSpec(
        dict(
            num_channels=3,
            embedding_size=64,
            hidden_sizes=[256, 512, 1024, 2048],
            depths=[3, 4, 6, 3],
            layer_type="bottleneck",
            hidden_act="relu",
            downsample_in_first_stage=False,
            downsample_in_bottleneck=False,
            out_features=None,
            out_indices=None,
        ),
        complete=complete,
        ignore_at_inference=(),
        members=BACKBONE,
    )
}
