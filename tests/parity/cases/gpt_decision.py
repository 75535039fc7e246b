"""The decision transformer."""

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(
    pad_token_id=0,
    state_dim=7,
    act_dim=3,
    hidden_size=32,
    max_ep_len=30,
    n_layer=3,
    n_head=4,
    n_inner=37,
    n_positions=40,
    activation_function="gelu",
    layer_norm_epsilon=1e-3,
    scale_attn_by_inverse_layer_idx=True,
)


def trajectory(ids: Tensor) -> dict[str, Tensor]:
    """Numbers for each step, of as many steps as there are token ids."""
    generator = torch.Generator().manual_seed(6)
    sizes = dict(states=7, actions=3, rewards=1, returns_to_go=1)
    numbers = {name: torch.randn(*ids.shape, size, generator=generator) for name, size in sizes.items()}
    return numbers | {"timesteps": torch.randint(0, 30, ids.shape, generator=generator)}


CASES = [
    Case("decision_transformer", TINY, inputs=trajectory),
    Case("decision_transformer", TINY | dict(action_tanh=False), inputs=trajectory, label="unbounded"),
]
