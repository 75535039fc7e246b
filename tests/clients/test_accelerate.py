"""`prepare` and `backward` in bf16, states, empty weights, `load_checkpoint_in_model`, dispatch to devices and disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.clients.checkpoints import batch
from tests.clients.conftest import Both

CLIENTS = ("accelerate",)


def train(library: Any, path: str) -> list[float]:
    from accelerate import Accelerator

    accelerator: Any = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
    model = library.AutoModelForCausalLM.from_pretrained(path).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(TensorDataset(batch(16)), batch_size=4))
    losses = []
    for _ in range(2):
        for (ids,) in loader:
            with accelerator.accumulate(model):
                out = model(input_ids=ids, labels=ids)
                assert out.logits.dtype == torch.float32 and type(out).__name__ == "CausalLMOutputWithPast"
                accelerator.backward(out.loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(accelerator.gather(out.loss.detach()).mean().item())
    assert losses[-1] < losses[0]
    inner = accelerator.unwrap_model(model)
    with tempfile.TemporaryDirectory() as saved:
        accelerator.save_state(saved)
        kept = inner.get_input_embeddings().weight.clone()
        inner.get_input_embeddings().weight.data.zero_()
        accelerator.load_state(saved)
        assert torch.equal(inner.get_input_embeddings().weight, kept)
        accelerator.save_model(model, f"{saved}/weights")
        plain: Any = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        state = accelerator.get_state_dict(model)
        plain.save_pretrained(f"{saved}/whole", is_main_process=True, save_function=accelerator.save, state_dict=state)
        again = library.AutoModelForCausalLM.from_pretrained(f"{saved}/whole").eval()
        assert torch.allclose(again(batch()).logits, plain.eval()(batch()).logits, atol=1e-5)
    accelerator.free_memory()
    return [round(loss, 2) for loss in losses]  # bf16: the figures agree to a hundredth


def test_train(folder: Any) -> None:
    import transformers

    import autoload

    theirs, ours = (train(library, folder("llama_tied")) for library in (transformers, autoload))
    assert ours == pytest.approx(theirs, rel=1e-2)


@pytest.mark.parametrize("name", ["llama", "llama_tied", "gpt2"])
def test_empty_weights(both: Both, folder: Any, name: str) -> None:
    def figure(library: Any, path: str) -> float:
        from accelerate import init_empty_weights, load_checkpoint_in_model

        config = library.AutoConfig.from_pretrained(path)
        with init_empty_weights():
            model = library.AutoModelForCausalLM.from_config(config)
        assert all(p.device.type == "meta" for p in model.parameters())
        model.tie_weights()
        load_checkpoint_in_model(model, path, device_map={"": "cpu"})
        model.tie_weights()
        assert not [name for name, p in model.named_parameters() if p.device.type == "meta"]
        return float(model.eval()(batch()).logits.abs().sum())

    both(figure, folder(name))


@pytest.mark.parametrize("name", ["llama", "llama_tied", "bert"])
def test_dispatch(both: Both, folder: Any, tmp_path: Path, name: str) -> None:
    def figure(library: Any, path: str) -> float:
        from accelerate import (
            cpu_offload,
            disk_offload,
            infer_auto_device_map,
            init_empty_weights,
            load_checkpoint_and_dispatch,
        )

        task = "SequenceClassification" if name == "bert" else "CausalLM"
        cls = getattr(library, f"AutoModelFor{task}")
        ids = batch(vocabulary=40)
        whole = cls.from_pretrained(path).eval()
        expected = whole(ids).logits.detach()
        with init_empty_weights():
            model = cls.from_config(library.AutoConfig.from_pretrained(path))
        model.tie_weights()
        keep = sorted({part for m in model.modules() for part in getattr(m, "_no_split_modules", None) or ()})
        room = {"cpu": int(0.8 * 4 * whole.num_parameters()), "disk": 10**9}
        places = infer_auto_device_map(model, max_memory=room, no_split_module_classes=keep)
        assert set(places.values()) == {"cpu", "disk"}
        folder_of_weights = tmp_path / f"{library.__name__}-dispatched"
        model = load_checkpoint_and_dispatch(
            model, path, device_map=places, offload_folder=folder_of_weights, no_split_module_classes=keep
        ).eval()
        assert torch.allclose(model(ids).logits, expected, atol=1e-5)
        assert torch.allclose(cpu_offload(cls.from_pretrained(path).eval(), "cpu")(ids).logits, expected, atol=1e-5)
        on_disk: Any = disk_offload(
            cls.from_pretrained(path).eval(), tmp_path / f"{library.__name__}-disk", execution_device="cpu"
        )
        assert torch.allclose(on_disk(ids).logits, expected, atol=1e-5)
        return float(expected.abs().sum())

    both(figure, folder(name))


def test_device_map(folder: Any, tmp_path: Path) -> None:
    """Our own `device_map`, which goes by accelerate: a layer on disk, generated from all the same."""
    import autoload

    whole = autoload.AutoModelForCausalLM.from_pretrained(folder("llama"))
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "cpu"}
    places |= {"model.norm": "cpu", "lm_head": "cpu", "model.rotary_emb": "cpu"}
    model = autoload.AutoModelForCausalLM.from_pretrained(
        folder("llama"), device_map=places, offload_folder=tmp_path / "offload"
    )
    ids = batch(1, 5)
    assert torch.equal(model(ids).logits, whole(ids).logits)
    options = dict(max_new_tokens=6, do_sample=False)
    assert torch.equal(model.generate(ids, **options), whole.generate(ids, **options))
    assert model.hf_device_map == places
