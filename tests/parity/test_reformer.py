"""What Reformer's cases do not see: training, numbers of buckets that follow the length, generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.cases.reformer import REFORMER
from tests.parity.harness import Case, assert_close, load_ours, reference_model
from tests.parity.test_parity import _gradients

STILL = dict(
    hidden_dropout_prob=0.0, local_attention_probs_dropout_prob=0.0, lsh_attention_probs_dropout_prob=0.0, hash_seed=3
)


def both(tmp_path: Path, task: str, **fields: Any) -> tuple[Any, Any]:
    case = Case("reformer", REFORMER | STILL | fields)
    return load_ours(case, task, tmp_path), reference_model(case, task)


def tokens(seq: int) -> torch.Tensor:
    return torch.randint(3, 99, (2, seq), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("task", ["MaskedLM", "CausalLM"])
def test_gradients_in_training(tmp_path: Path, task: str) -> None:
    ours, theirs = both(tmp_path, task)
    inputs = {"input_ids": tokens(32), "labels": tokens(32)}
    found, expected = _gradients(ours.train(), inputs), _gradients(theirs.train(), inputs)
    theirs.eval()
    assert found.keys() == expected.keys()
    top = max(g.abs().max() for g in expected.values())
    for name, gradient in expected.items():
        limit = 2e-4 * max(gradient.abs().max(), top * 1e-2)
        assert (found[name] - gradient).abs().max() <= limit, name


@pytest.mark.parametrize("seq,chunk", [(24, 4), (30, 2)])
def test_number_of_buckets(tmp_path: Path, seq: int, chunk: int) -> None:
    """It follows the length of the text, in one factor or two."""
    chunks = dict(lsh_attn_chunk_length=chunk, local_attn_chunk_length=chunk)
    ours, theirs = both(tmp_path, "Model", num_buckets=None, **chunks)
    with torch.no_grad():
        found, expected = ours(tokens(seq)), theirs(tokens(seq))
    assert_close(found.last_hidden_state, expected.last_hidden_state, 1e-5, "buckets")
    assert ours.config.num_buckets is None


def test_rounds_of_hashing(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, "Model")
    with torch.no_grad():
        found, expected = (model(tokens(16), num_hashes=2).last_hidden_state for model in (ours, theirs))
    assert_close(found, expected, 1e-5, "hashes")


def test_chance_is_not_seeded(tmp_path: Path) -> None:
    """With a seed of its own, torch's generator is left alone; without one, the same draws follow the same seed."""
    ours, theirs = both(tmp_path / "own", "Model")
    before = torch.random.get_rng_state()
    with torch.no_grad():
        ours(tokens(16))
    assert torch.equal(torch.random.get_rng_state(), before)
    ours, theirs = both(tmp_path / "none", "Model", hash_seed=None)
    with torch.no_grad():
        torch.manual_seed(8)
        found = ours(tokens(16)).last_hidden_state
        torch.manual_seed(8)
        assert_close(found, theirs(tokens(16)).last_hidden_state, 1e-5, "same seed")


def test_generation(tmp_path: Path) -> None:
    """Each step is the pass over the whole text."""
    ours, theirs = both(tmp_path, "CausalLM")
    ids = tokens(6)[:1]
    made = ours.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    with torch.no_grad():
        for end in range(6, 14):
            assert theirs(made[:, :end]).logits[0, -1].argmax() == made[0, end]
