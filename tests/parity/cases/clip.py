"""The image towers of CLIP and its kin."""

from tests.parity.cases.vit import TINY, wide
from tests.parity.harness import Case

CASES = [
    Case("clip_vision_model", TINY, image=(2, 12, 12)),
    Case("clip_vision_model", TINY, image=(2, 12, 12), inputs=wide, label="wide"),
    Case("siglip_vision_model", TINY, image=(2, 12, 12)),
    Case("siglip_vision_model", TINY, image=(2, 12, 12), inputs=wide, label="wide"),
    Case("siglip_vision_model", TINY | dict(vision_use_head=False), image=(2, 12, 12), label="unpooled"),
]
