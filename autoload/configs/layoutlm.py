"""Defaults of the configurations of encoders that know where a word stands."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import DECODES, ENCODER, without


def box_sizes(c: PreTrainedConfig) -> None:
    """Sizes of the boxes' vectors follow from the model's."""
    c.dim_bbox_sinusoid_emb_2d = c.hidden_size // 4
    c.dim_bbox_sinusoid_emb_1d = c.dim_bbox_sinusoid_emb_2d // c.dim_bbox
    c.dim_bbox_projection = c.hidden_size // c.num_attention_heads


CONFIGS = {
    "layoutlm": ConfigSpec(ENCODER | dict(use_cache=True, max_2d_position_embeddings=1024)),
    "bros": ConfigSpec(
        without(ENCODER | DECODES, "bos_token_id", "eos_token_id", "tie_word_embeddings", "use_cache")
        | dict(dim_bbox=8, bbox_scale=100.0, n_relations=1, classifier_dropout_prob=0.1),
        complete=box_sizes,
    ),
    "markuplm": ConfigSpec(
        without(ENCODER, "tie_word_embeddings")
        | dict(
            bos_token_id=0,
            eos_token_id=2,
            max_xpath_tag_unit_embeddings=256,
            max_xpath_subs_unit_embeddings=1024,
            tag_pad_id=216,
            subs_pad_id=1001,
            xpath_unit_hidden_size=32,
            max_depth=50,
            use_cache=True,
            classifier_dropout=None,
        )
    ),
}
