"""EmbeddingGemma 2."""

import torch
from torch import Tensor

from tests.parity.cases import gemma4_audio, gemma4_vision, two_way
from tests.parity.harness import Case

IMAGE, VIDEO, AUDIO = 96, 97, 98
TEXT = next(case.config for case in two_way.CASES if case.model_type == "embedding_gemma2_text")
WORDS = dict(text_config=TEXT, image_token_id=IMAGE, video_token_id=VIDEO, audio_token_id=AUDIO)
TOWERS = WORDS | dict(vision_config=gemma4_vision.TOWER, audio_config=gemma4_audio.TOWER)


def everything(ids: Tensor) -> dict[str, Tensor]:
    """Two images in the first text, two short films and a sound in the second, another sound in the third."""
    ids = ids.masked_fill(ids >= IMAGE, 5)
    ids[0, 1:5] = ids[0, 7:9] = IMAGE
    ids[1, 3:6] = VIDEO
    ids[1, 6:9] = ids[2, 5:7] = AUDIO
    generator = torch.Generator().manual_seed(9)
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[0, 12:] = mask[1, 7:] = False
    return {
        "input_ids": ids,
        "pixel_values": torch.rand(2, 16, 12, generator=generator),
        "image_position_ids": gemma4_vision.grids((4, 4), (2, 4)),
        "pixel_values_videos": torch.rand(3, 8, 12, generator=generator),
        "video_position_ids": gemma4_vision.grids((2, 2), (2, 2), (2, 2), room=8),
        "num_frames_per_video": torch.tensor([2, 1]),
        "input_features": torch.randn(2, 16, 16, generator=generator),
        "input_features_mask": mask,
    }


CASES = [
    Case("embedding_gemma2", WORDS),
    Case("embedding_gemma2", TOWERS, inputs=everything, label="everything"),
]
