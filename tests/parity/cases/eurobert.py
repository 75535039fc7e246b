"""Encoders with Llama's wiring."""

from tests.parity.cases.decoder import BIASED, TINY
from tests.parity.harness import Case

ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
    "full_attention": {"rope_type": "default", "rope_theta": 50.0},
}
ULTRA = BIASED | dict(sliding_window=3, prediction_head_size=20, rope_parameters=ROPE)
SEPARATE = TINY | dict(num_key_value_heads=4)

CASES = [
    Case("eurobert", BIASED | dict(mlp_bias=True)),
    Case("eurobert", TINY | dict(classifier_pooling="mean"), label="mean", tasks=("SequenceClassification",)),
    Case("eurobert", TINY | dict(classifier_pooling="bos"), label="bos", tasks=("SequenceClassification",)),
    Case("ultrabert", ULTRA),
    Case("ultrabert", ULTRA | dict(classifier_pooling="mean"), label="mean", tasks=("SequenceClassification",)),
    Case("esmc", SEPARATE | dict(attention_bias=True, mlp_bias=True)),
]
