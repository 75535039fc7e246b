"""Every model type, in every head, against the reference. Pick a type with `-k "llama and CausalLM"`."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from tests.parity import deviations
from tests.parity.cases import all_cases
from tests.parity.harness import (
    Case,
    assert_close,
    inputs_for,
    labels_for,
    leaves,
    load_ours,
    reference_class,
    reference_model,
)

CASES = all_cases()
PAIRS = [
    (case, task)
    for case in CASES
    for task in dict.fromkeys(registry.tasks_of(case.model_type).values())
    if (not case.tasks or task in case.tasks) and (case.model_type, task) not in registry.LENT
]
LANGUAGE = [(case, task) for case, task in PAIRS if task == "CausalLM"]


def named(values: list[Any]) -> list[str]:
    return ["-".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values]


def skip(case: Case, check: str) -> None:
    if check in case.skip:
        pytest.skip(case.skip[check])


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our model and the reference's of a case and task, loaded once per module."""
    kept: dict[tuple[str, str], Any] = {}

    def get(case: Case, task: str) -> tuple[Any, Any]:
        key = (str(case), task)
        if key not in kept:
            if len(kept) > 8:
                kept.clear()
            kept[key] = load_ours(case, task, tmp_path_factory.mktemp("checkpoint"))
        return kept[key], reference_model(case, task)

    return get


@pytest.mark.parametrize("model_type", sorted(registry.MODELS))
def test_every_type_has_a_case(model_type: str) -> None:
    family = registry.MODELS[model_type].family
    found = any(case.model_type == model_type for case in CASES)
    assert found, f"add a Case for {model_type!r} to tests/parity/cases/{family}.py"


def test_deviations_are_listed() -> None:
    assert deviations.TABLE.read_text(encoding="utf-8") == deviations.table(), "run python -m tests.tools"
    for *_, name in deviations.ON_PURPOSE:
        assert (deviations.TABLE.parent / name).exists(), name


@pytest.mark.parametrize("model_type", sorted(registry.MODELS))
def test_tasks(model_type: str) -> None:
    """Each type has the tasks that it has in the reference's Auto classes."""
    import transformers
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]
    autos = {task: getattr(transformers, registry.auto_class_name(task)) for task in registry.TASKS}
    theirs = {task for task, auto in autos.items() if config in auto._model_mapping}
    assert set(registry.tasks_of(model_type)) == theirs, "tasks in registry.MODELS"


@pytest.mark.parametrize("model_type", sorted(registry.MODELS))
def test_class_names(model_type: str) -> None:
    for task in registry.tasks_of(model_type):
        ours = registry.resolve(model_type, task)
        assert ours.__name__ == reference_class(model_type, task).__name__
        assert getattr(autoload, ours.__name__) is ours


# Fields without which there is no configuration: the reference's defaults contradict each other, or the part that a
# model holds by default is of a type that is not here.
NEEDED = {
    "gemma4_assistant": dict(text_config=dict(hidden_size_per_layer_input=0, vocab_size_per_layer_input=0)),
    "jev": dict(text_config=dict(model_type="qwen2")),
}


@pytest.mark.parametrize("model_type", sorted(registry.MODELS))
def test_configuration(model_type: str) -> None:
    """Default fields, and a file that the reference wrote, give the reference's fields."""
    from transformers import CONFIG_MAPPING

    fields = NEEDED.get(model_type, {})
    theirs = CONFIG_MAPPING[model_type](**fields)
    ours = autoload.AutoConfig.for_model(model_type, **fields)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.to_dict() == json.loads(json.dumps(theirs.to_dict()), object_hook=_label_numbers)
    assert json.loads(ours.to_json_string()) == json.loads(theirs.to_json_string())
    assert dict(ours.attribute_map) == theirs.attribute_map


def _label_numbers(fields: dict[str, Any]) -> dict[Any, Any]:
    if "id2label" in fields and fields["id2label"] is not None:
        fields["id2label"] = {int(k): v for k, v in fields["id2label"].items()}
    return fields


@pytest.mark.parametrize("case,task", PAIRS, ids=named(PAIRS))
def test_keys(case: Case, task: str, loaded: Any) -> None:
    """Parameter names and shapes, and the tied ones, are the reference's."""
    ours, theirs = loaded(case, task)
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    assert ours.base_model_prefix == theirs.base_model_prefix or "prefix" in case.skip
    count = len({id(p) for p in theirs.parameters()})
    assert len({id(p) for p in ours.parameters()}) == count, "the same ties"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fresh_model(case: Case) -> None:
    """`from_config` gives finite weights, and the tables that the constructor computes."""
    cls = registry.resolve(case.model_type, next(iter(registry.tasks_of(case.model_type).values())))
    config = registry.config_class(case.model_type)(**case.config)
    fresh, built = cls._from_config(config), cls(config)  # type: ignore[attr-defined]
    assert all(p.isfinite().all() for p in fresh.parameters())
    tables = dict(built.named_buffers())
    for name, found in fresh.named_buffers():
        assert torch.equal(found, tables[name]), name


@pytest.mark.parametrize("case,task", PAIRS, ids=named(PAIRS))
def test_outputs(case: Case, task: str, loaded: Any) -> None:
    """Outputs, hidden states, attention weights and loss, without padding."""
    ours, theirs = loaded(case, task)
    inputs = inputs_for(case, task)
    wanted = inspect.signature(theirs.forward).parameters
    labels = labels_for(task, inputs, theirs.config.num_labels)
    inputs |= {name: x for name, x in labels.items() if name in wanted or name in (ours.accepts or labels)}
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True)
        found = ours(**inputs, output_hidden_states=True)
    _compare(found, expected, case.tolerance)
    if "attentions" in case.skip:
        return
    parts = {id(m.config): m.config for m in theirs.modules() if hasattr(m, "set_attn_implementation")}
    kernels = {key: config._attn_implementation for key, config in parts.items()}  # not all may take that of the whole
    theirs.set_attn_implementation("eager")
    theirs.config._attn_implementation = "eager"  # some classes only log that they do not take the call
    try:
        with torch.no_grad():
            expected = theirs(**inputs, output_attentions=True)
            found = ours(**inputs, output_attentions=True)
    finally:
        for key, config in parts.items():
            config._attn_implementation = kernels[key]
    assert any("attentions" in key for key in leaves(expected))
    _compare(found, expected, case.tolerance)


def _compare(found: Any, expected: Any, tolerance: float) -> None:
    keys = [k for k in expected if k != "past_key_values"]
    assert [k for k in found if k != "past_key_values"] == keys
    for key in keys:
        assert_close(found[key], expected[key], tolerance, key)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_names_are_not_passed_over(case: Case) -> None:
    """What a type has no use for in the Hub's files are names of its own, never all of them."""
    for task in registry.tasks_of(case.model_type):
        variant = registry.resolve(case.model_type, task).variant  # type: ignore[attr-defined]
        pattern = variant.ignores(registry.config_class(case.model_type)(**case.config)) if variant.ignores else "(?!)"
        assert not re.search(pattern, "model.of_another_type.weight"), pattern


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("case,task", PAIRS, ids=named(PAIRS))
def test_padding(case: Case, task: str, side: str, loaded: Any) -> None:
    """Where tokens are real, padding changes nothing but what it changes in the reference."""
    skip(case, "padding")
    if task == "MultipleChoice":
        pytest.skip("has no padding of its own: its texts are padded as those of the other heads")
    if task == "ImageClassification" or case.image:
        pytest.skip("images are never padded")
    ours, theirs = loaded(case, task)
    inputs = inputs_for(case, task)
    main = next(iter(inputs))
    mask = torch.ones(inputs[main].shape[:2], dtype=torch.long)
    for row, count in enumerate((0, 3, 5) if main == "input_ids" else (0, mask.shape[1] // 5, mask.shape[1] // 3)):
        where = slice(None, count) if side == "left" else slice(mask.shape[-1] - count, None)
        mask[row, where] = 0
    filler = (getattr(theirs.config, "pad_token_id", None) or 0) if main == "input_ids" else 0
    hidden = (mask == 0).view(*mask.shape, *[1] * (inputs[main].dim() - 2))
    inputs[main] = inputs[main].masked_fill(hidden, filler)
    inputs["attention_mask"] = mask
    with torch.no_grad():
        expected = leaves(theirs(**inputs))
        found = leaves(ours(**inputs))
    for key in (k for k in expected if k != "past_key_values"):
        a, b = found[key], expected[key]
        if isinstance(b, torch.Tensor) and b.shape[:2] == mask.shape:
            a, b = a[mask == 1], b[mask == 1]
        assert_close(a, b, case.tolerance, key)
    assert all(torch.isfinite(v).all() for v in found.values() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("case,task", PAIRS, ids=named(PAIRS))
def test_gradients(case: Case, task: str, loaded: Any) -> None:
    """The gradient of the loss (of a weighted sum where there is none) in every parameter; eager and sdpa agree."""
    skip(case, "gradients")
    ours, theirs = loaded(case, task)
    inputs = inputs_for(case, task)
    wanted = inspect.signature(theirs.forward).parameters
    labels = labels_for(task, inputs, theirs.config.num_labels)
    inputs |= {name: x for name, x in labels.items() if name in wanted or name in (ours.accepts or labels)}
    expected = _gradients(theirs, inputs)
    for kernel in ("sdpa", "eager"):
        ours.set_attn_implementation(kernel)
        found = _gradients(ours, inputs)
        ours.set_attn_implementation("sdpa")
        assert found.keys() == expected.keys()
        top = max(g.abs().max() for g in expected.values())
        for name, theirs_grad in expected.items():
            error = (found[name] - theirs_grad).abs().max()
            limit = max(theirs_grad.abs().max(), top * 1e-2) * 20 * case.tolerance
            assert error <= limit, f"{kernel} {name}: {error:.2e}, allowed {limit:.2e}"


def _gradients(model: Any, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    out = model(**inputs)
    loss = out.get("loss")
    if loss is None:
        loss = sum((v * torch.linspace(-1, 1, v.numel()).view_as(v)).sum() for v in _tensors(out))
    loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters(remove_duplicate=False) if p.grad is not None}
    model.zero_grad()
    return grads


def _tensors(out: Any) -> list[torch.Tensor]:
    return [*out.get("feature_maps", ()), *(v for v in out.values() if isinstance(v, torch.Tensor))]


@pytest.mark.parametrize("case,task", LANGUAGE, ids=named(LANGUAGE))
def test_cached_steps(case: Case, task: str, loaded: Any) -> None:
    """A prefill and single steps give the scores of the full pass, with left padding too, and equal the reference's."""
    skip(case, "cache")
    ours, theirs = loaded(case, task)
    ids = inputs_for(case, task, seq=16)["input_ids"]
    for padded in (0, 3):
        mask = torch.ones_like(ids)
        mask[0, :padded] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        extra = {} if "position_ids" in case.skip else {"position_ids": positions}
        with torch.no_grad():
            full = ours(ids, attention_mask=mask, use_cache=False, **extra).logits
            expected = theirs(ids, attention_mask=mask, use_cache=False, **extra).logits
            cache, steps = None, []
            for begin, end in ((0, 7), (7, 8), (8, 11), *((i, i + 1) for i in range(11, 16))):
                part = {} if not extra else {"position_ids": positions[:, begin:end]}
                out = ours(
                    ids[:, begin:end], attention_mask=mask[:, :end], past_key_values=cache, use_cache=True, **part
                )
                cache = out.past_key_values
                steps.append(out.logits)
        real = mask == 1
        assert_close(full[real], expected[real], case.tolerance, "full pass")
        assert_close(torch.cat(steps, 1)[real], full[real], max(case.tolerance, 2e-5), "steps")


@pytest.mark.parametrize("case,task", PAIRS, ids=named(PAIRS))
def test_saved(case: Case, task: str, loaded: Any, tmp_path: Path) -> None:
    """What is saved here holds what the reference saves, and loads there with nothing missing, left over, or changed."""
    ours, theirs = loaded(case, task)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert _stored(tmp_path / "ours") == _stored(tmp_path / "theirs")
    mine, reference = (json.loads((tmp_path / who / "config.json").read_text()) for who in ("ours", "theirs"))
    if type(theirs.config).from_pretrained(tmp_path / "theirs").num_labels != theirs.config.num_labels:
        del mine["id2label"], mine["label2id"]  # which the reference forgets where a type's usual number is not two
    assert mine == reference
    again, info = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def _stored(directory: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(directory / "model.safetensors", "pt") as f:
        return {name: tuple(f.get_slice(name).get_shape()) for name in f.keys()}


@pytest.mark.parametrize("case,task", [p for p in PAIRS if p[1] in ("Model", "CausalLM")], ids=str)
def test_half_precision(case: Case, task: str, loaded: Any) -> None:
    """bfloat16 differs from fp32 by no more than the reference's bfloat16 does."""
    skip(case, "half")
    ours, theirs = (copy.deepcopy(m) for m in loaded(case, task))
    inputs = inputs_for(case, task)
    with torch.no_grad():
        exact = theirs(**inputs)[0]
        inputs = {name: _rounded(x) for name, x in inputs.items()}
        rounded = theirs.to(torch.bfloat16)(**inputs)[0].float()
        found = ours.to(torch.bfloat16)(**inputs)[0].float()
    allowed = (rounded - exact).abs()
    assert (found - exact).abs().max() <= 1.5 * allowed.max()
    assert (found - exact).abs().mean() <= 1.25 * allowed.mean()


def _rounded(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _rounded(value) for key, value in x.items()}
    if isinstance(x, tuple):
        return tuple(map(_rounded, x))
    return x.bfloat16() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
