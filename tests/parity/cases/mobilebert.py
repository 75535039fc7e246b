"""MobileBERT."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

MOBILE = TINY | dict(embedding_size=12, intra_bottleneck_size=16, num_feedforward_networks=3)
PLAIN = dict(
    trigram_input=False,
    use_bottleneck=False,
    num_feedforward_networks=1,
    normalization_type="layer_norm",
    classifier_activation=False,
)

CASES = [
    Case("mobilebert", MOBILE | dict(num_feedforward_networks=2, hidden_act="gelu")),
    Case("mobilebert", TINY | PLAIN | dict(embedding_size=20), label="plain"),
    Case("mobilebert", MOBILE | dict(use_bottleneck_attention=True), label="narrow"),
]
