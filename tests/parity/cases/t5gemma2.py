"""T5Gemma 2."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.cases import vit
from tests.parity.harness import Case

IMAGE, END = 98, 97  # the tokens that stand for a part of an image, and for its end
VISION = vit.TINY | dict(model_type="siglip_vision_model", image_size=8, patch_size=2)  # 16 patches
SIDE = dict(
    vocab_size=99,
    hidden_size=32,
    intermediate_size=37,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=64,
    query_pre_attn_scalar=11,
    sliding_window=4,
    sliding_window_pattern=2,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=3.0,
    attention_bias=True,
    rms_norm_eps=1e-3,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=2,
    rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
)
ENCODER = dict(text_config=SIDE, vision_config=VISION, mm_tokens_per_image=4, eoi_token_index=END)
DECODER = SIDE | dict(num_hidden_layers=2, intermediate_size=41, sliding_window=3, num_key_value_heads=1)
T5GEMMA2 = dict(encoder=ENCODER, decoder=DECODER, image_token_index=IMAGE, vocab_size=99)
ALONE = dict(
    text_config=SIDE | dict(dropout_rate=0.0, sliding_window=5),  # a field that the whole model would fill in
    vision_config=VISION,
    mm_tokens_per_image=4,
    image_token_index=IMAGE,
)


def texts(ids: Tensor) -> dict[str, Tensor]:
    """One end of an image, in words alone."""
    ids = ids.masked_fill(ids == IMAGE, 5)
    ids[0, 2] = END
    return {"input_ids": ids}


def pages(ids: Tensor) -> dict[str, Tensor]:
    """An image in the first text and one in the second, none in the third."""
    ids = ids.masked_fill(ids == IMAGE, 5)
    start = ids.shape[1] // 3  # beyond the padding on either side
    ids[0, 0], ids[0, 1:5], ids[1, start : start + 4] = END, IMAGE, IMAGE
    return {"input_ids": ids, "pixel_values": torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(9))}


CASES = [
    Case("t5gemma2", T5GEMMA2, inputs=texts),
    Case("t5gemma2", T5GEMMA2, inputs=pages, label="pages"),
    Case(
        "t5gemma2",
        T5GEMMA2 | dict(tie_word_embeddings=False),
        inputs=texts,
        tasks=("Model", "Seq2SeqLM"),
        label="untied",
    ),
    Case("t5gemma2_encoder", ALONE, inputs=texts),
    Case("t5gemma2_encoder", ALONE, inputs=pages, label="pages"),
]
