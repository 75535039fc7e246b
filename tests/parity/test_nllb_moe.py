"""NLLB-MoE's routers: the two experts that they choose, and the losses that keep these evenly used."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload.errors import ConfigError
from autoload.models.nllb_moe import Router
from tests.parity.cases.nllb_moe import CASES, NLLB
from tests.parity.harness import assert_close, inputs_for, labels_for, load_ours, reference_model

CASE = CASES[0]
KEPT = 1 - 0.3  # moe_token_dropout


def test_the_chosen_experts_run(tmp_path: Path) -> None:
    """Each token's output from its own two experts, by the definition."""
    model = load_ours(CASE, "Model", tmp_path)
    layer = model.encoder.layers[1]
    seen: list[Any] = []
    layer.ffn.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    with torch.no_grad():
        model(**inputs_for(CASE, "Model"))
        (x, found) = seen[0]
        likely, chosen = layer.ffn.router.classifier(x).softmax(-1).topk(2, -1)
        experts = [*layer.ffn.experts.values()]
        for row in range(x.shape[0]):
            for place in range(x.shape[1]):
                shares = likely[row, place] / likely[row, place].sum() * KEPT
                one, two = (experts[number](x[row, place], None) for number in chosen[row, place].tolist())
                expected = shares[0] * one + shares[1] * two
                assert torch.allclose(found[row, place], expected, atol=1e-6)
    assert len(chosen.unique()) > 2


def test_the_reference_where_it_runs_the_chosen_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nllb_moe_with_its_experts: Any
) -> None:
    """It gives the first choice to expert 1 and the second to expert 0: where routers choose these, both agree."""
    from transformers.models.nllb_moe import modeling_nllb_moe

    ours, theirs = load_ours(CASE, "Model", tmp_path), copy.deepcopy(reference_model(CASE, "Model"))
    monkeypatch.setattr(modeling_nllb_moe.NllbMoeExperts, "forward", nllb_moe_with_its_experts)
    inputs = inputs_for(CASE, "Model")
    with torch.no_grad():
        assert not torch.allclose(ours(**inputs)[0], theirs(**inputs)[0], atol=1e-2)
        for model in (ours, theirs):
            for module in model.modules():
                if hasattr(module, "classifier"):
                    module.classifier.bias.copy_(torch.tensor([17.0, 20, 0, 0, 0]))
        assert_close(ours(**inputs)[0], theirs(**inputs)[0], CASE.tolerance, "states")


def test_losses_of_the_routers(tmp_path: Path) -> None:
    ours, theirs = load_ours(CASE, "Seq2SeqLM", tmp_path), reference_model(CASE, "Seq2SeqLM")
    inputs = inputs_for(CASE, "Seq2SeqLM")
    mask = torch.ones_like(inputs["input_ids"])
    mask[1, -4:] = 0
    inputs |= labels_for("Seq2SeqLM", inputs) | {"attention_mask": mask}
    with torch.no_grad():
        found, expected = (model(**inputs, output_router_logits=True) for model in (ours, theirs))
        plain = ours(**inputs)
    names = [name for name in expected if name != "past_key_values"]
    assert [name for name in found if name != "past_key_values"] == names and "encoder_router_logits" in names
    for name in names:
        assert_close(found[name], expected[name], CASE.tolerance, name)
    assert found.loss > plain.loss and "encoder_aux_loss" not in plain and "decoder_router_logits" not in plain


def test_second_experts_are_drawn() -> None:
    """With noise, the second expert is drawn by its probability among the others; or a weak one is left out."""
    config = autoload.NllbMoeConfig(
        **NLLB | dict(num_experts=3, d_model=2, encoder_attention_heads=1, router_bias=False)
    )
    logits = torch.tensor([[2.0, 0.0, 1.0]]).expand(4000, -1)
    torch.manual_seed(0)
    for policy, expected in (("all", [0.0, 1.0]), ("sampling", [0.269, 0.731]), ("random", [0.0, 0.489])):
        config.second_expert_policy = policy
        router = Router(config)
        router.classifier = torch.nn.Identity()  # type: ignore[assignment]
        router.classifier.weight, router.classifier.bias = torch.eye(3), None  # type: ignore[assignment]
        shares, _ = router.eval()(logits, None)
        assert (shares[:, 0] > 0).all()
        assert (shares[:, 1:] > 0).float().mean(0).tolist() == pytest.approx(expected, abs=0.03), policy
    config.second_expert_policy = "best"
    with pytest.raises(ConfigError, match="second_expert_policy"):
        Router(config)


def test_training_leaves_outputs_out() -> None:
    """A share of the experts' outputs is missing, whole; on average the layer gives what it gives in evaluation."""
    from autoload.layers.attention import Context, Mask
    from autoload.models.nllb_moe import SparseMLP

    torch.manual_seed(0)
    layer = SparseMLP(autoload.NllbMoeConfig(**NLLB | dict(expert_capacity=10**6)), 16)
    context = Context(masks={"routed": Mask()}, extra={"router_logits": None})
    x = torch.randn(1, 1, 32).expand(1, 6000, -1)
    with torch.no_grad():
        trained, steady = layer.train()(x, context)[0], layer.eval()(x, context)[0]
    assert 2 < len(trained.unique(dim=0)) <= 4  # both, either, none
    layer.router.room = 7
    with torch.no_grad():
        for _ in range(2):  # evaluation leaves no trace
            shares = layer.train().router(x[0], None)[0]
            assert (shares > 0).sum(0).max() == 7
            layer.eval()(x, context)
    assert torch.allclose(trained.mean(0), steady[0], atol=0.02)
