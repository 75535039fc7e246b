"""Decoders with experts: the routers' scores and their loss are the reference's; all implementations agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from autoload.layers.experts import balance_loss
from tests.parity.cases import all_cases
from tests.parity.harness import Case, assert_close, inputs_for, labels_for, load_ours, reference_model

CASES = [
    case
    for case in all_cases()
    if "output_router_logits" in (config := registry.config_class(case.model_type)(**case.config)).to_dict()
    and not config.is_encoder_decoder  # test_t5 and test_nllb_moe
]
MIXTRAL = [case for case in CASES if case.model_type == "mixtral"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_router_scores(case: Case, tmp_path: Path) -> None:
    task = "CausalLM" if "CausalLM" in registry.tasks_of(case.model_type) else "Model"
    ours, theirs = load_ours(case, task, tmp_path), reference_model(case, task)
    inputs = inputs_for(case, task)
    mask = torch.ones_like(inputs["input_ids"])
    mask[0, -3:] = 0
    inputs |= {"attention_mask": mask} | labels_for(task, inputs)
    for wanted in ({"output_router_logits": True}, {}):
        with torch.no_grad():
            expected, found = theirs(**inputs, **wanted), ours(**inputs, **wanted)
        assert [k for k in found if k != "past_key_values"] == [k for k in expected if k != "past_key_values"]
        for key in ("loss", "aux_loss", "router_logits"):
            if key in expected:
                assert_close(found[key], expected[key], case.tolerance, key)
    assert ("router_logits" in ours(**inputs, output_router_logits=True)) == getattr(ours.config, "is_moe", True)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_sampled_choice(noise: float, tmp_path: Path) -> None:
    """In training Phi samples its experts: one seed gives the reference's choices, outputs and gradients."""
    case = next(case for case in CASES if case.model_type == "phimoe")
    case = replace(case, config={**case.config, "router_jitter_noise": 0.3, "input_jitter_noise": noise})
    ours, theirs = load_ours(case, "CausalLM", tmp_path).train(), reference_model(case, "CausalLM").train()
    ids, results = inputs_for(case, "CausalLM")["input_ids"], []
    for model in (ours, theirs):
        torch.manual_seed(0)
        out = model(ids, labels=ids)
        out.loss.backward()
        results.append((out.logits, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (found, gradients), (expected, their_gradients) = results
    assert_close(found, expected, case.tolerance, "logits")
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        assert_close(gradients[name], gradient, 1e-4, name)
    torch.manual_seed(1)
    assert not torch.allclose(ours(ids).logits, found, atol=1e-3), "another seed chooses otherwise"


@pytest.mark.parametrize("case", MIXTRAL, ids=str)
def test_implementations(case: Case, tmp_path: Path) -> None:
    """The loop, grouped and batched products give the same outputs and gradients; a wrong name is refused."""
    model: Any = load_ours(case, "CausalLM", tmp_path)
    inputs = inputs_for(case, "CausalLM")
    results = {}
    for name in (None, "eager", "grouped_mm", "batched_mm"):
        model.config._experts_implementation = name
        model.zero_grad()
        out = model(**inputs, labels=inputs["input_ids"])
        out.loss.backward()
        results[name] = (out.logits, *(p.grad.clone() for p in model.parameters()))
    for name, tensors in results.items():
        for found, expected in zip(tensors, results["eager"], strict=True):
            assert_close(found, expected, 1e-5, str(name))
    model.config._experts_implementation = "grouped"
    with pytest.raises(autoload.errors.ArgumentError, match="grouped_mm"):
        model(**inputs)


@pytest.mark.parametrize("case", MIXTRAL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_traced(case: Case, dtype: torch.dtype, tmp_path: Path) -> None:
    """The whole model is one graph, whichever experts the tokens choose."""
    model: Any = load_ours(case, "CausalLM", tmp_path).to(dtype)
    ids = inputs_for(case, "CausalLM")["input_ids"]
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits
        found = torch.compile(model, fullgraph=True, backend="aot_eager")(ids, use_cache=False).logits
    torch._dynamo.reset()
    assert_close(found, expected, 1e-5 if dtype == torch.float32 else 2e-2, "logits")


@pytest.mark.parametrize("case", MIXTRAL, ids=str)
def test_steps_with_router_scores(case: Case, tmp_path: Path) -> None:
    """A cached step balances over its own tokens; the mask covers those before it too."""
    model: Any = load_ours(case, "CausalLM", tmp_path)
    ids = inputs_for(case, "CausalLM")["input_ids"]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        first = model(ids[:, :7], attention_mask=mask[:, :7], use_cache=True)
        out = model(ids[:, 7:], attention_mask=mask, past_key_values=first.past_key_values, output_router_logits=True)
    assert out.router_logits[0].shape == (ids[:, 7:].numel(), 5)
    assert_close(out.aux_loss, balance_loss(out.router_logits, 2), 1e-6, "loss")


@pytest.mark.parametrize("case", MIXTRAL, ids=str)
def test_fused_file(case: Case, tmp_path: Path) -> None:
    """A file with one tensor for all experts loads like one with a tensor for each."""
    theirs = reference_model(case, "CausalLM")
    theirs.save_pretrained(tmp_path, save_original_format=False)
    model, info = autoload.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
