"""`SFTTrainer` on texts and on chats, with all weights and with LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.clients.conftest import Both

CLIENTS = ("trl", "peft", "datasets")
ROWS: dict[str, Any] = {
    "text": {"text": ["hello world this is", "one two three four five", "the quick brown fox", "a good film"] * 2},
    "chat": {
        "messages": [
            [{"role": "user", "content": "hello"}, {"role": "assistant", "content": word}]
            for word in ("world", "one two", "fox", "dog") * 2
        ]
    },
}


@pytest.mark.parametrize("weights", ["all", "lora"])
@pytest.mark.parametrize("rows", ROWS)
def test_supervised_fine_tuning(both: Both, folder: Any, tmp_path: Path, rows: str, weights: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from datasets import Dataset
        from peft import LoraConfig
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        here = tmp_path / library.__name__
        config = SFTConfig(
            output_dir=str(here),
            max_steps=3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=5e-3,
            logging_steps=1,
            save_strategy="no",
            max_length=64,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            seed=0,
        )
        lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear") if weights == "lora" else None
        model = library.AutoModelForCausalLM.from_pretrained(path)
        trainer: Any = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(ROWS[rows]),
            processing_class=library.AutoTokenizer.from_pretrained(path),
            peft_config=lora,
        )
        trainer.train()
        trainer.save_model(str(here / "final"))
        if lora is None:
            again = library.AutoModelForCausalLM.from_pretrained(here / "final").eval()
            ids = torch.arange(3, 12)[None]
            assert torch.allclose(again(ids).logits, trainer.model.eval()(input_ids=ids).logits, atol=1e-5)
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    losses = both(figures, folder("llama"))
    assert len(losses) == 3
