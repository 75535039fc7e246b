"""The Gemma of several streams."""

from tests.parity.cases.decoder_gemma import INPUTS, SMALL
from tests.parity.cases.decoder_windows import BOTH
from tests.parity.harness import Case

CASES = [
    Case(
        "gemma3n_text",
        SMALL
        | INPUTS
        | dict(
            rope_parameters=BOTH,
            laurel_rank=4,
            altup_num_inputs=3,
            num_kv_shared_layers=2,
            intermediate_size=[40, 48, 40, 40, 40, 40],
            activation_sparsity_pattern=[0.8, 0.6, 0.0, 0.0, 0.0, 0.0],
        ),
    ),
]
