"""BigBird."""

from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

BIRD = TINY | dict(
    block_size=1, num_random_blocks=2, sep_token_id=7, use_bias=False, rescale_embeddings=True, hidden_act="relu"
)
ENCODES = (
    "Model",
    "MaskedLM",
    "PreTraining",
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
    "MultipleChoice",
)


def long(ids: Tensor) -> dict[str, Tensor]:
    """Three times as long, with a separator after each part."""
    ids = ids.repeat(*([1] * (ids.dim() - 1)), 3)
    ids[..., [6, 11, 30]] = 7
    return {"input_ids": ids}


CASES = [
    Case("big_bird", BIRD, label="blocks", tasks=ENCODES),
    Case("big_bird", BIRD | dict(block_size=4, num_random_blocks=1), label="long", tasks=ENCODES, inputs=long),
    Case("big_bird", TINY | dict(attention_type="original_full", block_size=1, num_random_blocks=2)),
]
