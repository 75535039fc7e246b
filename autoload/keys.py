"""Reversible renames between a checkpoint's parameter names and the model's.

A rule has a Hub side and our side, written as dotted names in which `*` stands for one part (a layer number, usually).
A rule applies to any run of whole parts inside a name. Loading reads rules left to right, saving right to left.

    Rename("attention.self.query", "attention.q_proj")
    Stack(("experts.#.w1.weight", "experts.#.w3.weight"), "experts.gate_up_proj")     # one matrix per expert, `#`
    Split("attn.Wqkv.weight", ("attn.q_proj.weight", "attn.k_proj.weight", "attn.v_proj.weight"))
    Join(("wte.embedding", "wte.new_embedding"), "embed_tokens.weight")
    Transpose("experts.gate_up_proj", "experts.gate_up_proj", (1, 2))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """Where one parameter comes from: names in the file, and how to make one tensor of them."""

    sources: tuple[str, ...]
    combine: Callable[[list[Any]], Any] | None = None  # None: the one tensor as it is


@dataclass(frozen=True)
class Rename:
    """One name for another."""

    hub: str
    ours: str

    def load(self, name: str) -> str | None:
        return _swap(name, self.hub, self.ours)

    def save(self, name: str) -> str | None:
        return _swap(name, self.ours, self.hub)


@dataclass(frozen=True)
class Prefix:
    """A first part that only the Hub's names have; `ours` may replace it. Saving puts it back unless told not to."""

    hub: str
    ours: str = ""
    saved: bool = True

    def load(self, name: str) -> str | None:
        return self.ours + name[len(self.hub) :] if name.startswith(self.hub) else None

    def save(self, name: str) -> str | None:
        return self.hub + name[len(self.ours) :] if self.saved and name.startswith(self.ours) else None


@dataclass(frozen=True)
class Stack:
    """Many matrices of the file, numbered by `#`, are one tensor here, on a new first axis.

    Matrices of several templates (gate and up) stand one under the other.
    """

    hub: tuple[str, ...]
    ours: str

    def pieces(self, names: Iterable[str]) -> dict[str, Piece]:
        found: dict[str, dict[tuple[int, int], str]] = {}
        for name in names:
            for k, template in enumerate(self.hub):
                match = _pattern(template).search(name)
                if match:
                    number = int(match["number"])
                    target = name[: match.start("body")] + _fill(self.ours, match) + name[match.end("body") :]
                    found.setdefault(target, {})[number, k] = name
        return {target: Piece(*self._order(parts)) for target, parts in found.items()}

    def _order(self, parts: dict[tuple[int, int], str]) -> tuple[tuple[str, ...], Callable[[list[Any]], Any]]:
        width = len(self.hub)

        def combine(tensors: list[Tensor]) -> Tensor:
            import torch

            if len({tensor.shape for tensor in tensors}) > 1:
                raise ValueError(f"their shapes differ: {sorted({tuple(tensor.shape) for tensor in tensors})}")
            return torch.cat(tensors).unflatten(0, (len(tensors) // width, -1))  # each byte is copied once

        return tuple(parts[key] for key in sorted(parts)), combine

    def unmake(self, name: str, tensor: Tensor) -> dict[str, Tensor] | None:
        match = _pattern(self.ours).search(name)
        if match is None:
            return None
        out = {}
        for number, one in enumerate(tensor):
            for template, part in zip(self.hub, one.chunk(len(self.hub)), strict=True):
                body = _fill(template, match, str(number))
                out[name[: match.start("body")] + body + name[match.end("body") :]] = part.contiguous()
        return out


@dataclass(frozen=True)
class Split:
    """One tensor of the file is several parameters here, cut along `axis` into equal parts or into `sizes(config)`."""

    hub: str
    ours: tuple[str, ...]
    axis: int = 0
    sizes: Callable[[Any], Sequence[int]] | None = None

    def pieces(self, names: Iterable[str], config: Any = None) -> dict[str, Piece]:
        out = {}
        for name in names:
            match = _pattern(self.hub).search(name)
            if match is None:
                continue
            for k, template in enumerate(self.ours):
                target = name[: match.start("body")] + _fill(template, match) + name[match.end("body") :]
                out[target] = Piece((name,), self._cut(k, config))
        return out

    def _cut(self, k: int, config: Any) -> Callable[[list[Any]], Any]:
        def combine(tensors: list[Tensor]) -> Tensor:
            if self.sizes is None:
                return tensors[0].chunk(len(self.ours), self.axis)[k]
            return tensors[0].split(list(self.sizes(config)), self.axis)[k]

        return combine

    def remake(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """File name -> our names, for those of which all parts are there."""
        out, present = {}, set(names)
        for name in present:
            match = _pattern(self.ours[0]).search(name)
            if match is None:
                continue
            head, tail = name[: match.start("body")], name[match.end("body") :]
            parts = tuple(head + _fill(template, match) + tail for template in self.ours)
            if present.issuperset(parts):
                out[head + _fill(self.hub, match) + tail] = parts
        return out


@dataclass(frozen=True)
class Join:
    """Several tensors of the file are one here, one after the other along `axis`; saving cuts it into equal parts."""

    hub: tuple[str, ...]
    ours: str
    axis: int = 0

    def pieces(self, names: Iterable[str]) -> dict[str, Piece]:
        found: dict[str, dict[int, str]] = {}
        for name in names:
            for k, template in enumerate(self.hub):
                match = _pattern(template).search(name)
                if match:
                    target = name[: match.start("body")] + _fill(self.ours, match) + name[match.end("body") :]
                    found.setdefault(target, {})[k] = name
        whole = {target: parts for target, parts in found.items() if len(parts) == len(self.hub)}
        return {t: Piece(tuple(parts[k] for k in sorted(parts)), self._combine) for t, parts in whole.items()}

    def _combine(self, tensors: list[Tensor]) -> Tensor:
        import torch

        return torch.cat(tensors, self.axis)

    def unmake(self, name: str, tensor: Tensor) -> dict[str, Tensor] | None:
        match = _pattern(self.ours).search(name)
        if match is None:
            return None
        head, tail = name[: match.start("body")], name[match.end("body") :]
        parts = tensor.chunk(len(self.hub), self.axis)
        return {head + _fill(t, match) + tail: part.contiguous() for t, part in zip(self.hub, parts, strict=True)}


@dataclass(frozen=True)
class Transpose:
    """The file has two axes the other way round."""

    hub: str
    ours: str
    axes: tuple[int, int] = (0, 1)

    def load(self, name: str) -> str | None:
        return _swap(name, self.hub, self.ours)

    def save(self, name: str) -> str | None:
        return _swap(name, self.ours, self.hub)

    def turn(self, tensor: Tensor) -> Tensor:
        return tensor.transpose(*self.axes).contiguous()


Rule = Rename | Prefix | Stack | Split | Join | Transpose

# Spellings of older releases of PyTorch and of the first checkpoints; read everywhere, never written.
LEGACY: tuple[Rename, ...] = (
    Rename("LayerNorm.gamma", "LayerNorm.weight"),
    Rename("LayerNorm.beta", "LayerNorm.bias"),
    Rename("weight_g", "parametrizations.weight.original0"),
    Rename("weight_v", "parametrizations.weight.original1"),
)
# What files hold and models compute: read over in silence.
IGNORED = re.compile(
    r"(^|\.)(position_ids|rotary_emb\.inv_freq|masked_bias|attn\.bias|attention\.bias|attn\.causal_mask"
    r"|embed_positions\.weights|num_batches_tracked|EncDecAttention\.relative_attention_bias\.weight)$|(^|\.)mtp\w*\."
)
WRAPPERS = ("module.", "_orig_mod.")


def match_names(
    targets: Iterable[str], names: Iterable[str], rules: Sequence[Rule], prefix: str, config: Any
) -> Matches:
    """Which names of a file make which parameters.

    Args:
        targets: the model's parameters and saved buffers.
        names: what the file holds.
        rules: of the model's family.
        prefix: name of the part that holds the model without its head; added or taken away where that helps.
        config: of the model, for rules that cut by its sizes.
    """
    wanted, matches = set(targets), Matches()
    left: dict[str, str] = {}  # name as far as it is rewritten -> name in the file
    for name in names:
        if name in wanted:
            matches.pieces[name] = Piece((name,))
        else:
            bare = name
            while bare.startswith(WRAPPERS):
                bare = bare.split(".", 1)[1]
                matches.unwrapped = True
            left[bare] = name
    for rule in (*rules, *LEGACY):
        left = _apply(rule, left, wanted, matches, config)
    for bare, name in left.items():
        candidates = [bare, f"{prefix}.{bare}"] + ([bare[len(prefix) + 1 :]] if bare.startswith(prefix + ".") else [])
        target = next((c for c in candidates if c in wanted and c not in matches.pieces), None)
        if target is not None:
            matches.pieces[target] = Piece((name,), matches.turned.get(bare))
        elif not IGNORED.search(bare):
            matches.unexpected.append(name)
    _resolve_prefix(matches, wanted, prefix)
    return matches


class Matches:
    """Result of `match_names`."""

    def __init__(self) -> None:
        self.pieces: dict[str, Piece] = {}  # parameter -> where it comes from
        self.unexpected: list[str] = []  # names in the file that nothing asked for
        self.unwrapped = False  # a wrapper's prefix was taken away
        self.turned: dict[str, Callable[[list[Any]], Any]] = {}


def _apply(rule: Rule, left: dict[str, str], wanted: set[str], matches: Matches, config: Any) -> dict[str, str]:
    if isinstance(rule, (Stack, Split, Join)):
        made = rule.pieces(left, config) if isinstance(rule, Split) else rule.pieces(left)
        used = set()
        for target, piece in made.items():
            matches.pieces[target] = Piece(tuple(left[s] for s in piece.sources), piece.combine)
            used.update(piece.sources)
        return {bare: name for bare, name in left.items() if bare not in used}
    out = {}
    for bare, name in left.items():
        new = rule.load(bare)
        if new is not None and isinstance(rule, Transpose):
            matches.turned[new] = lambda tensors, rule=rule: rule.turn(tensors[0])
        out[bare if new is None else new] = name
    return out


def _resolve_prefix(matches: Matches, wanted: set[str], prefix: str) -> None:
    """Stacked and split parameters were made under the file's idea of the prefix; bring them to the model's."""
    for target in [t for t in matches.pieces if t not in wanted]:
        bare = target[len(prefix) + 1 :] if target.startswith(prefix + ".") else None
        other = next((c for c in (f"{prefix}.{target}", bare) if c in wanted and c not in matches.pieces), None)
        piece = matches.pieces.pop(target)
        if other is not None:
            matches.pieces[other] = piece
        else:
            matches.unexpected.extend(piece.sources)


def unmatch(state: dict[str, Any], rules: Sequence[Rule]) -> dict[str, Any]:
    """The model's tensors under the Hub's names: `match_names` backwards, for saving."""
    for rule in reversed(rules):
        out: dict[str, Any] = {}
        if isinstance(rule, Split):
            import torch

            fused = rule.remake(state)
            gone = {part for parts in fused.values() for part in parts}
            out = {name: value for name, value in state.items() if name not in gone}
            out |= {name: torch.cat([state[part] for part in parts], rule.axis) for name, parts in fused.items()}
        else:
            for name, value in state.items():
                if isinstance(rule, (Stack, Join)):
                    out |= rule.unmake(name, value) or {name: value}
                    continue
                new = rule.save(name)
                turned = rule.turn(value) if new is not None and isinstance(rule, Transpose) else value
                out[name if new is None else new] = turned
        state = out
    return state


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A dotted template as a pattern for a run of whole parts; `*` one part, `#` a number."""
    parts = [r"([^.]+)" if p == "*" else r"(?P<number>\d+)" if p == "#" else re.escape(p) for p in template.split(".")]
    return re.compile(r"(?:^|(?<=\.))(?P<body>" + r"\.".join(parts) + r")(?=\.|$)")


def _fill(template: str, match: re.Match[str], number: str | None = None) -> str:
    """The template with its stars replaced, in order, by what another template's stars matched; further ones stay."""
    spans = match.re.groupindex
    named = {index for index in spans.values()}
    stars = iter([g for i, g in enumerate(match.groups(), 1) if i not in named])
    parts = [
        next(stars, "*") if p == "*" else (number or match["number"]) if p == "#" else p for p in template.split(".")
    ]
    return ".".join(parts)


def _swap(name: str, old: str, new: str) -> str | None:
    match = _pattern(old).search(name)
    if match is None:
        return None
    body = _fill(new, match)
    head, tail = name[: match.start("body")], name[match.end("body") :]
    return head + body + tail if body else head + tail.lstrip(".")
