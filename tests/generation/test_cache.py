"""Caches: what attention is given, cropping, reordering, fixed shapes, few bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from autoload.errors import ArgumentError, GenerationError
from autoload.generation.watermarks import CompileConfig
from autoload.layers.cache import DynamicCache, EncoderDecoderCache, QuantizedCache, StaticCache
from autoload.layers.cache_layers import (
    BLOCK,
    CacheLayer,
    SlidingCacheLayer,
    StateLayer,
    StaticCacheLayer,
    StaticSlidingCacheLayer,
)
from tests.generation.models import by_name, lively, pair, prompts

KINDS = ["llama", "gpt2", "mistral", "gemma2", "qwen2"]  # full, learned positions, windows, both in turn


def entries(start: int, count: int, batch: int = 2) -> Tensor:
    """Keys that say which token they belong to; (batch, 1, count, 1)."""
    return torch.arange(start, start + count, dtype=torch.float32).expand(batch, 1, count)[..., None].clone()


def feed(layer: Any, start: int, count: int) -> list[int]:
    """Append tokens; the tokens that attention is given."""
    sizes, begin = layer.get_mask_sizes(count)
    keys, values = layer.update(entries(start, count), -entries(start, count))
    assert torch.equal(keys, -values) or isinstance(layer, StaticCacheLayer)
    assert keys.shape[2] == sizes, "the mask has another size than the keys"
    given = [int(x) for x in keys[0, 0, :, 0]]
    assert given[-1] == start + count - 1 or isinstance(layer, StaticCacheLayer)
    if not isinstance(layer, StaticCacheLayer):
        assert given[0] == begin
    return given


def test_growing() -> None:
    layer = CacheLayer()
    assert feed(layer, 0, 3) == [0, 1, 2]
    for i in range(3, 2 * BLOCK + 9):
        assert feed(layer, i, 1) == list(range(i + 1))
    layer.crop(-5)
    assert layer.get_seq_length() == 2 * BLOCK + 4
    layer.crop(10)
    assert feed(layer, 10, 2) == list(range(12))
    layer.crop(0)
    assert layer.get_seq_length() == 12
    layer.reset()
    assert layer.get_seq_length() == 0 and layer.keys is None


def test_nothing_moves_within_a_block() -> None:
    layer = CacheLayer()
    feed(layer, 0, 3)
    feed(layer, 3, 1)
    where = layer.keys.data_ptr()  # type: ignore[union-attr]
    for i in range(4, BLOCK - 1):
        feed(layer, i, 1)
    assert layer.keys.data_ptr() == where  # type: ignore[union-attr]


@pytest.mark.parametrize("first", [1, 3, 9])
def test_sliding(first: int) -> None:
    layer = SlidingCacheLayer(5)
    seen = first
    assert feed(layer, 0, first) == list(range(first))
    for count in (1, 1, 1, 7, 1, 2, 1, 1, *[1] * (2 * BLOCK)):
        given = feed(layer, seen, count)
        expected = list(range(max(0, seen - 4), seen + count))
        assert given == expected
        seen += count
    assert layer.get_seq_length() == seen and layer.keys.shape[2] == 4  # type: ignore[union-attr]
    assert layer._keys.shape[2] <= 5 + 3 * BLOCK  # type: ignore[union-attr]


def test_sliding_takes_tokens_back() -> None:
    layer = SlidingCacheLayer(5)
    feed(layer, 0, 3 * BLOCK)
    feed(layer, 3 * BLOCK, 1)
    layer.crop(-BLOCK)
    n = 2 * BLOCK + 1
    assert layer.get_seq_length() == n and feed(layer, n, 1) == list(range(n - 4, n + 1))
    with pytest.raises(GenerationError, match="make a new cache"):
        layer.crop(-BLOCK)


def test_static() -> None:
    layer = StaticCacheLayer(6)
    feed(layer, 0, 2)
    where = layer.keys.data_ptr()  # type: ignore[union-attr]
    feed(layer, 2, 1)
    layer.map_batch(lambda x: x.index_select(0, torch.tensor([1, 0])))
    assert layer.keys[0, 0, :3, 0].tolist() == [0, 1, 2] and layer.keys.data_ptr() == where  # type: ignore[index, union-attr]
    layer.crop(-1)
    assert int(layer.get_seq_length()) == 2 and layer.get_mask_sizes(1) == (6, 0)
    layer.reset()
    assert int(layer.get_seq_length()) == 0 and layer.keys.data_ptr() == where  # type: ignore[union-attr]


def test_static_window() -> None:
    layer = StaticSlidingCacheLayer(4)
    assert feed(layer, 1, 2) == [1, 2]
    where = layer.keys.data_ptr()  # type: ignore[union-attr]
    assert layer.get_mask_sizes(1)[1] == -1  # one entry lies before the first token
    assert feed(layer, 3, 1) == [0, 1, 2, 3]
    assert feed(layer, 4, 1) == [1, 2, 3, 4]
    assert feed(layer, 5, 3) == [1, 2, 3, 4, 5, 6, 7]
    assert feed(layer, 8, 1) == [5, 6, 7, 8] and layer.keys.data_ptr() == where  # type: ignore[union-attr]
    with pytest.raises(GenerationError, match="last 4"):
        layer.crop(-1)


def test_states() -> None:
    class Config:
        layer_types = ["mamba", "full_attention"]
        sliding_window = None
        num_hidden_layers = 2

        def get_text_config(self, decoder: bool = False) -> Any:
            return self

    cache = DynamicCache(config=Config())
    with torch.no_grad():
        first = cache.keep_state(0, "conv", torch.arange(4.0).view(2, 2))
        again = cache.keep_state(0, "conv", torch.ones(2, 2))
    assert first is again and torch.equal(again, torch.ones(2, 2)), "a state moved"
    cache.update(entries(0, 3), entries(0, 3), 1)
    assert isinstance(cache.layers[0], StateLayer)
    assert cache.get_seq_length() == 3 and cache.get_mask_sizes(1) == (4, 0)  # of the layer that counts
    cache.keep_state(1, "recurrent", torch.arange(2.0)[:, None])  # a layer may have both
    cache.reorder_cache(torch.tensor([1, 1]))
    assert cache.state(1, "recurrent").flatten().tolist() == [1, 1]  # type: ignore[union-attr]
    assert not cache.is_croppable
    with pytest.raises(GenerationError, match="state"):
        cache.crop(-1)
    cache.reset()
    assert cache.state(0, "conv") is None and cache.get_seq_length() == 0


@pytest.mark.parametrize("settings", [{}, dict(num_beams=3)], ids=["greedy", "beams"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["static", "offloaded", "offloaded_static"])
@pytest.mark.parametrize("name", KINDS)
def test_kinds_give_the_same_tokens(name: str, kind: str, padded: bool, settings: dict[str, Any]) -> None:
    model, _ = pair(lively(name))
    given = prompts(lively(name), padded) | dict(max_new_tokens=9) | settings
    assert model.generate(**given, cache_implementation=kind).tolist() == model.generate(**given).tolist()


@pytest.mark.parametrize("name", KINDS)
def test_a_static_cache_begins_with_one_token(name: str) -> None:
    """Room that is not filled yet is hidden from the very first token on."""
    model, _ = pair(lively(name))
    one = prompts(lively(name))["input_ids"][:, :1]
    given = dict(max_new_tokens=9, eos_token_id=None)
    assert model.generate(one, **given, cache_implementation="static").tolist() == model.generate(one, **given).tolist()


@pytest.mark.parametrize("padded", [False, True])
def test_compiled_step(padded: bool) -> None:
    """The step is traced as one graph, and traced once although the text grows."""
    model, _ = pair(lively("gemma2"))
    traces = []

    def backend(graph: Any, inputs: Any) -> Any:
        traces.append(graph)
        return graph.forward

    config = CompileConfig(fullgraph=True, backend=backend, mode=None, _compile_all_devices=True)
    given = prompts(lively("gemma2"), padded) | dict(max_new_tokens=9)
    out = model.generate(**given, cache_implementation="static", compile_config=config)
    torch._dynamo.reset()
    assert out.tolist() == model.generate(**given).tolist()
    assert len(traces) == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_conversation_goes_on(name: str) -> None:
    """A second call with the cache of the first, with the whole text or only what is new."""
    model, _ = pair(lively(name))
    ids = prompts(lively(name))["input_ids"]
    first = model.generate(ids, max_new_tokens=6, return_dict_in_generate=True, eos_token_id=None)
    more = torch.cat([first.sequences, ids[:, :3]], 1)
    mask = torch.ones_like(more)  # or a pad token that was generated would be taken for padding
    plain = model.generate(more, attention_mask=mask, max_new_tokens=6, eos_token_id=None)
    kept = copy.deepcopy(first.past_key_values)
    cache = first.past_key_values
    whole = model.generate(more, attention_mask=mask, max_new_tokens=6, past_key_values=cache, eos_token_id=None)
    assert whole.tolist() == plain.tolist()
    past = kept.get_seq_length()
    new = model.generate(more[:, past:], attention_mask=mask, max_new_tokens=6, past_key_values=kept, eos_token_id=None)
    assert new[:, more.shape[1] - past :].tolist() == plain[:, more.shape[1] :].tolist()
    with pytest.raises(ArgumentError, match="holds"):
        model.generate(more, max_new_tokens=6, past_key_values=kept)


@pytest.mark.parametrize("kind", [None, "offloaded"])
@pytest.mark.parametrize("name", KINDS)
def test_a_conversation_is_taken_back(name: str, kind: str | None) -> None:
    """A cache cut behind the prompt goes on with another text, as one that never saw the first."""
    model, _ = pair(lively(name))
    ids = prompts(lively(name))["input_ids"]
    given = dict(max_new_tokens=6, eos_token_id=None)
    first = model.generate(ids, **given, cache_implementation=kind, return_dict_in_generate=True)
    cache = first.past_key_values
    for other in (ids.flip(1)[:, :5], ids[:, 2:3]):
        cache.crop(ids.shape[1])
        assert cache.get_seq_length() == ids.shape[1]
        text = torch.cat([ids, other], 1)
        mask = torch.ones_like(text)
        found = model.generate(text, **given, attention_mask=mask, past_key_values=cache)
        assert found.tolist() == model.generate(text, **given, attention_mask=mask).tolist()


def test_a_cache_of_another_library() -> None:
    import transformers

    model, reference = pair(by_name("llama"))
    ids = prompts(by_name("llama"))["input_ids"]
    with torch.no_grad():
        prefix = reference(ids[:, :4], use_cache=True).past_key_values
    pairs = [(layer.keys, layer.values) for layer in prefix.layers]
    for settings in ({}, dict(num_beams=3)):
        foreign = transformers.DynamicCache(pairs)
        if settings:
            foreign.batch_repeat_interleave(3)
        out = model.generate(ids, max_new_tokens=6, past_key_values=foreign, **settings)
        assert out.tolist() == model.generate(ids, max_new_tokens=6, **settings).tolist()


def test_eight_bits() -> None:
    model, _ = pair(by_name("llama"))
    given = prompts(by_name("llama"), padded=True)
    options = dict(cache_implementation="quantized", cache_config=dict(backend="fp8"))
    exact, rough = (
        model.generate(**given, max_new_tokens=6, num_beams=2, output_logits=True, return_dict_in_generate=True, **o)
        for o in ({}, options)
    )
    error = (exact.logits[1] - rough.logits[1]).abs().max() / exact.logits[1].abs().max()
    assert 0 < error < 0.05
    assert isinstance(rough.past_key_values, QuantizedCache)
    layer = rough.past_key_values.layers[0]
    assert layer.packed[0][0].dtype == torch.float8_e4m3fn
    length = layer.get_seq_length()
    layer.crop(-3)
    assert layer.get_seq_length() == length - 3 == layer.keys.shape[2]


def test_four_bits() -> None:
    pytest.importorskip("optimum.quanto")
    model, _ = pair(by_name("llama"))
    given = prompts(by_name("llama"))
    config = dict(backend="quanto", nbits=4, q_group_size=8, residual_length=4)
    exact = model.generate(**given, max_new_tokens=9, output_logits=True, return_dict_in_generate=True)
    rough = model.generate(
        **given,
        max_new_tokens=9,
        cache_implementation="quantized",
        cache_config=config,
        output_logits=True,
        return_dict_in_generate=True,
    )
    error = (exact.logits[1] - rough.logits[1]).abs().max() / exact.logits[1].abs().max()
    assert 0 < error < 0.3


@pytest.mark.parametrize(
    "config,match", [(dict(backend="foo"), "fp8"), (dict(backend="quanto", nbits=3), "2 or 4 bits")]
)
def test_unknown_quantization(config: dict[str, Any], match: str) -> None:
    model, _ = pair(by_name("llama"))
    with pytest.raises(ArgumentError, match=match):
        model.generate(**prompts(by_name("llama")), cache_implementation="quantized", cache_config=config)


def test_few_bits_and_windows() -> None:
    model, _ = pair(by_name("mistral"))
    options = dict(cache_implementation="quantized", cache_config=dict(backend="fp8"))
    with pytest.raises(ArgumentError, match="without windows"):
        model.generate(**prompts(by_name("mistral")), **options)


def test_two_wishes() -> None:
    model, _ = pair(by_name("llama"))
    cache = StaticCache(model.config, 40)
    with pytest.raises(ArgumentError, match="not both"):
        model.generate(**prompts(by_name("llama")), past_key_values=cache, cache_implementation="static")


def test_copies() -> None:
    cache = EncoderDecoderCache(DynamicCache([(entries(0, 3), entries(0, 3))]), DynamicCache())
    for again in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        again.update(entries(3, 1), entries(3, 1), 0)
        assert (again.get_seq_length(), cache.get_seq_length()) == (4, 3)
    offloaded = DynamicCache([(entries(0, 3), entries(0, 3))], offloading=True)
    assert pickle.loads(pickle.dumps(offloaded)).get_seq_length() == copy.deepcopy(offloaded).get_seq_length() == 3
