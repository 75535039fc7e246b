"""Stop strings and streamers, beside the reference's, on a small byte-level tokenizer."""

from __future__ import annotations

import asyncio
import copy
import functools
import threading
from dataclasses import replace
from queue import Empty
from typing import Any

import pytest
import torch

from autoload.errors import ArgumentError, GenerationError
from autoload.generation.stop_strings import StopStringCriteria
from autoload.generation.streamers import AsyncTextIteratorStreamer, BaseStreamer, TextIteratorStreamer, TextStreamer
from tests.generation.models import by_name, lively, pair

TEXT = "the quick brown fox\njumps over the lazy dog. Größe: 3 µm, 東京に行く and 🙂 more.\n\nThe end <stop> here"


@functools.cache
def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    corpus = ["the quick brown fox jumps over the lazy dog", "hello world, the end"] * 4
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=t)


def ids() -> torch.Tensor:
    return tokenizer()(TEXT, return_tensors="pt").input_ids


@pytest.mark.parametrize(
    "stops",
    [
        ["fox"],
        ["x\nj"],
        ["over the"],
        ["lazy dog"],
        ["ö"],
        ["京に"],
        ["🙂"],
        ["\n\n"],
        ["<stop>", "zzz"],
        ["azy d", "e"],
    ],
    ids=str,
)
def test_stops_where_the_reference_stops(stops: list[str]) -> None:
    from transformers.generation.stopping_criteria import StopStringCriteria as Reference

    mine, reference, whole = StopStringCriteria(tokenizer(), stops), Reference(tokenizer(), stops), ids()
    answers = [bool(mine(whole[:, :n], None)[0]) for n in range(1, whole.shape[1] + 1)]
    assert any(answers)
    assert answers == [bool(reference(whole[:, :n], None)[0]) for n in range(1, whole.shape[1] + 1)]


def test_only_at_the_newest_token() -> None:
    whole = ids()
    assert not StopStringCriteria(tokenizer(), "quick")(whole, None).any()


def test_rows_stop_alone() -> None:
    rows = torch.cat([ids()[:, :8], ids()[:, 1:9]])
    text = tokenizer().decode(rows[1])[-3:]
    assert StopStringCriteria(tokenizer(), text)(rows, None).tolist() == [False, True]


def test_in_generate() -> None:
    ours, theirs = model_pair()
    prompt = ids()[:, :6]
    plain = ours.generate(prompt, max_new_tokens=12, eos_token_id=None)[0, 8:]
    stop = next(text for text in map(tokenizer().decode, plain) if text.isascii())
    settings: dict[str, Any] = dict(max_new_tokens=12, eos_token_id=None, pad_token_id=0, tokenizer=tokenizer())
    a, b = (m.generate(prompt, stop_strings=[stop], **settings) for m in (ours, theirs))
    assert a.tolist() == b.tolist() and stop in tokenizer().decode(a[0, 5:])
    helped = ours.generate(prompt, stop_strings=stop, prompt_lookup_num_tokens=3, **settings)
    assert helped.tolist() == a.tolist()
    with pytest.raises(ArgumentError, match="tokenizer"):
        ours.generate(prompt, stop_strings=stop)


def test_no_stop_strings() -> None:
    with pytest.raises(GenerationError, match="stop_strings"):
        StopStringCriteria(tokenizer(), [])


@functools.cache
def model_pair() -> tuple[Any, Any]:
    from tests.parity.harness import Case

    case = by_name("llama")
    return pair(Case("llama", {**case.config, "vocab_size": 320, "initializer_range": 0.3}, label="text"))


# -- streamers


def pieces(streamer: Any) -> list[tuple[str, bool]]:
    """What it gives on, and when the end comes."""
    got: list[tuple[str, bool]] = []
    streamer.on_finalized_text = lambda text, stream_end=False: got.append((text, stream_end))
    for _ in range(2):  # it can be used again
        streamer.put(ids()[:, :4])
        for token in ids()[0, 4:]:
            streamer.put(token[None])
        streamer.end()
    return got


@pytest.mark.parametrize("skip_prompt", [False, True])
def test_pieces_are_the_reference_s(skip_prompt: bool) -> None:
    import transformers

    mine, reference = TextStreamer(tokenizer(), skip_prompt), transformers.TextStreamer(tokenizer(), skip_prompt)
    got = pieces(mine)
    assert got == pieces(reference)
    half = "".join(text for text, _ in got)
    assert half == (tokenizer().decode(ids()[0, 4 if skip_prompt else 0 :])) * 2


def test_printed(capsys: Any) -> None:
    ours, _ = model_pair()
    out = ours.generate(ids()[:, :6], max_new_tokens=8, streamer=TextStreamer(tokenizer(), skip_prompt=True))
    assert capsys.readouterr().out == tokenizer().decode(out[0, 6:]) + "\n"


def test_iterated_in_another_thread() -> None:
    ours, _ = model_pair()
    streamer = TextIteratorStreamer(tokenizer(), skip_prompt=True, timeout=20)
    kwargs = dict(max_new_tokens=8, streamer=streamer)
    thread = threading.Thread(target=ours.generate, args=(ids()[:, :6],), kwargs=kwargs)
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == tokenizer().decode(ours.generate(ids()[:, :6], max_new_tokens=8)[0, 6:])


def test_a_piece_that_never_comes() -> None:
    with pytest.raises(Empty):
        next(TextIteratorStreamer(tokenizer(), timeout=0.01))


def test_iterated_in_an_event_loop() -> None:
    ours, _ = model_pair()

    async def collect() -> str:
        streamer = AsyncTextIteratorStreamer(tokenizer(), skip_prompt=True, timeout=20)
        kwargs = dict(max_new_tokens=8, streamer=streamer)
        thread = threading.Thread(target=ours.generate, args=(ids()[:, :6],), kwargs=kwargs)
        thread.start()
        text = "".join([piece async for piece in streamer])
        thread.join()
        return text

    assert asyncio.run(collect()) == tokenizer().decode(ours.generate(ids()[:, :6], max_new_tokens=8)[0, 6:])


def test_one_text_only() -> None:
    with pytest.raises(ArgumentError, match="batch of 2"):
        TextStreamer(tokenizer()).put(torch.ones(2, 3, dtype=torch.int64))


def test_own_streamer_gets_every_token() -> None:
    ours, _ = model_pair()
    got: list[list[int]] = []

    class Mine(BaseStreamer):
        def put(self, value: Any) -> None:
            got.append(value.flatten().tolist())

        def end(self) -> None:
            got.append([])

    for settings in ({}, dict(prompt_lookup_num_tokens=3)):
        got.clear()
        out = ours.generate(ids()[:, :20], max_new_tokens=8, streamer=Mine(), **settings)
        assert sum(got, []) == out[0].tolist() and got[-1] == [] and got[0] == ids()[0, :20].tolist()


@functools.cache
def healers() -> tuple[Any, Any]:
    """A pair of models over the small tokenizer's vocabulary."""
    return pair(replace(lively("llama"), config={**lively("llama").config, "vocab_size": 330, "pad_token_id": 320}))


def padding_tokenizer() -> Any:
    made = copy.deepcopy(tokenizer())
    made.padding_side = "left"
    made.add_special_tokens({"pad_token": "<pad>", "bos_token": "<s>"})  # the reference fails without the latter
    return made


@pytest.mark.parametrize("text", ["the qu", "hello wo", "jumps ov", "o", "the endqu", "lazy dogj", "a\nt"])
@pytest.mark.parametrize("settings", [{}, dict(num_beams=2), dict(do_sample=True, num_return_sequences=2)], ids=str)
def test_healing(text: str, settings: dict[str, Any]) -> None:
    """The last token is chosen anew, as in the reference; a longer one that begins like it may take its place.

    Tokens that begin with a space are left out: the reference does not find them in the vocabulary.
    """
    tok, results = padding_tokenizer(), []
    ids = tok([text, "hello world the"], return_tensors="pt", padding=True)
    for model in healers():
        torch.manual_seed(0)
        results.append(model.generate(**ids, **settings, max_new_tokens=5, token_healing=True, tokenizer=tok))
    last = ids["input_ids"].shape[1] - 1  # before it the reference may put the token that begins a text
    assert results[0][:, last:].tolist() == results[1][:, last:].tolist()


def test_healing_helps() -> None:
    """The prompt's end is another one than was given, and begins as it did."""
    tok, model = padding_tokenizer(), healers()[0]
    changed = 0
    for text in ("the quick bro", "hello w", "over the l", "the en", "th"):
        ids = tok(text, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=1, token_healing=True, tokenizer=tok)
        assert out[0, : ids.shape[1] - 1].tolist() == ids[0, :-1].tolist()
        assert tok.decode(out[0, : ids.shape[1]]).startswith(text)
        changed += int(out[0, ids.shape[1] - 1] != ids[0, -1])
    assert changed


def test_healing_asks_for_a_tokenizer() -> None:
    tok, model = padding_tokenizer(), healers()[0]
    ids = tok(["the", "fox"], return_tensors="pt", padding=True)
    with pytest.raises(ArgumentError, match="token_healing needs the tokenizer"):
        model.generate(**ids, token_healing=True)
    tok.padding_side = "right"
    with pytest.raises(ArgumentError, match="padding_side='left'"):
        model.generate(**ids, token_healing=True, tokenizer=tok)
    with pytest.raises(ArgumentError, match="input_ids alone"):
        model.generate(inputs_embeds=torch.zeros(1, 3, 32), token_healing=True, tokenizer=tok)
