"""From weights to a model: match them with the skeleton's parameters, put them in, and say where each came from."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autoload.config import torch_dtype
from autoload.errors import ArgumentError, ConfigError, WeightsError
from autoload.keys import Matches, Piece, match_names
from autoload.model import PreTrainedModel
from autoload.notebook import card, some
from autoload.skeleton import Putter, slots
from autoload.weights import Weights

logger = logging.getLogger("autoload")

Strict = Literal["head"] | bool


@dataclass(repr=False)
class LoadingReport:
    """Where every parameter of a loaded model came from."""

    sources: dict[str, str] = field(default_factory=dict)  # parameter -> file, "new", "tied to ...", "computed"
    missing: list[str] = field(default_factory=list)  # not in the files, made new
    unexpected: list[str] = field(default_factory=list)  # in the files, not in the model
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(
        default_factory=list
    )  # file's, model's shape
    unwrapped: bool = False  # the names carried the prefix of a training wrapper

    def facts(self) -> dict[str, Any]:
        """A few lines for people."""
        counts: dict[str, int] = {}
        for source in self.sources.values():
            origin = "tied" if source.startswith("tied to") else os.path.basename(source)
            counts[origin] = counts.get(origin, 0) + 1
        return {
            "parameters": len(self.sources),
            "from": ", ".join(f"{origin}: {count}" for origin, count in counts.items()),
            "missing": some(self.missing),
            "unexpected": some(self.unexpected),
            "mismatched": some([name for name, *_ in self.mismatched]),
        }

    def __repr__(self) -> str:
        return f"LoadingReport({'; '.join(f'{name} {value}' for name, value in self.facts().items() if value)})"

    def _repr_html_(self) -> str:
        return card("LoadingReport", self.facts(), "\n".join(f"{k}: {v}" for k, v in self.sources.items()))

    def as_dict(self) -> dict[str, Any]:
        """The reference's `output_loading_info`."""
        return {
            "missing_keys": set(self.missing) - {name for name, *_ in self.mismatched},
            "unexpected_keys": set(self.unexpected),
            "mismatched_keys": set(self.mismatched),
            "error_msgs": [],
        }


def load_weights(
    model: nn.Module,
    weights: Weights | Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | Callable[[str], torch.device] | None = None,
    strict: Strict = "head",
    ignore_mismatched_sizes: bool = False,
    remade: Iterable[int] = (),
    where: str = "state_dict",
    key_mapping: Mapping[str, str] | None = None,
) -> LoadingReport:
    """Put weights into a skeleton.

    Args:
        model: built by `build_skeleton`.
        weights: a checkpoint, or tensors by name.
        dtype: of floating parameters; None keeps each as stored.
        device: of all parameters, or of each by its name.
        strict: "head": parts of a task head may be missing as a whole and are made new; True: nothing may be missing or
            unexpected; False: whatever is missing is made new.
        ignore_mismatched_sizes: make parameters new whose shape differs.
        remade: numbers of labels that the caller asked for; head parameters of another number are made new, but for strict=True.
        where: what to call the checkpoint in messages.
        key_mapping: further renames, pattern to replacement.

    Raises:
        WeightsError: the weights do not fit.
    """
    if isinstance(weights, Weights):
        where += f" ({weights.paths[0].name if len(weights.paths) == 1 else f'{len(weights.paths)} shards'})"
    put = Putter(model, dtype, device)
    targets, tied = put.targets, _tied(model)
    names = list(weights.entries if isinstance(weights, Weights) else weights)
    renamed = _renamed(names, key_mapping)
    matches = _match(model, targets, tied, renamed, weights)
    prefix = getattr(model, "base_model_prefix", "")
    report = LoadingReport(unexpected=[renamed[n] for n in matches.unexpected], unwrapped=matches.unwrapped)
    for target, piece in matches.pieces.items():
        sources = tuple(renamed[s] for s in piece.sources)
        mismatch = put.place(target, Piece(sources, piece.combine), weights, where)
        if mismatch is None:
            first = weights.entries[sources[0]].file.name if isinstance(weights, Weights) else "state_dict"
            report.sources[target] = first
        else:
            report.mismatched.append((target, *mismatch))
    report.missing = [t for t in targets if t not in report.sources and tied.get(t) not in report.sources]
    made = getattr(model, "computed", ())
    computed = [t for t in report.missing if t.endswith(made)]
    report.missing = [t for t in report.missing if t not in computed]
    fits = {name for name, *_ in report.mismatched}
    _judge(
        model,
        list(targets),
        report,
        strict,
        ignore_mismatched_sizes,
        set(remade) if strict is not True else set(),
        prefix,
        where,
        fits,
        len(names),
        claimed=isinstance(weights, Weights) and _claims(model),
    )
    put.make_new([*report.missing, *computed])
    report.sources.update(dict.fromkeys(report.missing, "new") | dict.fromkeys(computed, "computed"))
    for target, source in tied.items():
        if target in targets and target not in report.sources:
            report.sources[target] = f"tied to {source}"
            put.share(target, source)
    put.move_computed()
    _announce(report, model, where)
    return report


def compare(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> LoadingReport:
    """What `load_weights` would report of a checkpoint with tensors of these names and shapes; nothing is loaded."""
    targets, tied = dict(slots(dict(model.named_modules()))), _tied(model)
    matches = _match(model, targets, tied, shapes)
    report = LoadingReport(unexpected=matches.unexpected, unwrapped=matches.unwrapped)
    for target, piece in matches.pieces.items():
        found, expected = shapes[piece.sources[0]], tuple(targets[target].shape)
        if piece.combine is None and found != expected:
            report.mismatched.append((target, found, expected))
        else:
            report.sources[target] = piece.sources[0]
    report.missing = [t for t in targets if t not in report.sources and tied.get(t) not in report.sources]
    return report


def _match(
    model: nn.Module,
    targets: Mapping[str, Tensor],
    tied: dict[str, str],
    names: Iterable[str],
    weights: Weights | Mapping[str, Tensor] | None = None,
) -> Matches:
    """Which tensors make which parameters; of two that are tied, the source is the one to fill.

    Files of T5 1.1 and others hold both, with values of their own, whatever the configuration says of ties. Such ones
    leave `tied`, and the model remembers them.
    """
    variant, config = getattr(model, "variant", None), getattr(model, "config", None)
    prefix = getattr(model, "base_model_prefix", "")
    matches = match_names(targets, names, variant.keys if variant else (), prefix, config)
    if variant and variant.ignores and matches.unexpected:
        useless = re.compile(variant.ignores(config))
        matches.unexpected = [name for name in matches.unexpected if not useless.search(name)]
    for target, source in list(tied.items()):
        piece, other = matches.pieces.pop(target, None), matches.pieces.get(source)
        if piece is not None and other is not None and isinstance(names, Mapping) and weights is not None:
            one, two = (_tensor(p, names, weights) for p in (piece, other))
            if one.shape != two.shape or not torch.equal(one, two):
                matches.pieces[target] = piece
                del tied[target]
                model.apart = frozenset((*model.apart, target))  # type: ignore[operator, misc, assignment]
                continue
        if piece is not None and source in targets:
            matches.pieces.setdefault(source, piece)
    for target, other in getattr(model, "read_from", {}).items():
        name = next((n for n in (other, other.removeprefix(f"{prefix}.")) if n in matches.unexpected), None)
        if target not in matches.pieces and name is not None:
            matches.pieces[target] = Piece((name,))
            matches.unexpected.remove(name)
    passed = getattr(model, "passes_over", ())
    matches.unexpected = [n for n in matches.unexpected if n.removeprefix(f"{prefix}.").split(".", 1)[0] not in passed]
    return matches


def _tensor(piece: Piece, renamed: Mapping[str, str], weights: Weights | Mapping[str, Tensor]) -> Tensor:
    """What a parameter is made of."""
    read = weights.read if isinstance(weights, Weights) else weights.__getitem__
    tensors = [read(renamed[source]) for source in piece.sources]
    return tensors[0] if piece.combine is None else piece.combine(tensors)


def _renamed(names: list[str], key_mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Name after the caller's own renames -> name in the file."""
    if not key_mapping:
        return {name: name for name in names}
    out = {}
    for name in names:
        new = name
        for pattern, replacement in key_mapping.items():
            new = re.sub(pattern, replacement, new)
        out[new] = name
    return out


def _tied(model: nn.Module) -> dict[str, str]:
    return model.tied_weights if isinstance(model, PreTrainedModel) else {}


def _judge(
    model: nn.Module,
    targets: list[str],
    report: LoadingReport,
    strict: Strict,
    ignore_mismatched: bool,
    remade: set[int],
    prefix: str,
    where: str,
    mismatched: set[str],
    count: int,
    claimed: bool,
) -> None:
    """Raise where the weights do not fit under the rule that was asked for; `claimed`: files say they have the head."""
    missing = [name for name in report.missing if name not in mismatched]
    bad_shapes = [
        (name, found, expected)
        for name, found, expected in report.mismatched
        if not ignore_mismatched and not (_is_head(model, name, prefix) and expected and expected[0] in remade)
    ]
    if bad_shapes:
        shown = "; ".join(f"{name}: {list(f)} in the file, {list(e)} in the model" for name, f, e in bad_shapes[:6])
        more = f" (and {len(bad_shapes) - 6} more)" if len(bad_shapes) > 6 else ""
        if all(_is_head(model, name, prefix) for name, *_ in bad_shapes):
            remedy = "Pass num_labels=... of the checkpoint, or ignore_mismatched_sizes=True to make this head new."
        else:
            remedy = "The configuration does not describe this checkpoint. Use the config.json that belongs to it."
        raise WeightsError(f"{where}: shapes differ: {shown}{more}. {remedy}", mismatched=bad_shapes)
    if targets and not report.sources and strict is not False:
        raise WeightsError(
            f"{where}: none of its {count} tensors belongs to a {type(model).__name__}: found "
            f"{', '.join(report.unexpected[:4]) or 'nothing'} ..., expected {', '.join(targets[:4])} ... "
            "Check that config.json and weights are of one model; key_mapping={pattern: replacement} renames tensors.",
            missing=missing,
            unexpected=report.unexpected,
        )
    if strict is False:
        return
    wrong = missing if strict is True else _backbone(model, missing, targets, prefix, claimed)
    if wrong:
        names = ", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")
        raise WeightsError(
            f"{where}: {len(wrong)} of {len(targets)} parameters of {type(model).__name__} are missing: {names}. "
            "Pass strict=False to fill them with random values.",
            missing=wrong,
            unexpected=report.unexpected,
        )
    if strict is True and report.unexpected:
        names = ", ".join(report.unexpected[:8])
        raise WeightsError(
            f"{where}: {len(report.unexpected)} tensors have no place in {type(model).__name__}: {names}.",
            missing=[],
            unexpected=report.unexpected,
        )


def _is_head(model: nn.Module, name: str, prefix: str) -> bool:
    return prefix in model._modules and not name.startswith(prefix + ".")


def _claims(model: nn.Module) -> bool:
    """Whether the configuration says that the files were saved from a model of this very class."""
    return type(model).__name__ in (getattr(getattr(model, "config", None), "architectures", None) or ())


def _backbone(model: nn.Module, missing: list[str], targets: list[str], prefix: str, claimed: bool) -> list[str]:
    """Missing parameters that are an error: of the backbone, or of a head that is partly there or said to be there."""
    base = model._modules.get(prefix)  # what it may lack, a model with a head around it may lack too
    may_lack = (*getattr(model, "may_lack", ()), *getattr(base, "may_lack", ()))
    absent, wrong = {*missing, *_tied(model)}, []  # a matrix that is another one says nothing of its head
    for name in missing:
        bare = name[len(prefix) + 1 :] if name.startswith(prefix + ".") else name
        if any(bare == part or bare.startswith(part + ".") or name.startswith(part + ".") for part in may_lack):
            continue
        if _added(name, absent, targets):
            continue
        if _is_head(model, name, prefix) and not claimed:
            group = name.split(".", 1)[0]
            if all(t in absent for t in targets if t.split(".", 1)[0] == group):
                continue
        wrong.append(name)
    return wrong


# Parts of layers that look at an encoder; a configuration may add them to a model that was trained without.
CROSS = frozenset(("crossattention", "ln_cross_attn", "encoder_attn", "encoder_attn_layer_norm"))


def _added(name: str, absent: set[str], targets: list[str]) -> bool:
    """Whether a parameter is part of cross-attention, none of which the file has."""
    return not CROSS.isdisjoint(name.split(".")) and all(
        t in absent for t in targets if not CROSS.isdisjoint(t.split("."))
    )


def _announce(report: LoadingReport, model: nn.Module, where: str) -> None:
    if report.unwrapped:
        logger.warning(
            "%s: the names carry a training wrapper's prefix (module., _orig_mod.), which was taken away.", where
        )
    if report.missing:
        other = {
            name: f" (the file's is {list(shape)}, asked for is {list(own)})" for name, shape, own in report.mismatched
        }
        names = ", ".join(n + other.get(n, "") for n in report.missing[:12]) + (
            " ..." if len(report.missing) > 12 else ""
        )
        logger.warning(
            "%s: %s has new parameters with random values, train them before use: %s",
            where,
            type(model).__name__,
            names,
        )


def choose_dtype(dtype: Any, config: Any, weights: Weights | None) -> torch.dtype | None:
    """What `dtype=` means: "auto" is the configuration's, else the index's, else that of the first floating tensor.

    Raises:
        ConfigError, ArgumentError: no floating dtype has that name.
    """
    if dtype is None or dtype == "auto":
        named = config.__dict__.get("dtype") if hasattr(config, "__dict__") else None
        if named is None and weights is not None:
            named = weights.metadata_dtype
        if named is not None:
            return _floating(torch_dtype(named), named)
        return weights.floating_dtype() if weights is not None else None
    if isinstance(dtype, torch.dtype):
        return _floating(dtype, dtype)
    try:
        return _floating(torch_dtype(dtype), dtype)
    except ConfigError as e:
        raise ArgumentError(f"dtype is {dtype!r}, expected {e.expected} or 'auto'.", name="dtype") from None


def _floating(dtype: torch.dtype | None, given: Any) -> torch.dtype | None:
    if dtype is not None and not dtype.is_floating_point:
        raise ConfigError("dtype", given, "a floating dtype", where="argument")
    return dtype
