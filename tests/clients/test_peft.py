"""LoRA on decoders, encoders and both together; seven more methods, prompts, prefixes; adapters for either library."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clients.checkpoints import batch
from tests.clients.conftest import Both

CLIENTS = ("peft",)


def fit(model: Any, steps: int = 3, **inputs: Any) -> list[float]:
    """Losses of a few steps on the parameters that train."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def lora(library: Any, path: str) -> list[float]:
    import peft

    base = library.AutoModelForCausalLM.from_pretrained(path)
    ids = batch()
    plain = base(ids).logits.detach()
    torch.manual_seed(0)
    model: Any = peft.get_peft_model(base, peft.LoraConfig("CAUSAL_LM", r=4, target_modules="all-linear"))
    adapted = {name.rpartition(".")[-1] for name, module in model.named_modules() if hasattr(module, "lora_A")}
    assert "lm_head" not in adapted and len(adapted) >= 3
    assert torch.allclose(model(ids).logits, plain, atol=1e-6)
    model.gradient_checkpointing_enable()
    losses = fit(model, input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    model.gradient_checkpointing_disable()
    assert losses[-1] < losses[0]
    adapted_logits = model(ids).logits.detach()
    text = model.generate(input_ids=ids[:1, :4], max_new_tokens=4, do_sample=False)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        again = peft.PeftModel.from_pretrained(library.AutoModelForCausalLM.from_pretrained(path), saved).eval()
    assert again.peft_config["default"].base_model_name_or_path == path
    assert torch.allclose(again(ids).logits, adapted_logits, atol=1e-5)
    with again.disable_adapter():
        assert torch.allclose(again(ids).logits, plain, atol=1e-5)
    merged = again.merge_and_unload()
    assert type(merged) is type(base) and torch.allclose(merged(ids).logits, adapted_logits, atol=1e-4)
    assert torch.equal(merged.generate(input_ids=ids[:1, :4], max_new_tokens=4, do_sample=False), text)
    return [*losses, float(adapted_logits.abs().mean())]


@pytest.mark.parametrize("name", ["llama", "llama_tied", "gpt2", "mixtral"])
def test_lora_on_decoders(both: Both, folder: Any, name: str) -> None:
    both(lora, folder(name))


def lora_translator(library: Any, path: str) -> list[float]:
    import peft

    base = library.AutoModelForSeq2SeqLM.from_pretrained(path)
    ids, labels = batch(), batch(length=7, seed=1)
    torch.manual_seed(0)
    model: Any = peft.get_peft_model(base, peft.LoraConfig("SEQ_2_SEQ_LM", r=4, target_modules="all-linear"))
    assert not hasattr(base.get_output_embeddings(), "lora_A")
    losses = fit(model, input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    assert losses[-1] < losses[0]
    logits = model(input_ids=ids, labels=labels).logits.detach()
    text = model.generate(input_ids=ids, max_new_tokens=5, do_sample=False)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        fresh = library.AutoModelForSeq2SeqLM.from_pretrained(path)
        again = peft.PeftModel.from_pretrained(fresh, saved).eval()
    assert torch.allclose(again(input_ids=ids, labels=labels).logits, logits, atol=1e-5)
    merged = again.merge_and_unload()
    assert torch.allclose(merged(input_ids=ids, labels=labels).logits, logits, atol=1e-4)
    return [*losses, float(logits.abs().mean()), *text.flatten().tolist()]


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_lora_on_encoder_decoders(both: Both, folder: Any, name: str) -> None:
    both(lora_translator, folder(name))


def lora_classifier(library: Any, path: str) -> list[float]:
    import peft

    base = library.AutoModelForSequenceClassification.from_pretrained(path)
    ids, labels = batch(vocabulary=40), torch.tensor([0, 2])
    torch.manual_seed(0)
    config = peft.LoraConfig("SEQ_CLS", r=4, target_modules=["query", "value"])
    model: Any = peft.get_peft_model(base, config)
    losses = fit(model, input_ids=ids, labels=labels)
    assert losses[-1] < losses[0]
    logits = model(input_ids=ids).logits.detach()
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        fresh = library.AutoModelForSequenceClassification.from_pretrained(path)
        again = peft.PeftModel.from_pretrained(fresh, saved).eval()
    assert torch.allclose(again(input_ids=ids).logits, logits, atol=1e-5)  # the classifier was saved with the adapter
    assert torch.allclose(again.merge_and_unload()(ids).logits, logits, atol=1e-4)
    return [*losses, *logits.flatten().tolist()]


def test_lora_on_an_encoder(both: Both, folder: Any) -> None:
    both(lora_classifier, folder("bert"))


METHODS: dict[str, dict[str, Any]] = {
    "IA3Config": dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "LoHaConfig": dict(r=4, target_modules=["q_proj", "v_proj"]),
    "LoKrConfig": dict(r=4, target_modules=["q_proj", "v_proj"]),
    "OFTConfig": dict(r=0, oft_block_size=4, target_modules=["q_proj", "v_proj"]),
    "VeraConfig": dict(r=4, target_modules=["q_proj", "o_proj"]),
    "AdaLoraConfig": dict(r=4, target_modules=["q_proj", "v_proj"], total_step=10),
    "LoraConfig": dict(r=4, target_modules=["q_proj", "v_proj", "embed_tokens"], use_dora=False),
    "LoraConfig (DoRA)": dict(r=4, target_modules=["q_proj", "v_proj"], use_dora=True),
    "TrainableTokensConfig": dict(token_indices=[5, 6, 7]),
}


def method(library: Any, path: str, name: str) -> list[float]:
    import peft

    base = library.AutoModelForCausalLM.from_pretrained(path)
    torch.manual_seed(0)
    config = getattr(peft, name.partition(" ")[0])(task_type="CAUSAL_LM", **METHODS[name])
    model: Any = peft.get_peft_model(base, config)
    ids = batch()
    losses = fit(model, input_ids=ids, labels=ids)
    logits = model(input_ids=ids).logits.detach()
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        fresh = library.AutoModelForCausalLM.from_pretrained(path)
        again = peft.PeftModel.from_pretrained(fresh, saved).eval()
    assert torch.allclose(again(input_ids=ids).logits, logits, atol=1e-5)
    assert torch.allclose(model.merge_and_unload()(ids).logits, logits, atol=1e-3)
    return [*losses, float(logits.abs().mean())]


@pytest.mark.parametrize("name", METHODS)
def test_methods(both: Both, folder: Any, name: str) -> None:
    # on tied weights only what keeps its word there with the reference too
    both(method, folder("llama_tied" if name == "TrainableTokensConfig" else "llama"), name)


def prompts(library: Any, path: str, kind: str) -> list[float]:
    import peft

    base = library.AutoModelForCausalLM.from_pretrained(path)
    torch.manual_seed(0)
    if kind == "prompt":
        config: Any = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    else:
        config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    model: Any = peft.get_peft_model(base, config)
    ids = batch()
    losses = fit(model, input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    text = model.generate(
        input_ids=ids[:, :4], attention_mask=torch.ones_like(ids[:, :4]), max_new_tokens=5, do_sample=False
    )
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        fresh = library.AutoModelForCausalLM.from_pretrained(path)
        again = peft.PeftModel.from_pretrained(fresh, saved).eval()
    mask = torch.ones_like(ids[:, :4])
    assert torch.equal(
        again.generate(input_ids=ids[:, :4], attention_mask=mask, max_new_tokens=5, do_sample=False), text
    )
    plain = base.generate(input_ids=ids[:, :4], attention_mask=mask, max_new_tokens=5, do_sample=False)
    return [*losses, *text.flatten().tolist(), *plain.flatten().tolist()]


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_prompts_and_prefixes(both: Both, folder: Any, name: str, kind: str) -> None:
    both(prompts, folder(name), kind)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral"])
def test_adapters_go_both_ways(folder: Any, tmp_path: Path, name: str) -> None:
    import peft
    import transformers

    import autoload

    ids = batch()
    for maker, user in ((transformers, autoload), (autoload, transformers)):
        torch.manual_seed(0)
        base = maker.AutoModelForCausalLM.from_pretrained(folder(name))
        config = peft.LoraConfig("CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
        model = peft.get_peft_model(base, config).eval()
        saved = tmp_path / maker.__name__
        model.save_pretrained(saved)
        loaded = peft.PeftModel.from_pretrained(user.AutoModelForCausalLM.from_pretrained(folder(name)), saved).eval()
        assert torch.allclose(loaded(ids).logits, model(ids).logits, atol=1e-5)
        assert not torch.allclose(loaded(ids).logits, plain(user, folder(name), ids))


def plain(library: Any, path: str, ids: torch.Tensor) -> torch.Tensor:
    return library.AutoModelForCausalLM.from_pretrained(path).eval()(ids).logits
