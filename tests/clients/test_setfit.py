"""Few-shot training of the encoder and its head, `predict`, saving and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clients.test_sentence_transformers import with_our_model

CLIENTS = ("setfit", "sentence-transformers", "datasets")


def test_few_shots(tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    from tests.clients.checkpoints import minilm

    texts = ["a good film", "lovely", "great fun", "a bad film", "awful", "so boring"]
    found = []
    for ours in (False, True):
        body = with_our_model() if ours else SentenceTransformer(minilm(), device="cpu")
        model: Any = SetFitModel(model_body=body, model_head=LogisticRegression(), labels=["bad", "good"])
        arguments = TrainingArguments(
            output_dir=str(tmp_path / f"{ours}"),
            batch_size=4,
            num_iterations=2,
            num_epochs=1,
            max_steps=3,
            body_learning_rate=1e-4,
            report_to="none",
            save_strategy="no",
            seed=0,
        )
        data = Dataset.from_dict({"text": texts, "label": [1, 1, 1, 0, 0, 0]})
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        torch.manual_seed(0)
        trainer.train()
        chances = np.asarray(model.predict_proba(["fun", "boring"]))
        model.save_pretrained(str(tmp_path / f"{ours}-saved"))
        again: Any = SetFitModel.from_pretrained(str(tmp_path / f"{ours}-saved"))
        assert np.abs(np.asarray(again.predict_proba(["fun", "boring"])) - chances).max() < 1e-4
        assert list(model.predict(["fun", "boring"])) == ["good", "bad"]
        found.append(chances.flatten().tolist())
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-3)
