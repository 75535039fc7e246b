"""`HFLM` around a loaded model: log-likelihoods, rolling ones, `generate_until`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.conftest import Both

CLIENTS = ("lm-eval",)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_requests(both: Both, folder: Any, name: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        def request(kind: Any, *given: Any) -> Instance:
            return Instance(request_type=kind, doc={}, arguments=given, idx=0)

        model = library.AutoModelForCausalLM.from_pretrained(path)
        tokenizer = library.AutoTokenizer.from_pretrained(path)
        wrapped: Any = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2, device="cpu")
        pairs = [("hello world", " this is"), ("", "the quick"), ("one two", " three four five")]
        scored = wrapped.loglikelihood([request("loglikelihood", *pair) for pair in pairs], disable_tqdm=True)
        rolling = wrapped.loglikelihood_rolling(
            [request("loglikelihood_rolling", "the quick brown fox jumps over the lazy dog")], disable_tqdm=True
        )
        asked = [
            request("generate_until", "hello", {"until": ["\n\n"], "max_gen_toks": 5, "do_sample": False}),
            request("generate_until", "one two three", {"until": ["z"], "max_gen_toks": 5, "do_sample": False}),
        ]
        texts = wrapped.generate_until(asked, disable_tqdm=True)
        assert wrapped.max_length == 128
        return [*(score for score, _ in scored), rolling[0], *(float(sum(text.encode())) for text in texts)]

    both(figures, folder(name))
