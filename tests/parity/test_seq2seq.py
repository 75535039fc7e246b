"""What only encoder-decoders do, against the reference: targets from labels, cached steps, generation."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from autoload.errors import ArgumentError, ConfigError
from autoload.outputs import BaseModelOutput
from autoload.weights import Weights
from tests.parity.cases import all_cases
from tests.parity.harness import (
    Case,
    assert_close,
    encodes,
    inputs_for,
    load_ours,
    reference_class,
    reference_model,
)

CASES = [case for case in all_cases() if "Seq2SeqLM" in registry.tasks_of(case.model_type) and encodes(case)]
CASES = [case for case in CASES if not case.tasks or "Seq2SeqLM" in case.tasks]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kept: dict[str, Any] = {}

    def get(case: Case) -> tuple[Any, Any]:
        if str(case) not in kept:
            kept.clear()
            kept[str(case)] = load_ours(case, "Seq2SeqLM", tmp_path_factory.mktemp("checkpoint"))
        return kept[str(case)], reference_model(case, "Seq2SeqLM")

    return get


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Both models with larger weights: what such a one writes depends on what it reads. In fp64, where no beams tie."""
    kept: dict[str, Any] = {}

    def get(case: Case) -> tuple[Any, Any]:
        if str(case) not in kept:
            kept.clear()
            theirs, directory = copy.deepcopy(reference_model(case, "Seq2SeqLM")), tmp_path_factory.mktemp("loud")
            with torch.no_grad():
                for name, p in theirs.named_parameters():
                    if p.dim() == 2 and not any(part in name for part in ("embed", "shared", "projection")):
                        p.mul_(16 if "encoder_attn" in name or "crossattention" in name else 4)
            theirs.save_pretrained(directory)
            ours = autoload.AutoModelForSeq2SeqLM.from_pretrained(directory)
            kept[str(case)] = (ours, theirs) if "double" in case.skip else (ours.double(), theirs.double())
        return kept[str(case)]

    return get


def ragged(case: Case, model: Any) -> dict[str, torch.Tensor]:
    """Source texts of several lengths."""
    inputs = inputs_for(case, "CausalLM")
    ids = inputs.pop("input_ids")
    mask = torch.ones_like(ids)
    mask[0, -4:] = 0
    mask[2, -1:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, model.config.pad_token_id), "attention_mask": mask, **inputs}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_labels_make_the_target(case: Case, loaded: Any) -> None:
    if "target from labels" in case.skip:
        pytest.skip(case.skip["target from labels"])
    ours, theirs = loaded(case)
    labels = inputs_for(case, "CausalLM", seq=7)["input_ids"]
    labels[0, -3:] = -100
    source = ragged(case, theirs)
    with torch.no_grad():
        expected, found = theirs(**source, labels=labels), ours(**source, labels=labels)
    assert_close(found.loss, expected.loss, case.tolerance, "loss")
    assert_close(found.logits, expected.logits, case.tolerance, "logits")
    if hasattr(theirs, "prepare_decoder_input_ids_from_labels"):
        shifted = theirs.prepare_decoder_input_ids_from_labels(labels.clone())
        assert torch.equal(ours.prepare_decoder_input_ids_from_labels(labels), shifted)
    counted = dict(labels=labels, num_items_in_batch=torch.tensor(5))  # which these heads do not divide by
    with torch.no_grad():
        assert_close(ours(**source, **counted).loss, theirs(**source, **counted).loss, case.tolerance, "loss")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoder_runs_once(case: Case, loaded: Any) -> None:
    """What the encoder gave, as an output, a tuple or the reference's output, takes the place of the source."""
    ours, theirs = loaded(case)
    source, target = ragged(case, ours), inputs_for(case, "CausalLM", seq=5)["input_ids"]
    mask = source["attention_mask"]
    with torch.no_grad():
        full = ours(**source, decoder_input_ids=target).logits
        states = ours.get_encoder()(**source)
        for given in (states, states.to_tuple(), BaseModelOutput(states[0]), theirs.get_encoder()(**source)):
            out = ours(encoder_outputs=given, attention_mask=mask, decoder_input_ids=target)
            assert_close(out.logits, full, 2e-5, type(given).__name__)
        as_tuple = ours(**source, decoder_input_ids=target, return_dict=False)
    assert isinstance(as_tuple, tuple) and torch.equal(as_tuple[0], full)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_given_embeddings(case: Case, loaded: Any) -> None:
    """Vectors in place of tokens, on both sides."""
    if "embeddings" in case.skip:
        pytest.skip(case.skip["embeddings"])
    ours, theirs = loaded(case)
    generator = torch.Generator().manual_seed(7)
    source, target = (side().get_input_embeddings().embedding_dim for side in (ours.get_encoder, ours.get_decoder))
    given = dict(
        inputs_embeds=torch.randn(2, 12, source, generator=generator),
        decoder_inputs_embeds=torch.randn(2, 4, target, generator=generator),
        attention_mask=torch.tensor([[1] * 12, [1] * 10 + [0] * 2]),
    )
    with torch.no_grad():
        assert_close(ours(**given).logits, theirs(**given).logits, case.tolerance, "logits")
    ids = inputs_for(case, "CausalLM")["input_ids"]
    table, other = ours.get_input_embeddings(), theirs.get_input_embeddings()
    assert_close(table(ids), other(ids), case.tolerance, "table")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cached_steps(case: Case, loaded: Any) -> None:
    """A first pass and single steps give the scores of the full pass; the encoder's keys and values are made once."""
    if "cache" in case.skip:
        pytest.skip(case.skip["cache"])
    ours, theirs = loaded(case)
    source, target = ragged(case, ours), inputs_for(case, "CausalLM", seq=8)["input_ids"]
    with torch.no_grad():
        expected = theirs(**source, decoder_input_ids=target).logits
        full = ours(**source, decoder_input_ids=target, use_cache=False).logits
        states, cache, steps, before = ours.get_encoder()(**source), None, [], []
        for begin, end in ((0, 3), (3, 4), (4, 6), (6, 7), (7, 8)):
            out = ours(
                encoder_outputs=states,
                attention_mask=source["attention_mask"],
                decoder_input_ids=target[:, begin:end],
                past_key_values=cache,
                use_cache=True,
            )
            cross = [layer.keys.data_ptr() for layer in out.past_key_values.cross_attention_cache.layers]
            assert cache is None or cross == before
            cache, before = out.past_key_values, cross
            steps.append(out.logits)
    assert isinstance(cache, autoload.EncoderDecoderCache) and before
    assert_close(full, expected, case.tolerance, "full pass")
    assert_close(torch.cat(steps, 1), full, max(case.tolerance, 2e-5), "steps")


WAYS: dict[str, dict[str, Any]] = {
    "greedy": dict(num_beams=1, do_sample=False),
    "beams": dict(num_beams=3),
    "translation": dict(num_beams=3, forced_bos_token_id=7, num_return_sequences=2, length_penalty=2.0),
    "summary": dict(
        num_beams=3, no_repeat_ngram_size=2, min_length=6, early_stopping=True, encoder_no_repeat_ngram_size=4
    ),
    "uncached": dict(num_beams=2, use_cache=False),
    "static": dict(num_beams=1, do_sample=False, cache_implementation="static"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_generate(case: Case, way: str, loud: Any) -> None:
    """The same tokens as the reference, from ragged source texts."""
    if f"generate {way}" in case.skip:
        pytest.skip(case.skip[f"generate {way}"])
    ours, theirs = loud(case)
    source = ragged(case, ours)
    settings = {"max_new_tokens": 10, "use_cache": True} | WAYS[way]
    if ours.generation_config.decoder_start_token_id is None:
        settings["decoder_start_token_id"] = 3
    expected = theirs.generate(**source, **settings)
    found = ours.generate(**source, **settings)
    assert torch.equal(found, expected)
    assert len({tuple(row) for row in found.tolist()}) > 1, "the source matters"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_resize(case: Case, loaded: Any) -> None:
    """More tokens: both sides and the scores grow, and what was there stays."""
    if "resize" in case.skip:
        pytest.skip(case.skip["resize"])
    ours = copy.deepcopy(loaded(case)[0])
    source, target = ragged(case, ours), inputs_for(case, "CausalLM", seq=5)["input_ids"]
    count = ours.get_input_embeddings().num_embeddings
    with torch.no_grad():
        before = ours(**source, decoder_input_ids=target).logits
        ours.resize_token_embeddings(count + 3)
        after = ours(**source, decoder_input_ids=target).logits
    assert ours.get_encoder().get_input_embeddings().num_embeddings == count + 3
    if ours.ties_weights:  # else the two sides get one table, as in the reference
        assert_close(after[..., : before.shape[-1]], before, 1e-6, "old scores")
    with torch.no_grad():
        ours(input_ids=source["input_ids"] * 0 + count + 1, decoder_input_ids=target)


@pytest.mark.parametrize("tied", [True, False])
def test_resize_the_target(tied: bool, tmp_path: Path) -> None:
    """Marian's target may get more words of its own; what is saved then loads in the reference."""
    from transformers import MarianMTModel

    case = next(case for case in CASES if str(case) == "marian-apart")
    config = autoload.MarianConfig(**case.config, tie_word_embeddings=tied)
    ours: Any = autoload.AutoModelForSeq2SeqLM.from_config(config).eval()
    source, target = ragged(case, ours), inputs_for(case, "CausalLM", seq=5)["input_ids"]
    with torch.no_grad():
        ours.final_logits_bias += 0.5
        before = ours(**source, decoder_input_ids=target).logits
        table = ours.resize_decoder_token_embeddings(120)
        after = ours(**source, decoder_input_ids=target).logits
    assert table is ours.model.get_decoder_input_embeddings() and table.num_embeddings == ours.config.decoder_vocab_size
    assert after.shape[-1] == 120 and torch.equal(after[..., :111], before)
    assert ours.get_input_embeddings().num_embeddings == ours.config.vocab_size == 99
    assert (ours.lm_head.weight is table.weight) == tied
    ours.save_pretrained(tmp_path)
    theirs = MarianMTModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert_close(theirs(**source, decoder_input_ids=target).logits, after, case.tolerance, "logits")
    shared: Any = autoload.MarianMTModel(
        autoload.MarianConfig(**{**case.config, "share_encoder_decoder_embeddings": True})
    )
    with pytest.raises(ConfigError, match="share_encoder_decoder_embeddings"):
        shared.resize_decoder_token_embeddings(120)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_checkpointing(case: Case, loaded: Any) -> None:
    """Gradient checkpointing changes no gradient; it makes no cache."""
    ours = copy.deepcopy(loaded(case)[0])
    for module in ours.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for rate in ("layerdrop", "attn_dropout", "noise"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    source, target = ragged(case, ours), inputs_for(case, "CausalLM", seq=5)["input_ids"]

    def gradients() -> dict[str, torch.Tensor]:
        ours.train().zero_grad()
        out = ours(**source, labels=target)
        out.loss.backward()
        return {n: p.grad.clone() for n, p in ours.named_parameters() if p.grad is not None}

    plain = gradients()
    ours.gradient_checkpointing_enable()
    kept = gradients()
    assert plain.keys() == kept.keys() and ours(**source, decoder_input_ids=target).past_key_values is None
    for name, gradient in plain.items():
        torch.testing.assert_close(kept[name], gradient)


HALVES = [case for case in CASES if "CausalLM" in registry.tasks_of(case.model_type)]


@pytest.mark.parametrize("case", HALVES, ids=str)
def test_half_a_file(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder alone, from the whole model's file: its own tensors are read, and no others."""
    theirs = reference_model(case, "Seq2SeqLM")
    theirs.save_pretrained(tmp_path)
    read: list[str] = []
    original = Weights.read
    monkeypatch.setattr(Weights, "read", lambda self, name: read.append(name) or original(self, name))
    ours = autoload.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert read and not [name for name in read if ".encoder." in name or "final_logits_bias" in name]
    whole = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if ours.loading_report.sources[name] == "new":
            assert name == "lm_head.weight" and not ours._tied_weights_keys, name
        else:
            assert torch.equal(tensor, whole[name]), name


ALONE = [
    case
    for case in all_cases()
    if registry.MODELS[case.model_type].family in ("bart", "bigbird_pegasus")
    and "CausalLM" in registry.tasks_of(case.model_type)
    and (not case.tasks or "CausalLM" in case.tasks)
]


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_decoder_looks_at_given_states(case: Case, tmp_path: Path) -> None:
    """The decoder alone beside someone else's encoder: scores, weights, and steps whose cross keys are kept."""
    theirs, ours = reference_model(case, "CausalLM"), load_ours(case, "CausalLM", tmp_path)
    generator = torch.Generator().manual_seed(6)
    width = case.config.get("cross_attention_hidden_size") or case.config["d_model"]
    ids = inputs_for(case, "CausalLM", seq=6)["input_ids"]
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    source = dict(encoder_hidden_states=torch.randn(3, 5, width, generator=generator), encoder_attention_mask=mask)
    kernel = theirs.config._attn_implementation
    theirs.set_attn_implementation("eager")
    with torch.no_grad():
        expected = theirs(ids, **source, output_attentions=True, use_cache=False)
        found = ours(ids, **source, output_attentions=True, use_cache=False)
        first = ours(ids[:, :4], **source, use_cache=True)
        rest = ours(ids[:, 4:], **source, past_key_values=first.past_key_values)
    theirs.set_attn_implementation(kernel)
    assert [*found] == [*expected]
    for name in expected:
        assert_close(found[name], expected[name], case.tolerance, name)
    assert_close(torch.cat([first.logits, rest.logits], 1), found.logits, 2e-5, "steps")


@pytest.mark.parametrize("case", [c for c in CASES if "Model" in registry.tasks_of(c.model_type)], ids=str)
def test_computed_positions(case: Case) -> None:
    """A fresh model has the positions that the reference computes."""
    from transformers import CONFIG_MAPPING

    theirs = reference_class(case.model_type, "Model")(CONFIG_MAPPING[case.model_type](**case.config))
    ours = registry.resolve(case.model_type, "Model")._from_config(
        autoload.AutoConfig.for_model(case.model_type, **case.config)
    )
    for name, p in theirs.named_parameters():
        if not p.requires_grad:
            torch.testing.assert_close(ours.get_parameter(name), p, atol=1e-6, rtol=1e-6)
            assert not ours.get_parameter(name).requires_grad


def test_what_is_refused() -> None:
    case = next(case for case in CASES if case.model_type == "bart")
    config = autoload.BartConfig(**case.config)
    model = autoload.BartForConditionalGeneration(config)
    ids = torch.tensor([[5, 6, 2]])
    with pytest.raises(ArgumentError, match="decoder_input_ids"):
        model(inputs_embeds=torch.zeros(1, 3, 32))
    with pytest.raises(ArgumentError, match="input_ids or inputs_embeds"):
        model(decoder_input_ids=ids)
    with pytest.raises(ConfigError, match="decoder_start_token_id"):
        model.config.update({"decoder_start_token_id": None})
        model(ids, labels=ids)
    with pytest.raises(ConfigError, match="decoder_attention_heads"):
        autoload.BartModel(autoload.BartConfig(**{**case.config, "decoder_attention_heads": 5}))
    classifier = autoload.BartForSequenceClassification(config)
    with pytest.raises(ArgumentError, match="row 1 of input_ids has no token 2"):
        classifier(torch.tensor([[5, 2], [5, 6]]), decoder_input_ids=torch.tensor([[2, 5], [2, 5]]))


def test_half_precision_stays_finite() -> None:
    """What overflows fp16 is cut off, so that one large value does not spoil the rest."""
    from autoload.models.seq2seq import finite

    x = torch.tensor([1.0, -2.0, float("inf"), float("-inf")], dtype=torch.float16)
    assert finite(x).isfinite().all() and torch.equal(finite(x)[:2], x[:2])
    assert torch.equal(finite(x.float()), x.float())


def test_two_checkpoints_make_one(tmp_path: Path) -> None:
    """An encoder and a decoder from files of their own, as the reference makes it; new cross-attention is named."""
    from transformers import EncoderDecoderModel

    case = next(case for case in all_cases() if case.model_type == "bert")
    reference_model(case, "MaskedLM").save_pretrained(tmp_path / "bert")
    path = tmp_path / "bert"
    ours = autoload.EncoderDecoderModel.from_encoder_decoder_pretrained(path, path, decoder_num_hidden_layers=2)
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(path, path, decoder_num_hidden_layers=2)
    assert ours.config.to_dict() == theirs.config.to_dict() and not ours.training
    assert all("crossattention" in name for name in ours.decoder.loading_report.missing)
    new = {name for name in theirs.state_dict() if "crossattention" in name}
    assert new == {f"decoder.{name}" for name in ours.decoder.loading_report.missing}
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        model.config.decoder_start_token_id, model.config.pad_token_id = 5, 0
    ids = inputs_for(case, "Model")["input_ids"]
    with torch.no_grad():
        found, expected = (model(ids, labels=ids[:, :5].contiguous()) for model in (ours, theirs))
    assert_close(found.logits, expected.logits, 1e-5, "logits")
    assert_close(found.loss, expected.loss, 1e-5, "loss")
    with pytest.raises(ArgumentError, match="decoder_pretrained_model_name_or_path"):
        autoload.EncoderDecoderModel.from_encoder_decoder_pretrained(path)
    with pytest.raises(ArgumentError, match="scores tokens"):
        autoload.EncoderDecoderModel(encoder=ours.decoder, decoder=ours.decoder)
