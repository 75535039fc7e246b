"""Forward and backward hooks, activations put in from another text, integrated gradients of the embeddings."""

from __future__ import annotations

from typing import Any

import torch

from tests.clients.checkpoints import batch
from tests.clients.conftest import Both

CLIENTS = ("captum",)


def test_integrated_gradients(both: Both, folder: Any) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from captum.attr import LayerIntegratedGradients

        model = library.AutoModelForSequenceClassification.from_pretrained(path)
        ids = batch(vocabulary=40)

        def score(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return model(input_ids=ids, attention_mask=mask).logits

        method = LayerIntegratedGradients(score, model.get_input_embeddings())
        found: Any = method.attribute(
            ids, baselines=torch.zeros_like(ids), target=1, additional_forward_args=(torch.ones_like(ids),), n_steps=8
        )
        assert found.shape == (2, 12, 32)
        return found.sum(-1).flatten().tolist()

    both(figures, folder("bert"))


def test_hooks(both: Both, folder: Any) -> None:
    def figures(library: Any, path: str) -> list[float]:
        model = library.AutoModelForCausalLM.from_pretrained(path)
        ids, other = batch(1), batch(1, seed=1)
        kept: dict[str, torch.Tensor] = {}

        def hidden(output: Any) -> torch.Tensor:
            return output[0] if isinstance(output, tuple) else output

        layer = model.model.layers[1]
        layer.register_forward_hook(lambda module, given, output: kept.update(output=hidden(output)))
        before = layer.register_forward_pre_hook(lambda module, given: kept.update(given=given[0]))
        model.model.layers[2].mlp.register_full_backward_hook(lambda module, given, out: kept.update(gradient=out[0]))
        model(ids, labels=ids).loss.backward()
        first = {name: tensor.detach().clone() for name, tensor in kept.items()}
        before.remove()
        put_in = layer.register_forward_hook(
            lambda module, given, output: (
                (first["output"], *output[1:]) if isinstance(output, tuple) else first["output"]
            )
        )
        patched = model(other).logits[:, -1]
        put_in.remove()
        assert not torch.allclose(patched, model(other).logits[:, -1])
        return [float(first[name].abs().sum()) for name in ("given", "output", "gradient")] + patched[0].tolist()

    both(figures, folder("llama"))
