"""`encode` with our model inside, prompts, saving; `SentenceTransformer(path)` on our classes; training; `CrossEncoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clients.checkpoints import minilm
from tests.clients.conftest import Both

CLIENTS = ("sentence-transformers", "datasets")
TEXTS = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.", "x" * 3000, ""]


def with_our_model() -> Any:
    """A `SentenceTransformer` whose model and tokenizer are ours."""
    from sentence_transformers import SentenceTransformer

    import autoload

    made: Any = SentenceTransformer(minilm(), device="cpu")
    made[0].model = autoload.AutoModel.from_pretrained(minilm())
    made[0].processor = autoload.AutoTokenizer.from_pretrained(minilm(), model_max_length=256)
    return made


def test_encode(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(minilm(), device="cpu").encode(TEXTS, batch_size=2)
    made = with_our_model()
    assert np.abs(made.encode(TEXTS, batch_size=2) - theirs).max() < 1e-5
    assert made.get_embedding_dimension() == 384 and made.max_seq_length == 256
    assert np.abs(made.encode(TEXTS, prompt="query: ") - theirs).max() > 1e-3
    made.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS, batch_size=2)
    assert np.abs(again - theirs).max() < 1e-5


def test_load_with_our_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of loading, with the names that it uses bound to ours."""
    import sentence_transformers.base.modules.transformer as module
    from sentence_transformers import SentenceTransformer

    import autoload

    expected = SentenceTransformer(minilm(), device="cpu").encode(TEXTS)
    for name in ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoModelForMaskedLM"):
        monkeypatch.setattr(module, name, getattr(autoload, name))
    monkeypatch.setattr(module, "AutoProcessor", autoload.AutoTokenizer)
    named = module.TRANSFORMER_TASK_TO_AUTO_MODEL
    tasks = {task: getattr(autoload, cls.__name__) if cls else None for task, cls in named.items()}
    monkeypatch.setattr(module, "TRANSFORMER_TASK_TO_AUTO_MODEL", tasks)
    made: Any = SentenceTransformer(minilm(), device="cpu")
    assert type(made[0].model).__module__ == "autoload" and type(made[0].processor).__module__.startswith("autoload")
    assert np.abs(made.encode(TEXTS) - expected).max() < 1e-5


def test_train(tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, losses
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments

    rows = {"anchor": ["a cat", "a dog", "rain", "sun"], "positive": ["a kitten", "a puppy", "wet", "bright"]}
    found = []
    for ours in (False, True):
        made = with_our_model() if ours else SentenceTransformer(minilm(), device="cpu")
        here = tmp_path / str(ours)
        arguments = Arguments(
            output_dir=str(here),
            max_steps=3,
            per_device_train_batch_size=4,
            learning_rate=1e-4,
            logging_steps=1,
            save_strategy="steps",
            save_steps=3,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        trainer: Any = SentenceTransformerTrainer(
            model=made,
            args=arguments,
            train_dataset=Dataset.from_dict(rows),
            loss=losses.MultipleNegativesRankingLoss(made),
        )
        torch.manual_seed(0)
        trainer.train()
        vectors = made.encode(TEXTS[:3])
        again = SentenceTransformer(str(here / "checkpoint-3"), device="cpu").encode(TEXTS[:3])
        assert np.abs(again - vectors).max() < 1e-5
        found.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        found[-1] += vectors.sum(1).tolist()
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-4)


def test_cross_encoder(both: Both, folder: Any) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from sentence_transformers import CrossEncoder

        made: Any = CrossEncoder(path, device="cpu", num_labels=3)
        made[0].model = library.AutoModelForSequenceClassification.from_pretrained(path)
        made[0].processor = library.AutoTokenizer.from_pretrained(path)
        return made.predict([("a good film", "a bad one"), ("hello", "world")]).flatten().tolist()

    both(figures, folder("bert"))
