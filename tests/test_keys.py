"""The algebra of parameter names: what loading reads, saving gives back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autoload.keys import Prefix, Rename, Split, Stack, Transpose, match_names, unmatch


def load(rules: list[Any], files: dict[str, torch.Tensor], targets: list[str], prefix: str = "model") -> Any:
    """Parameters made from a file's tensors, and the names that were left over."""
    matches = match_names(targets, files, rules, prefix, None)
    made = {
        target: piece.combine([files[s] for s in piece.sources]) if piece.combine else files[piece.sources[0]]
        for target, piece in matches.pieces.items()
    }
    return made, matches.unexpected


def tensors(*names: str, shape: tuple[int, ...] = (4, 3)) -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name in names}


EXPERTS = [f"layers.{i}.moe.experts.{e}.{w}.weight" for i in range(2) for e in range(12) for w in ("w1", "w2", "w3")]
CASES = {
    "rename": (
        [Rename("attention.self.query", "attention.q_proj"), Rename("encoder.layer.*", "layers.*")],
        tensors("encoder.layer.3.attention.self.query.weight"),
        ["layers.3.attention.q_proj.weight"],
    ),
    "prefix": ([Prefix("vision_model.")], tensors("vision_model.a.weight"), ["a.weight"]),
    "stars": ([Rename("blocks.*.inner.*.w", "b.*.i.*.v")], tensors("blocks.1.inner.x.w"), ["b.1.i.x.v"]),
    "stack": (
        [
            Stack(("moe.experts.#.w1.weight", "moe.experts.#.w3.weight"), "mlp.experts.gate_up_proj"),
            Stack(("moe.experts.#.w2.weight",), "mlp.experts.down_proj"),
        ],
        tensors(*EXPERTS),
        [f"layers.{i}.mlp.experts.{w}" for i in range(2) for w in ("gate_up_proj", "down_proj")],
    ),
    "split": (
        [Split("attn.Wqkv.weight", ("attn.q.weight", "attn.k.weight", "attn.v.weight"))],
        tensors("l.0.attn.Wqkv.weight", "l.1.attn.Wqkv.weight", shape=(6, 2)),
        [f"l.{i}.attn.{n}.weight" for i in range(2) for n in "qkv"],
    ),
    "transpose": (
        [Transpose("experts.up", "experts.up_proj", (1, 2))],
        tensors("experts.up", shape=(2, 3, 4)),
        ["experts.up_proj"],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("under", ["", "model."])
def test_there_and_back(case: str, under: str) -> None:
    rules, files, targets = CASES[case]
    if case == "prefix" and under:
        pytest.skip("a prefix stands at the beginning")
    files = {under + name: tensor for name, tensor in files.items()}
    targets = [under + name for name in targets]
    made, unexpected = load(rules, files, targets)
    assert sorted(made) == sorted(targets) and not unexpected
    back = unmatch(made, rules)
    assert back.keys() == files.keys() and all(torch.equal(back[name], files[name]) for name in files)


@pytest.mark.parametrize("case", CASES)
def test_our_own_names_load_too(case: str) -> None:
    rules, files, targets = CASES[case]
    made, _ = load(rules, files, targets)
    again, unexpected = load(rules, made, targets)
    assert not unexpected and all(torch.equal(again[name], made[name]) for name in targets)


def test_experts_are_stacked_in_order() -> None:
    rules, files, _ = CASES["stack"]
    made, _ = load(rules, files, ["layers.0.mlp.experts.gate_up_proj"])
    found = made["layers.0.mlp.experts.gate_up_proj"]
    assert found.shape == (12, 8, 3)
    for e in range(12):
        assert torch.equal(found[e, :4], files[f"layers.0.moe.experts.{e}.w1.weight"])
        assert torch.equal(found[e, 4:], files[f"layers.0.moe.experts.{e}.w3.weight"])


def test_prefix_is_added_and_taken_away_after_rules() -> None:
    rules, files, targets = CASES["stack"]
    made, _ = load(rules, files, [f"model.{t}" for t in targets])
    assert sorted(made) == sorted(f"model.{t}" for t in targets)
    below, _ = load(rules, {f"model.{n}": t for n, t in files.items()}, targets)
    assert sorted(below) == sorted(targets)


def test_spellings_of_old_releases() -> None:
    files = tensors("conv.weight_g", "conv.weight_v", "a.LayerNorm.gamma", "a.LayerNorm.beta")
    targets = [f"conv.parametrizations.weight.original{i}" for i in range(2)] + [
        "a.LayerNorm.weight",
        "a.LayerNorm.bias",
    ]
    made, unexpected = load([], files, targets)
    assert sorted(made) == sorted(targets) and not unexpected


def test_only_whole_parts_match() -> None:
    made, unexpected = load([Rename("layer", "layers")], tensors("layer_norm.weight"), ["layers_norm.weight"])
    assert not made and unexpected == ["layer_norm.weight"]


def test_what_nobody_asks_for() -> None:
    made, unexpected = load([], tensors("a", "b.position_ids", "rotary_emb.inv_freq", "mtp.layers.0.w", "c"), ["a"])
    assert sorted(made) == ["a"] and unexpected == ["c"]
