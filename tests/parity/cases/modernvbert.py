"""ModernVBERT and its kin."""

import torch
from torch import Tensor

from tests.parity.cases import eurobert, modernbert, vit
from tests.parity.harness import Case

IMAGE = 98  # the token that stands for a part of an image
VISION = vit.TINY | dict(model_type="siglip_vision_model", image_size=8, patch_size=2)  # four tokens of 16 patches
BOTH = dict(vision_config=VISION, image_token_id=IMAGE, pixel_shuffle_factor=2)
MODERN = BOTH | dict(text_config=modernbert.TINY | dict(model_type="modernbert"))
ULTRA = BOTH | dict(text_config=eurobert.ULTRA | dict(model_type="ultrabert"))
MEAN, TIED = dict(classifier_pooling="mean"), dict(tie_word_embeddings=True)
CLASSES, WORDS = ("SequenceClassification",), ("MaskedLM",)


def pages(ids: Tensor) -> dict[str, Tensor]:
    """Two images in the first text, one in the second, none in the third."""
    ids = ids.masked_fill(ids == IMAGE, 5)
    ids[0, 1:5] = ids[0, 7:11] = ids[1, 4:8] = IMAGE
    pixels = torch.randn(3, 2, 2, 8, 8, generator=torch.Generator().manual_seed(9))
    pixels[1, 1] = pixels[2] = 0
    return {"input_ids": ids, "pixel_values": pixels}


CASES = [
    Case("modernvbert", MODERN),
    Case("modernvbert", MODERN, inputs=pages, label="pages"),
    Case("modernvbert", MODERN | MEAN, inputs=pages, label="mean", tasks=CLASSES),
    Case("modernvbert", MODERN | TIED, inputs=pages, label="tied", tasks=WORDS),
    Case("ultravbert", ULTRA),
    Case("ultravbert", ULTRA, inputs=pages, label="pages"),
    Case("ultravbert", ULTRA | MEAN, inputs=pages, label="mean", tasks=CLASSES),
    Case("ultravbert", ULTRA | TIED, inputs=pages, label="tied", tasks=WORDS),
    Case("colmodernvbert", dict(vlm_config=MODERN | dict(model_type="modernvbert"), embedding_dim=12), inputs=pages),
]
