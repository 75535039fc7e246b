"""Transducers over Parakeet's encoder."""

import torch
from torch import Tensor

from tests.parity.alignments import lend_torchaudio
from tests.parity.cases.parakeet import ENCODER, ragged
from tests.parity.harness import Case

PAD, BLANK, LABELS = 3, 39, 5
HEAD = dict(
    vocab_size=40,
    decoder_hidden_size=24,
    num_decoder_layers=3,
    hidden_act="silu",
    max_symbols_per_step=3,
    pad_token_id=PAD,
    blank_token_id=BLANK,
    encoder_config=ENCODER | dict(num_hidden_layers=2),
)


def text(sound: Tensor) -> dict[str, Tensor]:
    """The blank and the labels, and the labels; the last ones of the last row fill it up."""
    ids = torch.randint(4, BLANK, (len(sound), LABELS + 1), generator=torch.Generator().manual_seed(6))
    ids[:, 0] = BLANK
    return ragged(sound) | {"decoder_input_ids": ids, "labels": ids[:, 1:].clone()}


def padded(sound: Tensor) -> dict[str, Tensor]:
    """With labels that are padding."""
    found = text(sound)
    found["labels"][-1, -2:] = PAD
    return found


def blanked(sound: Tensor) -> dict[str, Tensor]:
    """With labels that are blanks."""
    found = text(sound)
    found["labels"][-1, -2:] = BLANK
    return found


TIMED = HEAD | dict(durations=[0, 1, 2, 3], hidden_act="relu")
CASES = [
    Case("parakeet_rnnt", HEAD, sound=(62, 20), inputs=blanked, mend=lend_torchaudio),
    Case("parakeet_tdt", TIMED, sound=(62, 20), inputs=padded),
]
