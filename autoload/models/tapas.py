"""TAPAS: BERT on tables, with a token type for each of column, row, rank and so on.

Herzig et al. 2020 (arXiv:2004.02349).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli, RelaxedOneHotCategorical

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import Head
from autoload.model import Variant, finish
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Model, Spec
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class TableQuestionAnsweringOutput(ModelOutput):
    """`logits` (batch, seq) of the tokens of a table, `logits_aggregation` (batch, operations) of what to do with them."""

    loss: Any = None
    logits: Tensor = ALWAYS
    logits_aggregation: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


COLUMN, ROW = 1, 2  # among the kinds of token types
IMPOSSIBLE = -10000.0  # a score that leaves no chance
TINY = 1e-10  # keeps divisions by nothing finite


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


@dataclass
class Table:
    """Which cell each token is in. Column 0 is the question, row 0 the headers."""

    cells: Tensor  # (batch, seq), row times columns plus column
    rows: int
    columns: int
    real: Tensor  # (batch, rows * columns), share of each cell that is no padding; 0 where there is no such cell

    @classmethod
    def of(cls, token_type_ids: Tensor, attention_mask: Tensor, config: Any) -> Table:
        rows, columns = config.max_num_rows, config.max_num_columns
        row, column = token_type_ids[..., ROW].clamp(max=rows - 1), token_type_ids[..., COLUMN].clamp(max=columns - 1)
        table = cls(row * columns + column, rows, columns, attention_mask)
        table.real = table.per_cell(attention_mask)
        return table

    def per_cell(self, x: Tensor, how: str = "mean") -> Tensor:
        """Numbers of tokens as numbers of cells, 0 in empty ones; (batch, seq) to (batch, rows * columns)."""
        out = x.new_zeros((len(x), self.rows * self.columns), dtype=torch.float32)
        return out.scatter_reduce(1, self.cells, x.float(), how, include_self=False).to(x.dtype)

    def per_column(self, x: Tensor) -> Tensor:
        """Sum over the rows; (batch, rows * columns) to (batch, columns)."""
        return x.unflatten(1, (self.rows, self.columns)).sum(1)

    def per_token(self, x: Tensor) -> Tensor:
        """(batch, rows * columns) to (batch, seq)."""
        return x.gather(1, self.cells)

    def column_is(self, columns: Tensor) -> Tensor:
        """1.0 in the cells of the column that each text names; columns: (batch,)."""
        places = torch.arange(self.rows * self.columns, device=columns.device) % self.columns
        return (places == columns[:, None]).float()


class TableAnswer(Head):
    """Which cells answer a question, and what to do with them: nothing, add up, average or count."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.base_model.packs = False  # the mean of a cell counts padding in
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.output_weights = nn.Parameter(torch.zeros(config.hidden_size))
        self.column_output_weights = nn.Parameter(torch.zeros(config.hidden_size))
        self.output_bias = nn.Parameter(torch.zeros([]))
        self.column_output_bias = nn.Parameter(torch.zeros([]))
        if config.num_aggregation_labels > 0:
            self.aggregation_classifier = nn.Linear(config.hidden_size, config.num_aggregation_labels)

    def init_own(self, std: float) -> None:
        for weight in (self.output_weights, self.column_output_weights):
            weight.zero_() if self.config.init_cell_selection_weights_to_zero else weight.normal_(0.0, std)
        self.output_bias.zero_()
        self.column_output_bias.zero_()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        table_mask: Tensor | None = None,
        labels: Tensor | None = None,
        aggregation_labels: Tensor | None = None,
        float_answer: Tensor | None = None,
        numeric_values: Tensor | None = None,
        numeric_values_scale: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of the tokens, and of what to do with the cells.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids: (batch, seq, kinds).
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            table_mask: (batch, seq), 1 in cells; None: where the row is not 0.
            labels: (batch, seq), 1 in the cells of the answer.
            aggregation_labels: (batch,), what to do with the cells.
            float_answer: (batch,), the number asked for; NaN where it is not a number.
            numeric_values, numeric_values_scale: (batch, seq), of the tokens' numbers; NaN at other tokens.
            return_dict: False gives a tuple.
        """
        config = self.config
        out = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        x = self.dropout(out.last_hidden_state)
        if token_type_ids is None:
            token_type_ids = torch.zeros(
                (*x.shape[:2], len(config.type_vocab_sizes)), dtype=torch.long, device=x.device
            )
        mask = torch.ones(x.shape[:2], device=x.device) if attention_mask is None else attention_mask.float()
        table = Table.of(token_type_ids, mask, config)
        scores = (x @ self.output_weights + self.output_bias) / config.temperature  # (batch, seq)
        columns = self.score_columns(x, table) if config.select_one_column else None
        operations = self.aggregation_classifier(out.pooler_output) if config.num_aggregation_labels > 0 else None
        if labels is not None and config.average_logits_per_cell:
            scores = table.per_token(table.per_cell(scores))
        chosen = scores if columns is None else within_best_column(scores, columns, table)
        loss = None
        if labels is not None:
            if columns is None:
                selection = token_selection_loss(scores, labels, mask, config.positive_label_weight)
            else:
                selection = column_selection_loss(scores, columns, labels, table)
            in_table = (token_type_ids[..., ROW] > 0 if table_mask is None else table_mask).float()
            numbers = (numeric_values, numeric_values_scale, in_table)
            loss = self.loss(selection, labels, chosen, operations, aggregation_labels, float_answer, numbers)
        result = self.hand_on(
            TableQuestionAnsweringOutput, out, loss=loss, logits=chosen, logits_aggregation=operations
        )
        return finish(result, return_dict, config)

    def score_columns(self, x: Tensor, table: Table) -> Tensor:
        """Mean score of a column's cells; (batch, columns)."""
        scores = table.per_cell(x @ self.column_output_weights + self.column_output_bias)
        count = table.per_column(table.real)
        scores = table.per_column(scores * table.real) / (count + TINY)
        none = torch.arange(table.columns, device=x.device) == 0  # that no cell answers
        scores = scores + IMPOSSIBLE * ((count < 0.5) & ~none)
        return scores if self.config.allow_empty_column_selection else scores + IMPOSSIBLE * none

    def loss(
        self,
        selection: Tensor,
        labels: Tensor,
        chosen: Tensor,
        operations: Tensor | None,
        aggregation_labels: Tensor | None,
        answer: Tensor | None,
        numbers: tuple[Any, Any, Tensor],
    ) -> Tensor:
        """Of the cells, and of what is done with them; where only the answer is known, of the number that results."""
        config = self.config
        weak = operations is not None and config.use_answer_as_supervision
        aggregates = self.aggregates(answer, labels, operations) if weak else torch.zeros_like(selection)
        loss = selection.new_zeros(()) if config.disable_per_token_loss else (selection * (1 - aggregates)).mean()
        if operations is None:
            return loss
        if not weak:
            if aggregation_labels is None:
                text = "forward: labels need aggregation_labels beside them (num_aggregation_labels is set)."
                raise ArgumentError(text, name="aggregation_labels")
            known = F.cross_entropy(operations, aggregation_labels, reduction="none")
            return loss + (config.aggregation_loss_weight * known).mean()
        plain = F.cross_entropy(operations, torch.zeros_like(aggregates, dtype=torch.long), reduction="none")
        some = -operations.softmax(-1)[:, 1:].sum(1).log()
        further = config.aggregation_loss_weight * (plain * (1 - aggregates) + some * aggregates)
        return loss + self.add_regression(further, aggregates, answer, chosen, operations, numbers).mean()

    def aggregates(self, answer: Tensor | None, labels: Tensor, operations: Any) -> Tensor:
        """1.0 where cells must be put together for the answer; (batch,)."""
        if answer is None:
            raise ArgumentError(
                "forward: labels need float_answer beside them (use_answer_as_supervision).", name="float_answer"
            )
        if self.config.cell_selection_preference is None:
            raise ConfigError("cell_selection_preference", None, "a number, for use_answer_as_supervision")
        mass = operations.softmax(-1)[:, 1:].sum(1)
        picks = (mass <= self.config.cell_selection_preference) & (labels.sum(1) > 0)
        return (~answer.isnan() & ~picks).float().detach()

    def add_regression(
        self, further: Tensor, aggregates: Tensor, answer: Any, chosen: Tensor, operations: Any, numbers: Any
    ) -> Tensor:
        """The loss of the number that results; (batch,)."""
        config, (values, scale, in_table) = self.config, numbers
        if values is None or scale is None:
            text = (
                "forward: labels need numeric_values and numeric_values_scale beside them (use_answer_as_supervision)."
            )
            raise ArgumentError(text, name="numeric_values")
        found, answer = expected_result(chosen, operations, values, scale, in_table, config), answer.nan_to_num()
        delta = config.huber_loss_delta
        if config.use_normalized_answer_loss:
            size = (torch.maximum(found.abs(), answer.abs()) + TINY).detach()
            found, answer, delta = found / size, answer / size, 1.0
        if delta is None:
            raise ConfigError("huber_loss_delta", None, "a number, or use_normalized_answer_loss=true")
        error = F.huber_loss(found * aggregates, answer * aggregates, reduction="none", delta=delta)
        total = further + config.answer_loss_importance * error * aggregates
        return total if config.answer_loss_cutoff is None else total * (error <= config.answer_loss_cutoff)


def within_best_column(scores: Tensor, columns: Tensor, table: Table) -> Tensor:
    """Mean scores of cells, those outside of the best column made impossible; (batch, seq)."""
    best = columns.argmax(-1)
    allowed = table.column_is(best) * (best != 0)[:, None]
    return table.per_token(table.per_cell(scores) + IMPOSSIBLE * (1 - table.real * allowed))


def token_selection_loss(scores: Tensor, labels: Tensor, mask: Tensor, weight: float) -> Tensor:
    """Of each token by itself; (batch,)."""
    losses = F.binary_cross_entropy_with_logits(scores, labels.float(), reduction="none")
    losses = losses * torch.where(labels == 0, 1.0, weight)
    return (losses * mask).sum(1) / (mask.sum(1) + TINY)


def column_selection_loss(scores: Tensor, columns: Tensor, labels: Tensor, table: Table) -> Tensor:
    """Of the column, then of the cells in it; (batch,)."""
    selected = table.per_column(table.per_cell(labels.float(), "sum"))
    some = selected.amax(-1) > 0
    target = selected.argmax(-1) * some  # column 0: none
    wanted = table.per_cell(labels, "amax").float()
    losses = F.binary_cross_entropy_with_logits(table.per_cell(scores), wanted, reduction="none")
    counted = table.column_is(target) * table.real
    in_column = (losses * counted).sum(1) / (counted.sum(1) + TINY)
    return F.cross_entropy(columns, target, reduction="none") + in_column * some


def expected_result(
    scores: Tensor, operations: Tensor, values: Tensor, scale: Tensor, in_table: Tensor, config: Any
) -> Tensor:
    """Sum, average and count of the cells, each by its chance; (batch,)."""
    if config.use_gumbel_for_cells:
        drawn: Tensor = RelaxedBernoulli(config.temperature, logits=scores * config.temperature).sample()  # type: ignore[assignment]
    else:
        drawn = scores.sigmoid()
    chance = drawn / scale * in_table
    values = torch.where(values.isnan(), 0.0, values)
    total, count = (chance * values).sum(1), chance.sum(1)
    others = chance.sum(1, keepdim=True) - chance + 1
    how = config.average_approximation_function
    if how == "ratio":
        average = total / (count + TINY)
    elif how == "first_order":
        average = (values * chance / others).sum(1)
    elif how == "second_order":
        spread = chance * (1 - chance)
        spread = spread.sum(1, keepdim=True) - spread
        average = (values * chance * (spread / others.square() + 1) / others).sum(1)
    else:
        raise ConfigError("average_approximation_function", how, "'ratio', 'first_order' or 'second_order'")
    if config.use_gumbel_for_aggregation:
        temperature = config.aggregation_temperature
        kind: Tensor = RelaxedOneHotCategorical(temperature, logits=operations[:, 1:]).sample()  # type: ignore[assignment]
    else:
        kind = (operations[:, 1:] / config.aggregation_temperature).softmax(-1)
    return (torch.stack([total, average, count], 1) * kind).sum(1)


VARIANTS = {
    "tapas": Variant(
        lambda c: Spec(token_types=False, embeddings=TapasEmbeddings),
        members={"base_model_prefix": "tapas", "empty_cross_attentions": False},
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model, "TableQuestionAnswering": TableAnswer}
