"""GPT-2 on states, actions and returns in place of words: decision_transformer.

Chen et al. 2021 (arXiv:2106.01345).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.model import PreTrainedModel, Variant
from autoload.models import gpt
from autoload.outputs import ModelOutput, States


@dataclass
class DecisionTransformerOutput(ModelOutput):
    """`state_preds` (batch, steps, state), `action_preds` (batch, steps, action), `return_preds` (batch, steps, 1)."""

    state_preds: Any = None
    action_preds: Tensor | None = None
    return_preds: Tensor | None = None
    hidden_states: States = None
    attentions: States = None
    last_hidden_state: Tensor | None = None


class Encoder(gpt.Model):
    """GPT-2 whose positions all are the first: steps have vectors of their own."""

    packs = False
    variant = Variant(gpt.gpt2_spec)


class Model(PreTrainedModel):
    """Foretells the next state, action and return of a trajectory."""

    base_model_prefix = "decision_transformer"
    main_input_name = "states"
    embeddings_path = "encoder.wte"
    supports_gradient_checkpointing = False

    def __init__(self, config: Any):
        super().__init__(config)
        size = config.hidden_size
        self.encoder = Encoder(config)
        self.embed_timestep = nn.Embedding(config.max_ep_len, size)
        self.embed_return = nn.Linear(1, size)
        self.embed_state = nn.Linear(config.state_dim, size)
        self.embed_action = nn.Linear(config.act_dim, size)
        self.embed_ln = nn.LayerNorm(size)
        self.predict_state = nn.Linear(size, config.state_dim)
        bounded = [nn.Tanh()] if config.action_tanh else []
        self.predict_action = nn.Sequential(nn.Linear(size, config.act_dim), *bounded)
        self.predict_return = nn.Linear(size, 1)

    def forward(
        self,
        states: Tensor | None = None,
        actions: Tensor | None = None,
        rewards: Tensor | None = None,
        returns_to_go: Tensor | None = None,
        timesteps: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What comes next at each step.

        Args:
            states: (batch, steps, state).
            actions: (batch, steps, action).
            rewards: (batch, steps, 1); not looked at.
            returns_to_go: (batch, steps, 1), what is still to be won.
            timesteps: (batch, steps), numbers of the steps.
            attention_mask: (batch, steps), 0 at padding.
            output_hidden_states, output_attentions: also give these, of every layer; a step is three places.
            return_dict: False gives the three predictions as a tuple.
        """
        if states is None or actions is None or returns_to_go is None or timesteps is None:
            raise ArgumentError("forward: pass states, actions, returns_to_go and timesteps.", name="states")
        time = self.embed_timestep(timesteps)
        parts = (self.embed_return(returns_to_go), self.embed_state(states), self.embed_action(actions))
        x = torch.stack([part + time for part in parts], 2).flatten(1, 2)  # (batch, 3 * steps, dim)
        out = self.encoder(
            inputs_embeds=self.embed_ln(x),
            attention_mask=None if attention_mask is None else attention_mask.repeat_interleave(3, -1),
            position_ids=torch.zeros(x.shape[:2], dtype=torch.long, device=x.device),
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        _, at_state, at_action = out.last_hidden_state.unflatten(1, (-1, 3)).unbind(2)  # each (batch, steps, dim)
        result = DecisionTransformerOutput(
            state_preds=self.predict_state(at_action),
            action_preds=self.predict_action(at_state),
            return_preds=self.predict_return(at_action),
            hidden_states=out.hidden_states,
            attentions=out.attentions,
            last_hidden_state=out.last_hidden_state,
        )
        wanted = return_dict if return_dict is not None else self.config.return_dict
        return result if wanted else result.to_tuple()[:3]


VARIANTS = {"decision_transformer": Variant()}
TASKS = {"Model": Model}
