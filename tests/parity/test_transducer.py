"""Transducers: their losses, and their transcripts with the frames of each step."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autoload.errors import ArgumentError, GenerationError
from autoload.generation.transducer import Durations
from autoload.losses import REDUCTIONS, rnnt_loss, tdt_loss
from tests.parity import alignments
from tests.parity.cases.transducer import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

# -- losses

FRAMES, COUNTS = torch.tensor([7, 4, 1]), torch.tensor([3, 5, 0])


def scores(*shape: int) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return made.requires_grad_()


LABELS = torch.randint(0, 8, (3, 5), generator=torch.Generator().manual_seed(2))


def test_rnnt_loss() -> None:
    """Equal, with its gradients, to the sum over alignments place by place; what is beyond a row's end has none."""
    logits = scores(3, 7, 6, 9)
    expected = alignments.rnnt_loss(logits, LABELS, FRAMES, COUNTS, blank=8)
    wanted = torch.autograd.grad(expected.sum(), logits)[0]
    found = rnnt_loss(logits, LABELS, FRAMES, COUNTS, blank=8, reduction="none")
    assert_close(found, expected, 1e-6, "losses")
    assert_close(torch.autograd.grad(found.sum(), logits)[0], wanted, 1e-6, "gradients")
    assert not wanted[1, 4:].any() and wanted[1, 3].any()


def test_alignments_by_hand() -> None:
    """Two frames and one label: the label comes at the first frame or at the second."""
    p = scores(1, 2, 2, 3).detach().softmax(-1)[0]
    first = p[0, 0, 1] * p[0, 1, 2] * p[1, 1, 2]
    second = p[0, 0, 2] * p[1, 0, 1] * p[1, 1, 2]
    logits, one, two = p.log()[None], torch.tensor([1]), torch.tensor([2])
    loss = rnnt_loss(logits, torch.tensor([[1]]), two, one, blank=2, reduction="sum")
    assert_close(loss, -(first + second).log(), 1e-6, "loss")


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions(reduction: str) -> None:
    """Those of the reference, of both losses."""
    from transformers.loss.loss_tdt import tdt_loss as reference

    logits, spans, counts = scores(3, 7, 6, 9), scores(3, 7, 6, 4), COUNTS.clamp(min=1)
    frames = FRAMES.clamp(min=2)
    arguments: list[Any] = [LABELS, frames, counts, 8]
    losses = rnnt_loss(logits, *arguments, reduction="none")
    expected = {
        "mean_volume": losses.sum() / counts.sum(),
        "mean_batch": losses.mean(),
        "mean": (losses / counts).mean(),
        "sum": losses.sum(),
        "none": losses,
    }[reduction]
    assert_close(rnnt_loss(logits, *arguments, reduction=reduction), expected, 1e-6, reduction)
    for durations, sigma in (([0, 1, 2, 3], 0.0), ([0, 1, 2, 4], 0.05)):
        theirs = reference(logits, spans, *arguments, durations=durations, sigma=sigma, reduction=reduction)
        ours = tdt_loss(logits, spans, *arguments, durations=durations, sigma=sigma, reduction=reduction)
        assert_close(ours, theirs, 1e-6, reduction)
        wanted = torch.autograd.grad(theirs.sum(), (logits, spans))
        assert_close(torch.autograd.grad(ours.sum(), (logits, spans)), wanted, 1e-5, "gradients")


def test_no_alignment() -> None:
    """Five labels, each of one frame or more, do not fit four frames: the loss is infinite, the gradients are zero."""
    logits, spans = scores(3, 7, 6, 9), scores(3, 7, 6, 2)
    losses = tdt_loss(logits, spans, LABELS, FRAMES, COUNTS, 8, [1, 2], reduction="none")
    assert losses.isinf().tolist() == [False, True, False]
    gradients = torch.autograd.grad(losses[:1].sum() + losses[2], (logits, spans))
    assert all(g.isfinite().all() for g in gradients)


def test_what_losses_refuse() -> None:
    with pytest.raises(ArgumentError, match="mean_volume, mean_batch"):
        rnnt_loss(scores(3, 7, 6, 9), LABELS, FRAMES, COUNTS, 8, reduction="average")
    with pytest.raises(ArgumentError, match="decoder_input_ids are to have 6"):
        rnnt_loss(scores(3, 7, 5, 9), LABELS, FRAMES, COUNTS, 8)


# -- transcripts


def transcribers(case: Case, directory: Path, patience: float = 1.0) -> tuple[Any, Any, dict[str, Tensor]]:
    """Both models, made to give blanks more often, and what they hear."""
    task = "TDT" if "durations" in case.config else "RNNT"
    ours, inputs = load_ours(case, task, directory), inputs_for(case, task)
    inputs = {name: inputs[name] for name in ("input_features", "attention_mask")}
    theirs = copy.deepcopy(reference_model(case, task))
    blank, vocabulary = case.config["blank_token_id"], case.config["vocab_size"]
    lively(theirs, inputs)
    theirs.joint.head.bias.data[blank] += patience
    ours.load_state_dict(theirs.state_dict())
    for model in (ours, theirs):
        model.generation_config.decoder_start_token_id = blank
        model.generation_config.pad_token_id = case.config["pad_token_id"]
        if task == "TDT":  # as in the published files: the reference takes durations for tokens
            model.generation_config.suppress_tokens = list(
                range(vocabulary, vocabulary + len(case.config["durations"]))
            )
    return ours, theirs, inputs


@torch.no_grad()
def lively(model: Any, inputs: dict[str, Tensor]) -> None:
    """Random weights under which what is said changes from frame to frame, and from token to token."""
    generator = torch.Generator().manual_seed(7)
    for name, p in model.named_parameters():
        if not name.startswith("encoder."):
            p.copy_(torch.randn(p.shape, generator=generator) * (p.shape[-1] ** -0.5 if p.dim() > 1 else 0.1))
    model.decoder.embedding.weight *= 10
    read: list[Tensor] = []
    hook = model.encoder_projector.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    model.get_audio_features(**inputs)
    hook.remove()
    states = read[0]
    model.encoder_projector.weight /= states.std((0, 1)).mean()
    model.encoder_projector.bias.copy_(-model.encoder_projector.weight @ states.mean((0, 1)))


@pytest.mark.parametrize("patience", [0.7, 1.4])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transcripts(case: Case, patience: float, tmp_path: Path) -> None:
    """Tokens, and how many frames each step goes on; batches, single recordings, limits and further settings."""
    ours, theirs, inputs = transcribers(case, tmp_path, patience)
    alone = {"input_features": inputs["input_features"][:1]}
    calls: list[dict[str, Any]] = [{}, {"max_new_tokens": 4}, {"max_length": 7}, {"eos_token_id": 5}]
    spans = len(case.config.get("durations", ()))
    calls += [{"repetition_penalty": 1.5}, {"suppress_tokens": [*range(20), *range(40, 40 + spans)]}]
    seen = set()
    for given, call in itertools.product((inputs, alone), calls):
        expected, found = theirs.generate(**given, **call), ours.generate(**given, **call)
        assert type(found).__name__ == type(expected).__name__
        assert torch.equal(found.sequences, expected.sequences), call
        assert torch.equal(found.durations, expected.durations), call
        seen |= set(found.sequences[:, 1:].flatten().tolist())
    assert case.config["blank_token_id"] in seen and len(seen) > 2
    assert torch.equal(
        ours.generate(inputs["input_features"]).sequences, theirs.generate(inputs["input_features"]).sequences
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_steps(case: Case, tmp_path: Path) -> None:
    """Token after token with a cache, in which a blank changes nothing, and all at once."""
    ours, theirs, inputs = transcribers(case, tmp_path)
    blank = case.config["blank_token_id"]
    text = torch.tensor([[blank, 5, 6, 7], [blank, 9, 9, 8], [blank, 10, 4, 4]])
    with torch.no_grad():
        encoded = ours.get_audio_features(**inputs)
        assert_close(encoded.pooler_output, theirs.get_audio_features(**inputs).pooler_output, 1e-5, "pooler_output")
        whole = ours(decoder_input_ids=text, encoder_outputs=encoded).logits
        out = ours(decoder_input_ids=text[:, :1], encoder_outputs=encoded, use_decoder_cache=True)
        steps, cache = [out.logits], out.decoder_cache
        for place in (1, 2, 3):
            said = text[:, place : place + 1]
            mixed = torch.cat([said[:1], torch.full_like(said[1:], blank)])
            first = ours(decoder_input_ids=mixed, encoder_outputs=encoded, decoder_cache=cache).logits
            others = ours(decoder_input_ids=torch.cat([torch.full_like(said[:1], blank), said[1:]]), encoder_outputs=encoded, decoder_cache=cache).logits  # fmt: skip
            again = ours(decoder_input_ids=torch.full_like(said, blank), encoder_outputs=encoded, decoder_cache=cache)
            assert torch.equal(again.logits, others)
            assert torch.equal(first[0], others[0])
            steps.append(others[:, :, None])
    steps[0] = steps[0][:, :, None]
    assert_close(torch.cat(steps, 2), whole, 1e-5, "logits")


def test_durations() -> None:
    """A duration is what the list says, of one frame at least at a blank, and never a token."""
    rule = Durations(blank=2, vocabulary=3, durations=torch.tensor([0, 2, 4]))
    logits = torch.tensor([[0.0, 5, 1, 0, 0, 9], [0.0, 1, 5, 9, 0, 0], [5.0, 1, 2, 9, 0, 0]])
    onward, scores = rule(logits)
    assert onward.tolist() == [4, 1, 0] and scores.argmax(-1).tolist() == [1, 2, 0]


class Listener:
    """Keeps what a streamer gets."""

    def __init__(self) -> None:
        self.heard: list[Tensor] = []
        self.ended = False

    def put(self, tokens: Tensor) -> None:
        self.heard.append(tokens.reshape(len(tokens), -1))

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize("case", CASES, ids=str)
def test_further_arguments(case: Case, tmp_path: Path) -> None:
    ours, _, inputs = transcribers(case, tmp_path)
    listener = Listener()
    found = ours.generate(**inputs, streamer=listener)
    assert listener.ended and torch.equal(torch.cat(listener.heard, 1), found.sequences)
    encoded = ours.encoder(**inputs)
    limit = found.sequences.shape[1] + 50
    assert torch.equal(ours.generate(encoder_outputs=encoded, max_length=limit).sequences, found.sequences)
    with pytest.raises(GenerationError, match="neither sampling nor beams"):
        ours.generate(**inputs, do_sample=True)
    with pytest.raises(ArgumentError, match="decoder_input_ids"):
        ours(**inputs)
    with pytest.raises(ArgumentError, match="attention_mask"):
        ours.generate(**inputs, attention_mas=None, attentionmask=1)


@pytest.mark.parametrize("case", CASES, ids=str)
@torch.no_grad()
def test_one_graph(case: Case, tmp_path: Path) -> None:
    """The whole pass, the loss too, is one graph."""
    task = "TDT" if "durations" in case.config else "RNNT"
    ours, inputs = load_ours(case, task, tmp_path), inputs_for(case, task)
    found = torch.compile(ours, backend="eager", fullgraph=True)(**inputs)
    expected = ours(**inputs)
    assert_close(found.logits, expected.logits, 1e-5, "logits")
    assert_close(found.loss, expected.loss, 1e-5, "loss")
