"""Small models that draft tokens for a large one: gemma4_assistant, gemma4_unified_assistant.

They have no keys and values of their own: all layers look at those of the large model's last layer of their kind. What
they read is the embedding of the last token beside the large model's last hidden state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.attention import decoder_mask, encoder_mask
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutput


@dataclass
class DraftOutput(BaseModelOutput):
    """`logits` (batch, seq, vocabulary); the last hidden state has the large model's width."""

    logits: Tensor | None = None


class CentroidScores(nn.Module):
    """Scores of the tokens in the nearest groups; all other tokens get one score below these."""

    token_ordering: Tensor

    def __init__(self, config: Any):
        super().__init__()
        text = config.get_text_config()
        self.picks, self.groups = config.centroid_intermediate_top_k, config.num_centroids
        self.centroids = nn.Linear(text.hidden_size, self.groups, bias=False)
        self.register_buffer("token_ordering", torch.zeros(text.vocab_size, dtype=torch.int64))

    def init_own(self, std: float) -> None:
        self.token_ordering.zero_()

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """(batch, seq, vocabulary) from the stream and the embeddings (vocabulary, dim)."""
        nearest = self.centroids(x).topk(self.picks, -1).indices
        tokens = self.token_ordering.long().view(self.groups, -1)[nearest].flatten(-2)  # (batch, seq, few)
        scores = (table[tokens] @ x[..., None])[..., 0]
        lowest = (scores.detach().min() - 1.0).to(scores.dtype)
        return lowest.expand(*scores.shape[:2], len(table)).scatter(-1, tokens, scores)


class DraftModel(PreTrainedModel):
    """Drafts the next token; keys and values are the caller's."""

    main_input_name = "inputs_embeds"
    output_path = "lm_head"
    borrows = True  # keys and values, of the model that it drafts for
    model: Any

    def __init__(self, config: Any):
        from autoload.registry import class_for

        super().__init__(config)
        text = config.get_text_config()
        self.model = class_for(text, "Model")(text)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.pre_projection = nn.Linear(2 * config.backbone_hidden_size, text.hidden_size, bias=False)
        self.post_projection = nn.Linear(text.hidden_size, config.backbone_hidden_size, bias=False)
        self.masked_embedding = CentroidScores(config) if config.use_ordered_embeddings else None

    def can_generate(self) -> bool:
        return True

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.weight": "model.embed_tokens.weight"}

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        shared_kv_states: dict[str, tuple[Tensor, Tensor]] | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of the next token, and the state to draft the one after it from.

        Args:
            input_ids, use_cache: not looked at.
            inputs_embeds: (batch, seq, 2 * the large model's width), embeddings beside hidden states.
            position_ids: (batch, seq).
            attention_mask: (batch, all keys), 0 at padding.
            shared_kv_states: keys and values by kind of layer, (batch, heads, keys, dim) each.
            return_dict: False gives a tuple.
        """
        for name, value in (("inputs_embeds", inputs_embeds), ("shared_kv_states", shared_kv_states)):
            if value is None:
                text = f"forward: {name} is missing; a draft model reads what a large model computed."
                raise ArgumentError(text, name=name)
        source, own = inputs_embeds.device, self.pre_projection.weight.device  # type: ignore[union-attr]
        lent = {kind: (k.to(own), v.to(own)) for kind, (k, v) in shared_kv_states.items()}  # type: ignore[union-attr]
        x = self.pre_projection(inputs_embeds.to(own))  # type: ignore[union-attr]
        out = self.model(
            inputs_embeds=x,
            attention_mask=self.masks(attention_mask, x, lent),
            position_ids=position_ids,
            shared_kv_states=lent,
            use_cache=False,
            return_dict=True,
            **kwargs,
        )
        last = out.last_hidden_state
        table = self.lm_head.weight
        logits = self.lm_head(last) if self.masked_embedding is None else self.masked_embedding(last, table)
        state = self.post_projection(last).to(source)
        output = DraftOutput(state, out.hidden_states, out.attentions, logits.to(source))
        return finish(output, return_dict, self.config)

    def masks(self, mask: Tensor | None, x: Tensor, lent: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """All keys, or the last few; keys of a window may begin later than the mask does."""
        if missing := set(self.model.kinds) - lent.keys():
            text = (
                f"forward: shared_kv_states lacks {', '.join(sorted(missing))}; found {', '.join(lent) or 'nothing'}."
            )
            raise ArgumentError(text, name="shared_kv_states")
        window = self.config.get_text_config().sliding_window
        masks: dict[str, Any] = {}
        for kind in dict.fromkeys(self.model.kinds):
            keys = lent[kind][0].shape[2]
            longest = lent.get("full_attention", lent[kind])[0].shape[2]
            own = None if mask is None else mask[:, :longest][:, -keys:].to(x.device)
            if kind == "full_attention":
                masks[kind] = encoder_mask(own).allowed
            else:  # the query counts as if it stood at the newest key, from which distances are counted backwards
                back = None if own is None else own.flip(1)
                sizes = (x.shape[1], keys, 0, 0, x.device)
                near = decoder_mask(back, *sizes, window=window + 1, bidirectional=True).allowed
                masks[kind] = None if near is None else near.flip(-1)
        return masks


VARIANTS = {"gemma4_assistant": Variant(), "gemma4_unified_assistant": Variant()}
TASKS = {"CausalLM": DraftModel}
