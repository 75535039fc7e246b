"""The same tokens as the reference: greedy decoding, beams and sampling, on every type that generates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.generation.models import by_name, decoders, forget_lengths, lively, pair, prompts
from tests.parity.harness import assert_close

NEW = 8
ENDS = list(range(5, 60, 2))  # many tokens end a text, so that rows end at different lengths
BEAMS: dict[str, Any] = dict(num_beams=3, eos_token_id=ENDS, pad_token_id=1)
RECORDS = dict(return_dict_in_generate=True, output_scores=True, output_logits=True)

EVERYWHERE: dict[str, tuple[bool, dict[str, Any]]] = {  # name: padded prompts, settings
    "greedy": (False, {}),
    "greedy-padded": (True, dict(eos_token_id=ENDS, pad_token_id=1)),
    "beams-padded": (True, BEAMS),
    "sample": (True, dict(do_sample=True, top_k=20, top_p=0.9, temperature=0.8)),
}

# A step over a cache is another function: every token sees those that follow it, or the reference forgets the bytes
# before it (test_blt.py compares tokens with and without a cache).
UNCACHED = {"gemma4_text-bidirectional", "blt", "blt-short-patches", "blt-single-bytes"}
# What of the reference fails, and where it computes something else on purpose or not.
FAILS = {
    "big_bird-blocks": "reading in blocks, its decoder looks ahead",
    "big_bird-long": "its positions end before the text does",
    "reformer-sides": "it refuses to look ahead",
}
GREEDY = {
    "reformer": "its generation forgets the mask, and its hashes take the random numbers that sampling takes",
    "prophetnet": "its generation forgets the mask, and one draw of the sample lies between two tokens",
}
# XLNet predicts at a place of its own behind the text; its class does not prepare such inputs yet.
MISSING = {"xlnet"}

SETTINGS: dict[str, tuple[bool, dict[str, Any]]] = {
    "no cache": (True, dict(use_cache=False)),
    "one eos": (False, dict(eos_token_id=7)),
    "repetition": (True, dict(repetition_penalty=1.4)),
    "encoder repetition": (False, dict(encoder_repetition_penalty=1.6)),
    "n-grams": (False, dict(no_repeat_ngram_size=2, repetition_penalty=0.7)),
    "encoder n-grams": (False, dict(encoder_no_repeat_ngram_size=1)),
    "bad words": (False, dict(bad_words_ids=[[t] for t in range(20, 60)] + [[5, 6]])),
    "bias": (False, dict(sequence_bias=[[[9], 4.0], [[9, 11], 9.0], [[3], -5.0]])),
    "min length": (False, dict(eos_token_id=ENDS, min_length=17)),
    "min new tokens": (True, dict(eos_token_id=ENDS, min_new_tokens=4)),
    "max length": (False, dict(max_new_tokens=None, max_length=15)),
    "forced end": (False, dict(forced_eos_token_id=[4, 6])),
    "decay": (False, dict(eos_token_id=[7, 8], exponential_decay_length_penalty=(1, 9.0))),
    "suppressed": (False, dict(suppress_tokens=list(range(30)), begin_suppress_tokens=list(range(50, 99)))),
    "invalid values": (False, dict(remove_invalid_values=True)),
    "chunks": (True, dict(prefill_chunk_size=5)),
    "guidance": (False, dict(guidance_scale=1.8)),
    "static": (True, dict(cache_implementation="static")),
    "watermark": (False, dict(watermarking_config=dict(bias=3.0, seeding_scheme="selfhash", context_width=2))),
    "allowed": (False, dict(prefix_allowed_tokens_fn=lambda row, ids: [row + 3, row + 9, int(ids[-1] + 1) % 90])),
    "sampled": (True, dict(do_sample=True, num_return_sequences=3, top_k=0, eos_token_id=ENDS)),
    "typical": (False, dict(do_sample=True, typical_p=0.6, top_k=0)),
    "min p": (False, dict(do_sample=True, min_p=0.2, top_k=0)),
    "top h": (False, dict(do_sample=True, top_h=0.5)),
    "cut-offs": (False, dict(do_sample=True, epsilon_cutoff=0.02, eta_cutoff=0.03, renormalize_logits=True)),
    "beams early": (True, BEAMS | dict(early_stopping=True)),
    "beams never early": (True, BEAMS | dict(early_stopping="never", num_return_sequences=2)),
    "beams longer": (True, BEAMS | dict(length_penalty=2.0, num_return_sequences=3)),
    "beams shorter": (True, BEAMS | dict(length_penalty=-1.0, early_stopping="never")),
    "beams pad 0": (True, BEAMS | dict(pad_token_id=0)),
    "beams no end": (False, dict(num_beams=3)),
    "beams penalties": (False, BEAMS | dict(repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=3)),
    "beams no cache": (True, BEAMS | dict(use_cache=False)),
    "beams allowed": (False, BEAMS | dict(prefix_allowed_tokens_fn=lambda row, ids: [row + 3, row + 9, 60])),
    "beams sampled": (True, BEAMS | dict(do_sample=True, num_return_sequences=3, temperature=1.5, top_k=3)),
}


def both(name: Any, padded: bool, settings: dict[str, Any]) -> tuple[Any, Any]:
    """What the reference and this library generate, from the same random state."""
    case = lively(name) if isinstance(name, str) else name
    ours, theirs = pair(case)
    forget_lengths(theirs)
    results = []
    for model in (theirs, ours):
        torch.manual_seed(0)
        results.append(model.generate(**prompts(case, padded), **({"max_new_tokens": NEW} | settings)))
    return results[0], results[1]


@pytest.mark.parametrize("settings", EVERYWHERE)
@pytest.mark.parametrize("case", decoders(), ids=str)
def test_every_type(case: Any, settings: str) -> None:
    if case.model_type in MISSING:
        pytest.skip("this type's inputs for generation are not prepared yet")
    if str(case) in FAILS:
        pytest.skip(f"the reference fails: {FAILS[str(case)]}")
    if case.model_type in GREEDY and settings != "greedy":
        pytest.skip(f"the reference differs: {GREEDY[case.model_type]}")
    if "tokens" in case.skip:
        pytest.skip(case.skip["tokens"])
    padded, fields = EVERYWHERE[settings]
    theirs, ours = both(case, padded, fields | ({"use_cache": False} if str(case) in UNCACHED else {}))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_settings(name: str, settings: str) -> None:
    theirs, ours = both(name, *SETTINGS[settings])
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("settings", ["bad words", "suppressed", "bias", "forced end", "min length", "decay"])
def test_settings_matter(settings: str) -> None:
    """What these settings give differs from plain decoding, so that the comparison above can see them."""
    padded, fields = SETTINGS[settings]
    ends = {k: v for k, v in fields.items() if k == "eos_token_id"}
    assert both("llama", padded, fields)[1].tolist() != both("llama", padded, ends)[1].tolist()


@pytest.mark.parametrize("settings", [{}, dict(do_sample=True), BEAMS, BEAMS | dict(num_return_sequences=2)])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_records(name: str, settings: dict[str, Any]) -> None:
    theirs, ours = both(name, False, settings | RECORDS | dict(output_hidden_states=True))
    assert list(ours) == list(theirs)
    assert type(ours).__name__ == type(theirs).__name__
    for field in theirs:
        if field != "past_key_values":
            finite = lambda x: x.clamp(min=-1e9) if torch.is_tensor(x) and x.is_floating_point() else x  # noqa: E731
            a, b = (tuple(map(finite, v)) if field == "scores" else v for v in (ours[field], theirs[field]))
            assert_close(a, b, 1e-5, field)
    kept = dict(beam_indices=ours.get("beam_indices"), normalize_logits=True)
    model, reference = pair(lively(name))
    mine = model.compute_transition_scores(ours.sequences, ours.scores, **kept)
    assert_close(mine, reference.compute_transition_scores(theirs.sequences, theirs.scores, **kept), 1e-5, "scores")


def test_attentions() -> None:
    ours, theirs = pair(by_name("llama"))
    theirs.set_attn_implementation("eager")
    try:
        a, b = (
            m.generate(
                **prompts(by_name("llama")),
                max_new_tokens=3,
                output_attentions=True,
                return_dict_in_generate=True,
            )
            for m in (ours, theirs)
        )
    finally:
        theirs.set_attn_implementation("sdpa")
    assert_close(a.attentions, b.attentions, 1e-5, "attentions")


@pytest.mark.parametrize("count", [1, 4])
def test_embeddings_as_prompt(count: int) -> None:
    """Only the new tokens come back when no tokens were given."""
    ours, theirs = pair(by_name("llama"))
    ids = prompts(by_name("llama"))["input_ids"]
    kwargs = dict(max_new_tokens=6, num_beams=count)
    a = ours.generate(inputs_embeds=ours.get_input_embeddings()(ids), **kwargs)
    b = theirs.generate(inputs_embeds=theirs.get_input_embeddings()(ids), **kwargs)
    assert a.tolist() == b.tolist()
    assert a.tolist() == ours.generate(ids, **kwargs)[:, ids.shape[1] :].tolist()


EMBEDDED: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no cache": dict(use_cache=False),
    "static": dict(cache_implementation="static"),
    "sampled": dict(do_sample=True, num_return_sequences=2, top_k=0),
    "beams": BEAMS,
    "lengths": dict(max_new_tokens=None, max_length=18, min_length=15, eos_token_id=ENDS),
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("settings", EMBEDDED)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_padded_embeddings_as_prompt(name: str, settings: str, beside: bool) -> None:
    """With padding, alone or beside their tokens."""
    given = prompts(lively(name), padded=True)
    results = []
    for model in pair(lively(name)):
        torch.manual_seed(0)
        ids = given["input_ids"]
        inputs = given if beside else {"attention_mask": given["attention_mask"]}
        embeds = model.get_input_embeddings()(ids).detach()
        results.append(model.generate(inputs_embeds=embeds, **inputs, **({"max_new_tokens": 6} | EMBEDDED[settings])))
    assert results[0].tolist() == results[1].tolist()
    assert results[0].shape[1] > (12 if beside else 1)


def test_no_prompt() -> None:
    ours, theirs = pair(by_name("gpt2"))
    assert ours.generate(max_new_tokens=5).tolist() == theirs.generate(max_new_tokens=5).tolist()


def test_padding_is_inferred() -> None:
    ours, theirs = pair(by_name("llama"))
    ids = prompts(by_name("llama"))["input_ids"].clone()
    ids[0, :3] = 0
    kwargs = dict(max_new_tokens=6, pad_token_id=0, eos_token_id=2)
    assert ours.generate(ids, **kwargs).tolist() == theirs.generate(ids, **kwargs).tolist()


def test_default_length() -> None:
    ours, theirs = pair(by_name("llama"))
    ids = prompts(by_name("llama"))
    assert ours.generate(**ids).tolist() == theirs.generate(**ids).tolist()
