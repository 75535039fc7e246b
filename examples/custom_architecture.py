"""Register an architecture of your own: a bag of words, found by the Auto classes like any other model.

python examples/custom_architecture.py
"""

from __future__ import annotations

import tempfile

import torch
from torch import Tensor, nn

import autoload
from autoload import AutoConfig, AutoModelForSequenceClassification, ModelOutput, PreTrainedConfig


class BagConfig(PreTrainedConfig):
    model_type = "bag_of_words"

    def __init__(self, vocab_size: int = 1000, width: int = 32, **fields: object):
        super().__init__(vocab_size=vocab_size, width=width, **fields)


class BagClassifier(nn.Module):
    """The mean of the tokens' vectors, then one layer. A plain module: a constructor that takes the config is enough."""

    def __init__(self, config: BagConfig):
        super().__init__()
        self.config = config
        self.words = nn.EmbeddingBag(config.vocab_size, config.width)
        self.score = nn.Linear(config.width, config.num_labels)

    def forward(self, input_ids: Tensor) -> ModelOutput:
        return ModelOutput(logits=self.score(self.words(input_ids)))  # (batch, labels)


def main() -> Tensor:
    """Register, build, save, load back; the loaded model's logits."""
    autoload.register("bag_of_words", config=BagConfig, heads={"ForSequenceClassification": BagClassifier})

    config = AutoConfig.for_model("bag_of_words", width=16, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    input_ids = torch.tensor([[5, 7, 11], [2, 3, 0]])  # (batch, seq)
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save(model, folder)
        loaded = AutoModelForSequenceClassification.from_pretrained(folder)
        print(f"loaded a {type(loaded).__name__}: {autoload.AutoConfig.from_pretrained(folder).model_type}")
        logits = loaded(input_ids).logits
    assert torch.equal(logits, model(input_ids).logits), "the copy gives other logits"
    print(f"the same {tuple(logits.shape)} logits as before saving")
    return logits


def save(model: nn.Module, folder: str) -> None:
    """A plain module has no `save_pretrained`; a subclass of `autoload.PreTrainedModel` has."""
    from safetensors.torch import save_file

    save_file(model.state_dict(), f"{folder}/model.safetensors")


if __name__ == "__main__":
    main()
