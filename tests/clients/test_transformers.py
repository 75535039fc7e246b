"""`Trainer` (accumulation, evaluation, checkpoints, resuming), six pipelines, four data collators with `datasets.map`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.clients.checkpoints import CORPUS, batch
from tests.clients.conftest import Both

CLIENTS = ("transformers", "datasets", "accelerate")


def arguments(directory: Path, **more: Any) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(directory),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=5e-3,
        logging_steps=1,
        save_strategy="steps",
        save_steps=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
        **more,
    )


@pytest.mark.parametrize("name", ["llama", "llama_tied", "gpt2", "mixtral"])
def test_trainer_on_language_models(both: Both, folder: Any, tmp_path: Path, name: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from datasets import Dataset
        from transformers import Trainer

        here = tmp_path / library.__name__
        ids = batch(16, 10)
        labels = ids.clone()
        labels[::3, :6] = -100  # so that the batches have different numbers of tokens
        data = Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist(), "unused": list(range(16))})
        model = library.AutoModelForCausalLM.from_pretrained(path)
        trainer = Trainer(
            model, arguments(here, max_steps=4, gradient_checkpointing=True), train_dataset=data, eval_dataset=data
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        evaluated = trainer.evaluate()["eval_loss"]
        assert evaluated < losses[0]
        trainer.save_model(str(here / "final"))
        again = library.AutoModelForCausalLM.from_pretrained(here / "final").eval()
        assert torch.allclose(again(ids).logits, model.eval()(ids).logits, atol=1e-5)
        fresh = library.AutoModelForCausalLM.from_pretrained(path)
        resumed = Trainer(fresh, arguments(here, max_steps=6), train_dataset=data)
        resumed.train(resume_from_checkpoint=str(here / "checkpoint-4"))
        assert resumed.state.global_step == 6
        last = [entry["loss"] for entry in resumed.state.log_history if "loss" in entry]
        return [*losses, evaluated, *last, trainer.state.total_flos / 1e6]

    found = both(figures, folder(name))
    assert found


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_trainer_on_encoder_decoders(both: Both, folder: Any, tmp_path: Path, name: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from datasets import Dataset
        from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

        here = tmp_path / library.__name__
        tokenizer = library.AutoTokenizer.from_pretrained(path)
        model = library.AutoModelForSeq2SeqLM.from_pretrained(path)
        data = Dataset.from_dict({"text": CORPUS}).map(
            lambda rows: {**tokenizer(rows["text"]), "labels": tokenizer([t[:9] for t in rows["text"]])["input_ids"]},
            batched=True,
            remove_columns="text",
        )
        plain = {k: v for k, v in arguments(here, max_steps=3).to_dict().items() if k in ("max_steps", "learning_rate")}
        trainer: Any = Seq2SeqTrainer(
            model,
            Seq2SeqTrainingArguments(
                output_dir=str(here),
                **plain,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                seed=0,
                predict_with_generate=True,
                generation_max_length=8,
            ),
            train_dataset=data,
            eval_dataset=data,
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return [*losses, trainer.evaluate()["eval_loss"], float(trainer.predict(data).predictions.sum())]

    both(figures, folder(name))


@pytest.mark.parametrize("name", ["bert_words", "modernbert"])
def test_trainer_on_masked_words(both: Both, folder: Any, tmp_path: Path, name: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from datasets import Dataset
        from transformers import DataCollatorForLanguageModeling, Trainer

        tokenizer = library.AutoTokenizer.from_pretrained(path)
        data = Dataset.from_dict({"text": CORPUS}).map(
            lambda rows: tokenizer(rows["text"]), batched=True, remove_columns="text"
        )
        trainer = Trainer(
            library.AutoModelForMaskedLM.from_pretrained(path),
            arguments(tmp_path / library.__name__, max_steps=3),
            train_dataset=data,
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4),
        )
        torch.manual_seed(1)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    both(figures, folder(name))


def test_trainer_on_a_classifier(both: Both, folder: Any, tmp_path: Path) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from datasets import Dataset
        from transformers import Trainer

        here = tmp_path / library.__name__
        tokenizer = library.AutoTokenizer.from_pretrained(path)
        model = library.AutoModelForSequenceClassification.from_pretrained(path)
        texts = {"text": ["good", "bad bad bad film", "so so"] * 4, "label": [0, 1, 2] * 4}
        data = Dataset.from_dict(texts).map(lambda rows: tokenizer(rows["text"], truncation=True), batched=True)
        trainer: Any = Trainer(
            model,
            arguments(here, max_steps=4, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True),
            train_dataset=data,
            eval_dataset=data,
            processing_class=tokenizer,  # it makes the collator
            compute_metrics=lambda p: {"right": float((p.predictions.argmax(-1) == p.label_ids).mean())},
        )
        trainer.train()
        metrics = trainer.evaluate()
        assert trainer.predict(data).predictions.shape == (12, 3)
        trainer.save_model(str(here / "final"))
        library.AutoTokenizer.from_pretrained(here / "final")
        return [metrics["eval_loss"], metrics["eval_right"]]

    both(figures, folder("bert"))


PIPELINES: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    # task: checkpoint, head, inputs, keywords of the call
    "text-classification": ("bert", "SequenceClassification", ["a good film", "bad"], dict(top_k=None)),
    "token-classification": ("bert_tokens", "TokenClassification", ["a quick brown fox"], {}),
    "fill-mask": ("bert_words", "MaskedLM", ["a [MASK] film", "the [MASK] dog"], dict(top_k=4)),
    "feature-extraction": ("bert", "", ["a good film", "hello"], {}),
    "text-generation": ("llama", "CausalLM", ["hello world", "one two"], dict(max_new_tokens=6, do_sample=False)),
    "text-generation-chat": (
        "llama",
        "CausalLM",
        [[{"role": "user", "content": "hello"}]],
        dict(max_new_tokens=6, do_sample=False),
    ),
    "zero-shot-classification": (
        "bert",
        "SequenceClassification",
        ["a good film"],
        dict(candidate_labels=["fox", "one"]),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines(both: Both, folder: Any, name: str) -> None:
    checkpoint, head, inputs, keywords = PIPELINES[name]

    def figures(library: Any, path: str) -> dict[str, Any]:
        from transformers import pipeline

        auto = getattr(library, f"AutoModelFor{head}" if head else "AutoModel")
        model, tokenizer = auto.from_pretrained(path), library.AutoTokenizer.from_pretrained(path)
        pipe = pipeline(name.removesuffix("-chat"), model=model, tokenizer=tokenizer, device="cpu")
        if tokenizer.pad_token is not None and "generation" not in name:
            assert len(pipe(inputs, batch_size=2, **keywords)) == len(inputs)
        return flat(pipe(inputs, **keywords))

    both(figures, folder(checkpoint))


def test_question_answering(both: Both, folder: Any) -> None:
    """The reference took its pipeline away; the steps are these."""

    def figures(library: Any, path: str) -> list[float]:
        model = library.AutoModelForQuestionAnswering.from_pretrained(path)
        tokenizer = library.AutoTokenizer.from_pretrained(path)
        inputs = tokenizer("what jumps", "the quick brown fox jumps over the lazy dog", return_tensors="pt")
        out = model(**inputs)
        start, end = int(out.start_logits.argmax()), int(out.end_logits.argmax())
        assert isinstance(tokenizer.decode(inputs["input_ids"][0][start : end + 1]), str)
        return [start, end, *out.start_logits.flatten().tolist()]

    both(figures, folder("bert_spans"))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested lists and dicts: numbers, and hashes of texts."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{path}.{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{path}.{i}").items()}
    if isinstance(value, torch.Tensor):
        return flat(value.tolist(), path)
    return {path: float(value) if hasattr(value, "__float__") else sum(map(ord, str(value)))}


def test_collators(both: Both, folder: Any) -> None:
    def figures(library: Any, encoder: str, decoder: str) -> list[float]:
        import transformers as reference
        from datasets import Dataset
        from datasets.fingerprint import Hasher

        tokenizer = library.AutoTokenizer.from_pretrained(encoder)
        texts = ["hello world", "the quick brown fox", "one"]
        fingerprint = Hasher.hash(tokenizer)
        assert Hasher.hash(library.AutoTokenizer.from_pretrained(encoder)) == fingerprint
        tokenizer(texts, padding=True, truncation=True, max_length=4)
        assert Hasher.hash(tokenizer) == fingerprint  # after use too, so that cached maps are found again
        data = Dataset.from_dict({"text": texts}).map(
            lambda rows: tokenizer(rows["text"], truncation=True, max_length=8), batched=True, remove_columns="text"
        )
        rows = [data[i] for i in range(3)]
        padded = reference.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)(rows)
        assert padded["input_ids"].shape == (3, 8)
        torch.manual_seed(0)
        masked = reference.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)(rows)
        assert (masked["input_ids"] == tokenizer.mask_token_id).any() and (masked["labels"] != -100).any()
        causal = reference.DataCollatorForLanguageModeling(library.AutoTokenizer.from_pretrained(decoder), mlm=False)
        assert causal([{"input_ids": [5, 6, 7]}, {"input_ids": [5]}])["labels"].tolist()[1] == [5, -100, -100]
        marked = [{"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [5], "labels": [1]}]
        tokens = reference.DataCollatorForTokenClassification(tokenizer)(marked)
        assert tokens["labels"].tolist() == [[1, 2], [1, -100]]
        pairs = [{"input_ids": [5, 6], "labels": [1]}, {"input_ids": [5], "labels": [1, 2, 3]}]
        assert reference.DataCollatorForSeq2Seq(tokenizer, padding=True)(pairs)["labels"].shape == (2, 3)
        loader: Any = DataLoader(
            data.with_format("torch"), batch_size=2, collate_fn=lambda e: tokenizer.pad(e, return_tensors="pt")
        )
        first = next(iter(loader))["input_ids"]
        return [float(part.sum()) for part in (padded["input_ids"], masked["input_ids"], masked["labels"], first)]

    both(figures, folder("bert"), folder("llama"))
