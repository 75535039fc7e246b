"""Decoders that gate what attention saw."""

from tests.parity.cases.decoder import BIASED, TINY, WINDOW
from tests.parity.cases.decoder_plain import NO_GROUPS
from tests.parity.harness import Case

CYCLES = NO_GROUPS | dict(num_hidden_layers=2, head_dim=12, H_cycles=2, L_cycles=2, L_bp_cycles=[1])

CASES = [
    Case("muse_glimmer_text", BIASED | dict(head_dim=12, qk_scale_factor=1.5, post_norm_eps=1e-3) | WINDOW),
    Case("muse_glimmer_text", TINY | dict(layer_rope_theta=[0, 500.0, 500.0, 500.0], rope_theta=500.0), label="plain"),
    Case("hrm_text", CYCLES | dict(embedding_scale=2.0)),
]
