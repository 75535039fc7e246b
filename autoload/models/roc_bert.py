"""RoCBERT's own parts: characters also seen and heard, and a pre-training against attacks.

Su et al. 2022 (doi:10.18653/v1/2022.acl-long.65). Its variant stands in `bert_kin`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.losses import token_loss
from autoload.model import finish
from autoload.models.bert import Embeddings, Spec
from autoload.models.bert_heads import ClsHeads, TiedHead
from autoload.outputs import MaskedLMOutput


class RoCBertEmbeddings(Embeddings):
    """Also the shape and the sound of a character; joined and mapped, or averaged."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        pad, size = config.pad_token_id, config.hidden_size
        sound, shape = config.pronunciation_embed_dim, config.shape_embed_dim
        self.pronunciation_embed = nn.Embedding(config.pronunciation_vocab_size, sound, padding_idx=pad)
        self.shape_embed = nn.Embedding(config.shape_vocab_size, shape, padding_idx=pad)
        self.shows, self.sounds = config.enable_shape, config.enable_pronunciation
        width = size + (sound if self.sounds else 0) + (shape if self.shows else 0)
        self.map_inputs_layer = nn.Linear(width, size) if config.concat_input else None

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
        input_shape_ids: Tensor | None = None,
        input_pronunciation_ids: Tensor | None = None,
    ) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        senses = [(self.shape_embed, input_shape_ids)] if self.shows else []
        senses += [(self.pronunciation_embed, input_pronunciation_ids)] if self.sounds else []
        if self.map_inputs_layer is None:
            given = [table(ids) for table, ids in senses if ids is not None]
            x = super().forward(None, token_type_ids, position_ids, x, past)
            return sum(given, x) / (1 + len(given))
        nothing = torch.zeros(x.shape[:-1], dtype=torch.long, device=x.device)
        parts = [x] + [table(nothing if ids is None else ids) for table, ids in senses]
        return super().forward(None, token_type_ids, position_ids, self.map_inputs_layer(torch.cat(parts, -1)), past)


class RoCBertPreTraining(TiedHead):
    """Hidden tokens, and a text's vector that an attacked copy must stay near to."""

    base_options = {"add_pooling_layer": True}

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = ClsHeads(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_shape_ids: Tensor | None = None,
        input_pronunciation_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        attack_input_ids: Tensor | None = None,
        attack_input_shape_ids: Tensor | None = None,
        attack_input_pronunciation_ids: Tensor | None = None,
        attack_attention_mask: Tensor | None = None,
        attack_token_type_ids: Tensor | None = None,
        labels_input_ids: Tensor | None = None,
        labels_input_shape_ids: Tensor | None = None,
        labels_input_pronunciation_ids: Tensor | None = None,
        labels_attention_mask: Tensor | None = None,
        labels_token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels_input_ids: (batch, seq), the tokens to find; attack_input_ids: (batch, seq), an attacked copy."""

        def encode(ids: Tensor | None, shapes: Any, sounds: Any, mask: Any, types: Any, **more: Any) -> Any:
            return self.base_model(
                ids,
                mask,
                types,
                input_shape_ids=shapes,
                input_pronunciation_ids=sounds,
                return_dict=True,
                **more,
            )

        given = (input_ids, input_shape_ids, input_pronunciation_ids, attention_mask, token_type_ids)
        out = encode(*given, position_ids=position_ids, inputs_embeds=inputs_embeds, **kwargs)
        logits = self.cls.predictions(out.last_hidden_state)
        loss = None
        if labels_input_ids is not None:
            loss = token_loss(logits, labels_input_ids)
            if attack_input_ids is not None:
                ids = labels_input_ids.masked_fill(labels_input_ids == -100, self.config.pad_token_id)
                shapes, sounds = labels_input_shape_ids, labels_input_pronunciation_ids
                clean = encode(ids, shapes, sounds, labels_attention_mask, labels_token_type_ids)
                shapes, sounds = attack_input_shape_ids, attack_input_pronunciation_ids
                attacked = encode(attack_input_ids, shapes, sounds, attack_attention_mask, attack_token_type_ids)
                loss = contrast(out.pooler_output, clean.pooler_output, attacked.pooler_output) + loss
        return finish(MaskedLMOutput(loss, logits, out.hidden_states, out.attentions), return_dict, self.config)


def contrast(hidden: Tensor, clean: Tensor, attacked: Tensor) -> Tensor:
    """How well the attacked copies are told apart, from the hidden texts and from the clean ones; (batch, dim) each."""
    hidden, clean, attacked = (F.normalize(x, dim=-1) for x in (hidden, clean, attacked))
    own = torch.arange(len(hidden), device=hidden.device)
    return sum(F.cross_entropy(100 * side @ attacked.T, own) for side in (hidden, clean)) / 2  # type: ignore[return-value]
