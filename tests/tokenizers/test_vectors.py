"""Test vectors of other projects: llama.cpp's and swift-transformers'."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.tokenizers.rows import SHARED, load, needs_shared

pytestmark = needs_shared

LLAMA_CPP = {
    "gpt-2": "bytebpe/gpt2_vocab",
    "llama-bpe": "tiktoken/llama3",
    "llama-spm": "spm_bpe/llama2_json",
    "phi-3": "spm_bpe/phi3_mini_json",
    "qwen2": "bytebpe/qwen2_vocab",
    "bert-bge": "wordpiece/bert_uncased_vocab",
    "mpt": "bytebpe/gpt_neox_json",
}
SWIFT_CASES = {
    "bert-base-uncased": "wordpiece/bert_uncased_vocab",
    "google-bert/bert-base-uncased": "wordpiece/bert_uncased_json",
    "distilgpt2": "bytebpe/gpt2_vocab",
    "coreml-projects/Llama-2-7b-chat-coreml": "spm_bpe/llama2_json",
    "openai/whisper-large-v2": "whisper/whisper_base_vocab",
    "t5-base": "spm_unigram/t5_json",
    "pcuenq/Llama-3.2-1B-Instruct-tokenizer": "tiktoken/llama3",
}
SWIFT_TEXTS = {
    "bert_uncased": "wordpiece/bert_uncased_vocab",
    "gpt2": "bytebpe/gpt2_vocab",
    "llama": "spm_bpe/llama2_json",
    "llama_3.2": "tiktoken/llama3",
    "t5_base": "spm_unigram/t5_spm",
    "whisper_large_v2": "whisper/whisper_base_vocab",
}


def llama_cpp(name: str) -> list[tuple[str, list[int]]]:
    """Texts and ids of a vocabulary of llama.cpp."""
    base = SHARED / "_vectors" / f"ggml-vocab-{name}.gguf"
    texts = base.with_suffix(".gguf.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    ids = base.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(part) for part in line.split()]) for text, line in zip(texts, ids, strict=False)]


@pytest.mark.parametrize("name", LLAMA_CPP)
def test_llama_cpp(name: str) -> None:
    vectors = llama_cpp(name)
    tokenizer = load(LLAMA_CPP[name])
    wrong = [text for text, ids in vectors if tokenizer(text, add_special_tokens=False)["input_ids"] != ids]
    assert len(vectors) == 47 and wrong == []


def test_llama_cpp_from_the_sentencepiece_file() -> None:
    vectors = llama_cpp("llama-spm")
    tokenizer = load("spm_bpe/llama2_spm")
    assert [text for text, ids in vectors if tokenizer(text, add_special_tokens=False)["input_ids"] != ids] == []


def without_bos(tokenizer: Any, ids: list[int]) -> list[int]:
    """Tiktoken files have no template, so nothing begins with the token that their tokenizer.json puts first."""
    return ids[1:] if ids[:1] == [tokenizer.bos_token_id] and tokenizer("a")["input_ids"][0] != ids[0] else ids


@pytest.mark.parametrize("name", SWIFT_CASES)
def test_swift_cases(name: str) -> None:
    cases = json.loads((SHARED / "_vectors" / "swift_tokenizer_tests.json").read_text(encoding="utf-8"))[name]
    tokenizer = load(SWIFT_CASES[name])
    assert len(cases) > 5
    for case in cases:
        ids = case["encoded"]["input_ids"]
        assert tokenizer(case["input"])["input_ids"] == without_bos(tokenizer, ids), case["input"]
        for skip, text in ((False, case["decoded_with_special"]), (True, case["decoded_without_special"])):
            decoded = tokenizer.decode(ids, skip_special_tokens=skip)  # theirs cleans spaces for most models
            assert text in (decoded, tokenizer.clean_up_tokenization(decoded)), case["input"]


@pytest.mark.parametrize("name", SWIFT_TEXTS)
def test_swift_texts(name: str) -> None:
    found = sorted((SHARED / "_vectors").glob(f"swift_{name}_encoded*.json"))
    vector = json.loads(found[0].read_text(encoding="utf-8"))
    tokenizer = load(SWIFT_TEXTS[name])
    ids = tokenizer(vector["text"], verbose=False)["input_ids"]
    assert ids == without_bos(tokenizer, vector["token_ids"]) or ids[:-1] == vector["token_ids"]
    assert tokenizer.tokenize(vector["text"]) == vector["bpe_tokens"]
