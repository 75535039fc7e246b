"""Defaults of TAPAS's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import DECODES, ENCODER, without


def complete(c: PreTrainedConfig) -> None:
    """JSON has names for numbers where labels of aggregations are meant by number."""
    if isinstance(c.aggregation_labels, dict):
        c.aggregation_labels = {int(number): label for number, label in c.aggregation_labels.items()}


CONFIGS = {
    "tapas": ConfigSpec(
        without(ENCODER | DECODES, "type_vocab_size", "use_cache")
        | dict(
            max_position_embeddings=1024,
            type_vocab_sizes=[3, 256, 256, 2, 256, 256, 10],
            positive_label_weight=10.0,
            num_aggregation_labels=0,
            aggregation_loss_weight=1.0,
            use_answer_as_supervision=None,
            answer_loss_importance=1.0,
            use_normalized_answer_loss=False,
            huber_loss_delta=None,
            temperature=1.0,
            aggregation_temperature=1.0,
            use_gumbel_for_cells=False,
            use_gumbel_for_aggregation=False,
            average_approximation_function="ratio",
            cell_selection_preference=None,
            answer_loss_cutoff=None,
            max_num_rows=64,
            max_num_columns=32,
            average_logits_per_cell=False,
            select_one_column=True,
            allow_empty_column_selection=False,
            init_cell_selection_weights_to_zero=False,
            reset_position_index_per_cell=True,
            disable_per_token_loss=False,
            aggregation_labels=None,
            no_aggregation_label_index=None,
        ),
        complete=complete,
    )
}
