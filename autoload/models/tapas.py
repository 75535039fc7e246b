"""TAPAS: BERT on tables, with a token type for each of column, row, rank and so on.

Herzig et al. 2020 (arXiv:2004.02349).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Model, Spec

COLUMN, ROW = 1, 2  # among the kinds of token types


class TapasEmbeddings(Embeddings):
    """Several kinds of token types; positions start again in each cell."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.sizes, self.resets = config.type_vocab_sizes, config.reset_position_index_per_cell
        for kind, size in enumerate(self.sizes):
            self.add_module(f"token_type_embeddings_{kind}", nn.Embedding(size, config.hidden_size))

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
    ) -> Tensor:
        """token_type_ids: (batch, seq, kinds)."""
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            token_type_ids = torch.zeros((*x.shape[:2], len(self.sizes)), dtype=torch.long, device=x.device)
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
            if self.resets:
                position_ids = self.within_cells(position_ids, token_type_ids)
        x = x + self.position_embeddings(position_ids)
        for kind in range(len(self.sizes)):
            x = x + self.get_submodule(f"token_type_embeddings_{kind}")(token_type_ids[..., kind])
        return self.finish(x)

    def within_cells(self, position_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """Positions counted from the first token of the cell; (batch, seq)."""
        cells = token_type_ids[..., COLUMN] * self.sizes[ROW] + token_type_ids[..., ROW]
        count = self.sizes[COLUMN] * self.sizes[ROW]
        first = position_ids.new_full((len(cells), count), position_ids.shape[1])
        first = first.scatter_reduce(1, cells, position_ids, "amin")
        return (position_ids - first.gather(1, cells)).clamp(max=self.position_embeddings.num_embeddings - 1)


VARIANTS = {
    "tapas": Variant(
        lambda c: Spec(token_types=False, embeddings=TapasEmbeddings),
        members={"base_model_prefix": "tapas", "empty_cross_attentions": False},
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model}
