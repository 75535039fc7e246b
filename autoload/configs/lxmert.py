"""Defaults of LXMERT's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER, without


def complete(c: PreTrainedConfig) -> None:
    """The three stacks, under the usual name."""
    c.num_hidden_layers = {"vision": c.r_layers, "cross_encoder": c.x_layers, "language": c.l_layers}


CONFIGS = {
    "lxmert": ConfigSpec(
        without(ENCODER, "layer_norm_eps")
        | dict(
            num_qa_labels=9500,
            num_object_labels=1600,
            num_attr_labels=400,
            num_hidden_layers={},
            l_layers=9,
            x_layers=5,
            r_layers=5,
            visual_feat_dim=2048,
            visual_pos_dim=4,
            visual_loss_normalizer=6.67,
            task_matched=True,
            task_mask_lm=True,
            task_obj_predict=True,
            task_qa=True,
            visual_obj_loss=True,
            visual_attr_loss=True,
            visual_feat_loss=True,
            pad_token_id=None,
        ),
        complete=complete,
    )
}
