"""What BigBird's cases do not see: blocks drawn by chance in training, texts that no block divides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from autoload.models.big_bird import draw
from tests.parity.cases.big_bird import BIRD
from tests.parity.harness import Case, assert_close, load_ours, reference_model


def both(tmp_path: Path, **fields: Any) -> tuple[Any, Any]:
    """Ours and the reference's, without dropout."""
    still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=1200)
    case = Case("big_bird", BIRD | still | fields)
    return load_ours(case, "Model", tmp_path), reference_model(case, "Model")


@pytest.mark.parametrize("seq,block", [(40, 2), (1024, 32)])
def test_blocks_by_chance(tmp_path: Path, seq: int, block: int) -> None:
    """Training draws the reference's blocks, and leaves numpy's own generator alone."""
    import numpy as np

    ours, theirs = both(tmp_path, block_size=block, num_random_blocks=3)
    ids = torch.randint(3, 99, (2, seq), generator=torch.Generator().manual_seed(5))
    np.random.seed(11)
    expected = np.random.rand()
    np.random.seed(11)
    found = ours.train()(ids).last_hidden_state
    assert np.random.rand() == expected
    assert_close(found, theirs.train()(ids).last_hidden_state, 1e-5, "training")
    assert not torch.allclose(found, ours.eval()(ids).last_hidden_state, atol=1e-3)
    theirs.eval()


def test_drawn_blocks_are_far() -> None:
    drawn = draw(heads=4, blocks=30, size=2, count=3, longest=4096, seed=1)
    assert drawn.shape == (4, 28, 3)
    for block in range(1, 29):
        assert not {block - 1, block, block + 1, 0} & set(drawn[:, block - 1].flatten().tolist())


def test_uneven_length(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, block_size=4, num_random_blocks=1)
    ids = torch.randint(3, 99, (2, 37), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    with torch.no_grad():
        found, expected = (model(ids, attention_mask=mask).last_hidden_state for model in (ours, theirs))
    assert_close(found[mask == 1], expected[mask == 1], 1e-5, "uneven")
    with torch.no_grad():
        assert [tuple(a.shape) for a in ours(ids, output_attentions=True).attentions] == [(2, 4, 37, 37)] * 3


def test_short_texts_leave_no_trace(tmp_path: Path) -> None:
    """The reference turns to full attention for good once it has seen a short text."""
    ours, _ = both(tmp_path, block_size=4, num_random_blocks=1)
    ids = torch.randint(3, 99, (2, 36), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        before = ours(ids).last_hidden_state
        ours(ids[:, :8])
        assert torch.equal(ours(ids).last_hidden_state, before)
        ours.set_attention_type("original_full")
        assert not torch.allclose(ours(ids).last_hidden_state, before, atol=1e-3)
