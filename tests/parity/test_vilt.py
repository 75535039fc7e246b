"""ViLT's pixels: the order of the patches is drawn by chance, so both sides start from one seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity.cases.vilt import VILT
from tests.parity.harness import Case, assert_close, load_ours, reference_model


@pytest.mark.parametrize("most", [-1, 4])
def test_pixels(tmp_path: Path, most: int) -> None:
    """Images of three sizes in one batch."""
    case = Case("vilt", VILT | dict(max_image_length=most))
    ours, theirs = (
        load_ours(case, "VisualQuestionAnswering", tmp_path),
        reference_model(case, "VisualQuestionAnswering"),
    )
    generator = torch.Generator().manual_seed(5)
    mask = torch.ones(3, 16, 12, dtype=torch.long)
    mask[1, 8:] = mask[2, :, 8:] = 0
    inputs = {
        "input_ids": torch.randint(3, 99, (3, 7), generator=generator),
        "pixel_values": torch.randn(3, 2, 16, 12, generator=generator),
        "pixel_mask": mask,
    }
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(6)
        with torch.no_grad():
            outputs.append(model(**inputs, output_hidden_states=True))
    assert_close(outputs[0].logits, outputs[1].logits, 1e-5, "logits")
    assert_close(outputs[0].hidden_states, outputs[1].hidden_states, 1e-5, "hidden states")


def test_whole_image(tmp_path: Path) -> None:
    """Without a mask all pixels count, and the order of the patches changes nothing but their order."""
    model = load_ours(Case("vilt", VILT), "Model", tmp_path)
    ids, pixels = torch.tensor([[3, 4, 5]]), torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(5))
    pooled = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            pooled.append(model(ids, pixel_values=pixels).pooler_output)
    assert_close(pooled[0], pooled[1], 1e-5, "pooled")
