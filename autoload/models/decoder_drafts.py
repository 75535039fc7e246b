"""Small models that draft tokens for a large one: gemma4_assistant, gemma4_unified_assistant, muse_glimmer_assistant.

Those of Gemma have no keys and values of their own: all layers look at those of the large model's last layer of their kind. What
they read is the embedding of the last token beside the large model's last hidden state. Muse's fills in a block of tokens at once:
the large model's hidden states stand before the block as keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.attention import Context, Mask, decoder_mask, encoder_mask
from autoload.layers.norms import RMSNorm
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import decoder
from autoload.models.decoder import Spec
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


# -- muse


class BlockAttention(decoder.Attention):
    """Keys and values come from what stands before the block, too."""

    def see(self, x: Tensor, context: Context) -> Tensor:
        both, count = torch.cat([context.extra["source"], x], 1), x.shape[1]  # (batch, source + block, dim)
        q, k = (part.unflatten(-1, (-1, self.dim)) for part in (self.q_proj(x), self.k_proj(both)))
        q, k = (part.transpose(1, 2) for part in self.normalise(q, k))  # (batch, heads, seq, dim)
        v = self.v_proj(both).unflatten(-1, (-1, self.dim)).transpose(1, 2)
        cos, sin = context.rope[self.kind]
        q, k = self.turn(q, cos[:, -count:], sin[:, -count:]), self.turn(k, cos, sin)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        return self.look(q, k, v, context)


class Source(nn.Module):
    """Hidden states of several layers of the large model, as one of this model's width."""

    def __init__(self, config: Any):
        super().__init__()
        self.fc = nn.Linear(len(config.target_layer_ids) * config.hidden_size, config.hidden_size, bias=False)
        self.output_norm_enc = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_norm_enc(self.fc(x))


class BlockModel(decoder.Model):
    """Fills in a block of tokens; it has no embeddings of its own."""

    main_input_name = "noise_embeds"

    def __init__(self, config: Any):
        super().__init__(config)
        self.encoder = Source(config)

    def make_embedding(self, config: Any, spec: Spec) -> Any:
        return None

    def forward(
        self,
        noise_embeds: Tensor | None = None,
        context_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the block, those of the last layer alone.

        Args:
            noise_embeds: (batch, block, dim), the large model's embeddings of the newest token and of mask tokens.
            context_hidden_states: (batch, source, layers * dim), of the tokens since the last block.
            attention_mask: (batch, all tokens so far), 0 at padding.
            position_ids: (batch, source + block).
            past_key_values: cache of earlier tokens; the block is to be cropped from it afterwards.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
        """
        if noise_embeds is None or context_hidden_states is None:
            name = "noise_embeds" if noise_embeds is None else "context_hidden_states"
            raise ArgumentError(f"forward: {name} is missing; a draft model reads a large model's states.", name=name)
        source = self.encoder(context_hidden_states)
        if position_ids is None:
            past = 0 if past_key_values is None else past_key_values.get_seq_length()
            count = source.shape[1] + noise_embeds.shape[1]
            position_ids = (torch.arange(count, device=source.device) + past)[None]
        return super().forward(
            inputs_embeds=noise_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=bool(use_cache),
            output_attentions=False,
            output_hidden_states=False,
            return_dict=return_dict,
            source=source,
        )

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"source": kwargs["source"]}

    def make_masks(self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Any) -> dict[str, Mask]:
        """The block sees itself and all that is before it, or within a window on both sides."""
        masks, new = {}, position_ids.shape[1]
        for kind in dict.fromkeys(self.kinds):
            keys, start = (new, 0) if cache is None else cache.get_mask_sizes(new, self.kinds.index(kind))
            window = self.config.sliding_window + 1 if kind == "sliding_attention" else None
            sizes = (x.shape[1], keys, past + new - x.shape[1], start, x.device)
            masks[kind] = decoder_mask(attention_mask, *sizes, window=window, bidirectional=True)
        return masks


VARIANTS = {
    "gemma4_assistant": Variant(),
    "gemma4_unified_assistant": Variant(),
    "muse_glimmer_assistant": Variant(lambda c: Spec(attention=BlockAttention, qk_norm="head")),
}
TASKS = {"CausalLM": DraftModel, "Model": BlockModel}
