"""`fit` in bf16-mixed precision, a checkpoint, and loading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.clients.checkpoints import batch

CLIENTS = ("lightning",)


def test_fit(folder: Any, tmp_path: Path) -> None:
    import lightning
    import transformers

    import autoload

    class Module(lightning.LightningModule):
        def __init__(self, library: Any):
            super().__init__()
            self.model = library.AutoModelForCausalLM.from_pretrained(folder("llama_tied"))
            self.seen: list[float] = []

        def training_step(self, ids: torch.Tensor) -> Any:
            loss = self.model(input_ids=ids, labels=ids).loss
            self.seen.append(loss.item())
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    found = []
    for library in (transformers, autoload):
        module = Module(library)
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            devices=1,
            precision="bf16-mixed",
            default_root_dir=tmp_path,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(module, DataLoader(batch(16), batch_size=4))  # type: ignore[arg-type]
        assert module.seen[-1] < module.seen[0]
        path = tmp_path / f"{library.__name__}.ckpt"
        trainer.save_checkpoint(path)
        again = Module.load_from_checkpoint(path, library=library, weights_only=False)
        assert torch.equal(again.model.eval()(batch()).logits, module.model.eval()(batch()).logits)
        found.append(module.seen)
    assert found[1] == pytest.approx(found[0], rel=1e-2)  # bf16
