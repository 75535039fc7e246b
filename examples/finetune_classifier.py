"""Fine-tune a text classifier in a plain PyTorch loop: good reviews from bad ones, on the 64 of `reviews.tsv`.

python examples/finetune_classifier.py [--model NAME_OR_DIRECTORY] [--epochs 4] [--save DIRECTORY]
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from quickstart import bundled_model

from autoload import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

LABELS = ["bad", "good"]
HELD_OUT = 16  # reviews that are not trained on


def read_reviews() -> list[tuple[str, int]]:
    """Pairs of a text and the number of its label, good and bad in turn."""
    lines = Path(__file__).with_name("reviews.tsv").read_text(encoding="utf-8").splitlines()
    return [(text, LABELS.index(label)) for label, text in (line.split("\t") for line in lines)]


def batch(tokenizer: PreTrainedTokenizerBase, rows: list[tuple[str, int]]) -> dict[str, torch.Tensor]:
    texts, labels = zip(*rows, strict=True)
    return {**tokenizer(list(texts), padding=True, return_tensors="pt"), "labels": torch.tensor(labels)}


@torch.no_grad()
def accuracy(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, rows: list[tuple[str, int]]) -> float:
    model.eval()
    inputs = batch(tokenizer, rows)
    return float((model(**inputs).logits.argmax(-1) == inputs["labels"]).float().mean())


def main(arguments: list[str] | None = None) -> float:
    """Train, and give the accuracy on the held-out reviews."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name on the Hub, or a directory; default: the installed MiniLM")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--save", help="directory for the trained model")
    options = parser.parse_args(arguments)
    name = options.model or bundled_model()

    torch.manual_seed(0)  # for the new head and for dropout
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(
        name, id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)}
    )
    reviews = read_reviews()
    train, held_out = reviews[:-HELD_OUT], reviews[-HELD_OUT:]
    print(f"before: {accuracy(model, tokenizer, held_out):.0%} of {HELD_OUT} held-out reviews right")

    model.get_input_embeddings().requires_grad_(False)  # half of the weights, and too few texts to improve them
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    order = random.Random(0)
    for epoch in range(options.epochs):
        model.train()
        order.shuffle(train)
        total = 0.0
        for start in range(0, len(train), 8):
            loss = model(**batch(tokenizer, train[start : start + 8])).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total * 8 / len(train):.3f}")

    reached = accuracy(model, tokenizer, held_out)
    print(f"after: {reached:.0%} of {HELD_OUT} held-out reviews right")
    if options.save:
        model.save_pretrained(options.save)
        tokenizer.save_pretrained(options.save)
        print(f"saved to {options.save}; labels {model.config.id2label}")
    return reached


if __name__ == "__main__":
    main()
