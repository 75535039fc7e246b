"""The call itself: its keywords, its errors, what it lets others replace; drafts; models with an encoder."""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import autoload
from autoload.errors import ArgumentError, GenerationError, RemoteCodeRefused
from autoload.generation.configuration import GenerationConfig
from autoload.generation.processors import LogitsProcessor, MinLengthLogitsProcessor
from autoload.generation.stopping import MaxLengthCriteria, StoppingCriteria
from autoload.model import PreTrainedModel
from autoload.outputs import ModelOutput
from tests.generation.models import by_name, lively, pair, prompts
from tests.parity.harness import assert_close

LLAMA = lively("llama")


@pytest.fixture
def model() -> Any:
    return pair(LLAMA)[0]


@pytest.fixture
def ids() -> Tensor:
    return prompts(LLAMA)["input_ids"]


# -- keywords


@pytest.mark.parametrize(
    "name,near", [("max_new_token", "max_new_tokens"), ("atention_mask", "attention_mask"), ("xyz", "")]
)
def test_an_unknown_keyword(model: Any, ids: Tensor, name: str, near: str) -> None:
    with pytest.raises(ArgumentError, match=f"unknown argument '{name}'") as e:
        model.generate(ids, **{name: torch.ones(3)})
    assert isinstance(e.value, TypeError) and near in str(e.value)


@pytest.mark.parametrize(
    "bad",
    [[[1, 2]], torch.tensor([1, 2]), torch.zeros(1, 3), torch.zeros(2, 0, dtype=torch.int64)],
    ids=["list", "one axis", "floats", "empty"],
)
def test_a_prompt_that_is_none(model: Any, bad: Any) -> None:
    with pytest.raises(ArgumentError, match="input_ids"):
        model.generate(bad, max_new_tokens=2)


def test_inputs_twice(model: Any, ids: Tensor) -> None:
    with pytest.raises(ArgumentError, match="not both"):
        model.generate(ids, input_ids=ids)


def test_a_mask_of_another_shape(model: Any, ids: Tensor) -> None:
    with pytest.raises(ArgumentError, match="attention_mask has the shape"):
        model.generate(ids, attention_mask=torch.ones(1, 3, 4, 4))


def test_no_room(model: Any, ids: Tensor) -> None:
    with pytest.raises(GenerationError, match="max_length is 12, expected more than the prompt's 12"):
        model.generate(ids, max_length=12)


def test_attributes_are_checked_too(ids: Tensor) -> None:
    model = copy.deepcopy(pair(LLAMA)[0])
    model.generation_config.temperature = "hot"
    with pytest.raises(GenerationError, match="temperature is 'hot'"):
        model.generate(ids, max_new_tokens=2)


@pytest.mark.parametrize("settings", [dict(top_k="x"), dict(num_beams=0), dict(do_sample=True, temperature=0.0)])
def test_settings_are_checked(model: Any, ids: Tensor, settings: dict[str, Any]) -> None:
    with pytest.raises(GenerationError, match="^generate: "):
        model.generate(ids, **settings)


def test_what_is_refused(model: Any, ids: Tensor) -> None:
    with pytest.raises(RemoteCodeRefused):
        model.generate(ids, custom_generate="someone/else")
    with pytest.raises(ArgumentError, match="synced_gpus"):
        model.generate(ids, synced_gpus=True)
    with pytest.raises(ArgumentError, match="generation_config is dict"):
        model.generate(ids, generation_config={"top_k": 3})
    with pytest.raises(ArgumentError, match="streamer"):
        model.generate(ids, num_beams=2, streamer=SimpleNamespace(put=print, end=print))


def test_the_caller_s_objects_stay(model: Any, ids: Tensor) -> None:
    config = GenerationConfig(max_new_tokens=3, eos_token_id=[2, 3])
    before, own = config.to_dict(), model.generation_config.to_dict()
    model.generate(ids, generation_config=config, num_beams=2)
    assert config.to_dict() == before and model.generation_config.to_dict() == own


def test_no_gradients_and_no_random_numbers(model: Any, ids: Tensor) -> None:
    state = torch.get_rng_state()
    out = model.generate(ids, max_new_tokens=3, return_dict_in_generate=True, output_logits=True)
    assert torch.equal(state, torch.get_rng_state()) and not out.logits[0].requires_grad


# -- what others replace


def test_every_pass_is_prepared_by_the_instance(ids: Tensor) -> None:
    """As adapters do: the first pass gets no cache, later ones the one that the first gave."""
    model = copy.deepcopy(pair(LLAMA)[0])
    original, seen = model.prepare_inputs_for_generation, []

    def prepare(*args: Any, **kwargs: Any) -> dict[str, Any]:
        out = original(*args, **kwargs)
        seen.append((out.get("past_key_values") is None, out["input_ids"].shape[1], kwargs["is_first_iteration"]))
        if len(seen) == 1:  # a soft prompt
            embeds = model.get_input_embeddings()(out.pop("input_ids"))
            out["inputs_embeds"] = torch.cat([embeds[:, :2] * 0.5, embeds], 1)
            out["position_ids"] = None
        return out

    model.prepare_inputs_for_generation = prepare
    out = model.generate(ids, max_new_tokens=4, eos_token_id=None, return_dict_in_generate=True)
    assert seen == [(True, 12, True), (False, 1, False), (False, 1, False), (False, 1, False)]
    assert out.past_key_values.get_seq_length() == 12 + 2 + 3


def test_own_processors_and_criteria(model: Any, ids: Tensor) -> None:
    class Only(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            scores[:] = -1.0  # in place, which is the caller's right
            scores[:, 40 + input_ids.shape[1]] = 0.0
            return scores

    class Stop(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
            return input_ids[:, -1] >= 55

    out = model.generate(ids, max_new_tokens=9, logits_processor=[Only()], stopping_criteria=[Stop()])
    assert out[:, 12:].tolist() == [[52, 53, 54, 55]] * 3


def test_an_own_one_takes_the_place_of_ours(model: Any, ids: Tensor) -> None:
    kwargs = dict(max_new_tokens=6, min_length=14, eos_token_id=list(range(1, 99)))
    assert model.generate(ids, **kwargs)[:, 12:14].tolist() == [[0, 0]] * 3  # the only token that is no end
    own = [MinLengthLogitsProcessor(0, [1])]
    assert model.generate(ids, logits_processor=own, **kwargs).shape[1] == 13
    assert model.generate(ids, max_new_tokens=6, stopping_criteria=[MaxLengthCriteria(14)]).shape[1] == 14


def test_time_is_limited(ids: Tensor) -> None:
    model = copy.deepcopy(pair(LLAMA)[0])
    forward = model.forward

    @functools.wraps(forward)
    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.02)
        return forward(*args, **kwargs)

    model.forward = slow
    assert model.generate(ids, max_new_tokens=40, max_time=0.1, eos_token_id=None).shape[1] < 12 + 12


def test_own_loop(model: Any, ids: Tensor) -> None:
    def loop(model: Any, input_ids: Tensor, generation_config: Any, **kwargs: Any) -> tuple[Any, ...]:
        return input_ids.shape, generation_config.max_length, sorted(kwargs)

    shape, length, names = model.generate(ids, max_new_tokens=5, custom_generate=loop)
    assert shape == (3, 12) and length == 17
    assert {"logits_processor", "stopping_criteria", "position_ids", "use_cache"} <= set(names)


# -- drafts


def draft(name: str) -> Any:
    """A model that often says the same, and often not."""
    model = copy.deepcopy(pair(lively(name))[0])
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.02)
    return model


@pytest.mark.parametrize("how", ["draft", "lookup"])
@pytest.mark.parametrize("settings", [{}, dict(repetition_penalty=1.3, no_repeat_ngram_size=3), dict(eos_token_id=19)])
@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma2"])
def test_a_draft_changes_nothing(name: str, settings: dict[str, Any], how: str) -> None:
    model, case = pair(lively(name))[0], lively(name)
    one = torch.cat([prompts(case)["input_ids"][:1]] * 2, 1)  # what was said can be looked up
    helps = dict(assistant_model=draft(name)) if how == "draft" else dict(prompt_lookup_num_tokens=4)
    passes = []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    plain = model.generate(one, max_new_tokens=24, **settings)
    count = len(passes)
    helped = model.generate(one, max_new_tokens=24, **settings, **helps)
    hook.remove()
    assert helped.tolist() == plain.tolist()
    assert len(passes) - count <= count


def test_a_draft_saves_passes(model: Any, ids: Tensor) -> None:
    helper, passes = draft("llama"), []
    hook = model.register_forward_hook(lambda *_: passes.append(1))
    model.generate(ids[:1], max_new_tokens=24, assistant_model=helper, eos_token_id=None)
    hook.remove()
    assert len(passes) < 20


@pytest.mark.parametrize("settings", [{}, dict(repetition_penalty=1.3), dict(eos_token_id=19)], ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma2", "bloom", "mixtral"])
def test_the_first_layers_are_a_draft(name: str, settings: dict[str, Any]) -> None:
    """They run before the whole does, and change nothing: neither what is said nor the model."""
    model, ids = pair(lively(name))[0], prompts(lively(name))["input_ids"][:1]
    base, passes = model.base_model, []
    layers = next(part for part in base.children() if isinstance(part, torch.nn.ModuleList))
    plain = model.generate(ids, max_new_tokens=12, **settings)
    hooks = [layer.register_forward_hook(lambda *_, i=i: passes.append(i)) for i, layer in enumerate(layers)]
    helped = model.generate(ids, max_new_tokens=12, **settings, assistant_early_exit=1)
    for hook in hooks:
        hook.remove()
    assert helped.tolist() == plain.tolist()
    assert passes.count(0) > passes.count(1) == passes.count(len(layers) - 1) > 0
    assert model.base_model is base and len(layers) == model.config.num_hidden_layers


def test_what_has_no_first_layers(model: Any, ids: Tensor) -> None:
    with pytest.raises(GenerationError, match="fewer than the model's 4 layers"):
        model.generate(ids[:1], assistant_early_exit=4)
    with pytest.raises(GenerationError, match="assistant_early_exit is 0"):
        model.generate(ids[:1], assistant_early_exit=0)
    with pytest.raises(ArgumentError, match="batch of 3"):
        model.generate(ids, assistant_early_exit=1)
    with pytest.raises(ArgumentError, match="not one stack"):
        joined()[0].generate(ids[:1], assistant_early_exit=1)


def test_records_with_a_draft(model: Any, ids: Tensor) -> None:
    wanted = dict(output_scores=True, output_logits=True, output_hidden_states=True, output_attentions=True)
    settings = dict(max_new_tokens=12, return_dict_in_generate=True, eos_token_id=None) | wanted
    plain = model.generate(ids[:1], **settings)
    helped = model.generate(ids[:1], **settings, assistant_model=draft("llama"))
    assert list(plain) == list(helped)
    for name in plain:
        if name != "past_key_values":
            assert_close(helped[name], plain[name], 1e-4, name)
    assert helped.past_key_values.get_seq_length() == plain.past_key_values.get_seq_length()


def test_sampling_with_a_draft_keeps_the_distribution() -> None:
    """The second of two tokens: its distribution given the first, with and without a draft."""
    case = by_name("llama")
    model, other = pair(case)[0], copy.deepcopy(pair(case)[0])
    with torch.no_grad():
        other.lm_head.weight.mul_(0.5)  # the draft is unsure
    one = prompts(case)["input_ids"][:1]
    sharp = dict(top_k=4, temperature=3.0, eos_token_id=None, do_sample=True, max_new_tokens=3)
    torch.manual_seed(0)
    rows = model.generate(one, num_return_sequences=600, **sharp)[:, 12:]
    helped = torch.cat([model.generate(one, assistant_model=other, **sharp)[:, 12:] for _ in range(300)])
    for place in (0, 1):
        p, q = (torch.bincount(x[:, place], minlength=99) / len(x) for x in (rows, helped))
        assert (p - q).abs().sum() / 2 < 0.12, "total variation"


def test_what_a_draft_cannot(model: Any, ids: Tensor) -> None:
    with pytest.raises(ArgumentError, match="batch of 3"):
        model.generate(ids, assistant_model=draft("llama"))
    with pytest.raises(GenerationError, match="use_cache"):
        model.generate(ids[:1], prompt_lookup_num_tokens=2, use_cache=False)
    with pytest.raises(GenerationError, match="cropped"):
        model.generate(ids[:1], prompt_lookup_num_tokens=2, cache_implementation="static")
    with pytest.raises(GenerationError, match="num_beams"):
        model.generate(ids[:1], prompt_lookup_num_tokens=2, num_beams=2)
    small = autoload.AutoModelForCausalLM.from_config(
        autoload.AutoConfig.for_model("llama", **by_name("llama").config | {"vocab_size": 50})
    )
    with pytest.raises(ArgumentError, match="vocabulary of 50, expected 99"):
        model.generate(ids[:1], assistant_model=small)


# -- an encoder


@dataclass
class Written(ModelOutput):
    logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None


class Joined(PreTrainedModel):
    """BERT reads, GPT-2 writes."""

    def __init__(self, encoder: Any, decoder: Any):
        config = copy.deepcopy(decoder.config)
        config.is_encoder_decoder = True
        config.decoder_start_token_id = 5
        super().__init__(config)
        self.encoder, self.decoder = encoder, decoder

    def can_generate(self) -> bool:
        return True

    def get_encoder(self) -> Any:
        return self.encoder

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
        output_attentions: Any = None,
        output_hidden_states: Any = None,
        return_dict: Any = None,
    ) -> Any:
        out = self.decoder(
            decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoder_outputs[0],
            encoder_attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        return Written(
            logits=out.logits,
            past_key_values=out.past_key_values,
            decoder_hidden_states=out.hidden_states,
            decoder_attentions=out.attentions,
            cross_attentions=out.cross_attentions,
        )


@functools.cache
def joined() -> tuple[Any, Any]:
    """Ours and the reference's, with the same weights."""
    import transformers

    sizes = by_name("gpt2").config | {"initializer_range": 0.3}
    torch.manual_seed(3)
    encoder = transformers.BertModel(transformers.BertConfig(**by_name("bert").config, initializer_range=0.3))
    decoder = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, add_cross_attention=True))
    theirs = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    theirs.generation_config.update(decoder_start_token_id=5, pad_token_id=0, eos_token_id=2, bos_token_id=1)
    mine = [
        autoload.AutoModel.from_config(autoload.AutoConfig.for_model("bert", **by_name("bert").config)),
        autoload.AutoModelForCausalLM.from_config(
            autoload.AutoConfig.for_model("gpt2", **sizes, add_cross_attention=True)
        ),
    ]
    for own, other in zip(mine, (encoder, decoder), strict=True):
        own.load_state_dict(other.state_dict())
    ours = Joined(*mine).eval()
    ours.generation_config.update(decoder_start_token_id=5, pad_token_id=0, eos_token_id=2, bos_token_id=1)
    return ours, theirs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(num_beams=3, num_return_sequences=2),
        dict(num_beams=2, use_cache=False),
        dict(do_sample=True, num_return_sequences=2),
        dict(encoder_no_repeat_ngram_size=1, encoder_repetition_penalty=1.5),
        dict(forced_bos_token_id=9, begin_suppress_tokens=[40, 50]),
        dict(decoder_input_ids=torch.tensor([[7, 8], [9, 10], [11, 12]])),
        dict(decoder_start_token_id=[3, 4, 6]),
    ],
    ids=str,
)
@pytest.mark.parametrize("padded", [False, True])
def test_with_an_encoder(settings: dict[str, Any], padded: bool) -> None:
    ours, theirs = joined()
    ids = prompts(by_name("bert"))["input_ids"]
    mask = torch.ones_like(ids)
    if padded:
        mask[0, 7:] = 0
        mask[2, 10:] = 0
    outs = []
    for model in (theirs, ours):
        torch.manual_seed(0)
        outs.append(model.generate(ids, attention_mask=mask, max_new_tokens=8, **settings))
    assert outs[1].tolist() == outs[0].tolist()


def test_records_with_an_encoder() -> None:
    ours, theirs = joined()
    ids = prompts(by_name("bert"))["input_ids"]
    wanted = dict(return_dict_in_generate=True, output_scores=True, output_logits=True, output_hidden_states=True)
    for beams in (1, 2):
        a, b = (m.generate(ids, max_new_tokens=4, num_beams=beams, **wanted) for m in (ours, theirs))
        assert type(a).__name__ == type(b).__name__ and list(a) == list(b)
        for name in a:
            if name != "past_key_values":
                assert_close(a[name], b[name], 1e-5, name)


@pytest.mark.parametrize("kind", ["static", "offloaded"])
def test_caches_with_an_encoder(kind: str) -> None:
    ours, _ = joined()
    given = dict(inputs=prompts(by_name("bert"))["input_ids"], max_new_tokens=8, num_beams=2)
    assert ours.generate(**given, cache_implementation=kind).tolist() == ours.generate(**given).tolist()


@pytest.mark.parametrize("how", ["draft", "lookup"])
def test_drafts_with_an_encoder(how: str) -> None:
    ours, _ = joined()
    helper = copy.deepcopy(ours)
    with torch.no_grad():
        helper.decoder.lm_head.weight.mul_(torch.linspace(0.8, 1.2, 99)[:, None])
    helps = dict(assistant_model=helper) if how == "draft" else dict(prompt_lookup_num_tokens=3)
    for row in prompts(by_name("bert"))["input_ids"].split(1):
        plain = ours.generate(row, max_new_tokens=16)
        assert ours.generate(row, max_new_tokens=16, **helps).tolist() == plain.tolist()


@pytest.mark.parametrize("settings", [{}, dict(num_beams=2), dict(use_cache=False)], ids=str)
def test_token_types_and_positions(settings: dict[str, Any]) -> None:
    ours, theirs = pair(lively("gpt2"))
    ids = prompts(lively("gpt2"))["input_ids"]
    given = dict(token_type_ids=ids % 7, position_ids=torch.arange(3, 15)[None].expand(3, -1), max_new_tokens=6)
    assert ours.generate(ids, **given, **settings).tolist() == theirs.generate(ids, **given, **settings).tolist()


def test_an_encoder_runs_once() -> None:
    ours, _ = joined()
    passes = []
    hook = ours.encoder.register_forward_hook(lambda *_: passes.append(1))
    ids = prompts(by_name("bert"))["input_ids"]
    plain = ours.generate(ids, max_new_tokens=5, num_beams=2)
    states = ours.encoder(ids)
    given = [ours.generate(encoder_outputs=x, max_new_tokens=5, num_beams=2) for x in (states, states.to_tuple())]
    hook.remove()
    assert len(passes) == 2 and given[0].tolist() == given[1].tolist() == plain.tolist()
