"""The classic five lines, against a stand-in for the Hub that serves a tiny DistilBERT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.checkpoints import tiny
from tests.fakehub import TOKEN, FakeHub

NAME = "distilbert-base-uncased"
CLASSIC = """
import torch
from autoload import AutoTokenizer, AutoModelForSequenceClassification
tokenizer = AutoTokenizer.from_pretrained("distilbert-base-uncased")
model = AutoModelForSequenceClassification.from_pretrained("distilbert-base-uncased")
inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
import json
print(json.dumps([logits.tolist(), sorted(inputs)]))
"""


@pytest.fixture
def repository(tmp_path: Path) -> dict[str, bytes]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", ",", "my", "dog", "is", "cute", "##s"]
    sizes = dict(vocab_size=len(words), dim=16, n_layers=2, n_heads=2, hidden_dim=20, max_position_embeddings=24)
    tiny("distilbert", "SequenceClassification", **sizes).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 24}))
    return {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_classic_five_lines(repository: dict[str, bytes], tmp_path: Path) -> None:
    import transformers

    home = tmp_path / "home"
    home.mkdir()
    with FakeHub() as hub:
        hub.repo(NAME, repository)
        first = hub.run_client(CLASSIC, home)
        assert first.returncode == 0, first.stderr
        downloads = hub.count()
        second = hub.run_client(CLASSIC, home)
        assert second.stdout == first.stdout
        assert hub.count() - downloads == 1, "a second load of both asks once"
        pinned = CLASSIC.replace('uncased")', f'uncased", revision="{hub.repos[NAME].refs["main"]}")')
        before = hub.count()
        assert hub.run_client(pinned, home).stdout == first.stdout and hub.count() == before, (
            "a cached commit asks nothing"
        )
        offline = hub.run_client(CLASSIC, home, HF_HUB_OFFLINE="1")
        assert offline.stdout == first.stdout and hub.count() == before, offline.stderr

    (tmp_path / "copy").mkdir()
    for name, data in repository.items():
        (tmp_path / "copy" / name).write_bytes(data)
    theirs = transformers.DistilBertForSequenceClassification.from_pretrained(tmp_path / "copy")
    with torch.no_grad():
        expected = theirs(torch.tensor([[2, 5, 6, 7, 8, 9, 10, 3]])).logits
    logits, names = json.loads(first.stdout)
    assert torch.allclose(torch.tensor(logits), expected, atol=1e-5) and "input_ids" in names


PUSH = """
import torch
from autoload import AutoConfig, AutoModel
config = AutoConfig.for_model("bert", hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=30)
model = AutoModel.from_config(config)
model.push_to_hub("me/pushed", token={token!r}, commit_message="first")
again = AutoModel.from_pretrained("me/pushed")
assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
assert len(again.config._name_or_path) and again.config.architectures == ["BertModel"]
print("ok")
"""


def test_pushed_model_loads_by_its_name(tmp_path: Path) -> None:
    with FakeHub() as hub:
        done = hub.run_client(PUSH.format(token=TOKEN), tmp_path)
    assert done.stdout.strip() == "ok", done.stderr
