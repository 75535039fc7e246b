"""Defaults of NLLB-MoE's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bart import BART, NAMES, without

CONFIGS = {
    "nllb-moe": ConfigSpec(
        without(BART, "classifier_dropout", "forced_eos_token_id", "is_decoder")
        | dict(
            vocab_size=128112,
            encoder_layerdrop=0.05,
            decoder_layerdrop=0.05,
            activation_function="relu",
            attention_dropout=0.1,
            scale_embedding=True,
            router_bias=False,
            router_dtype="float32",
            router_ignore_padding_tokens=False,
            num_experts=128,
            expert_capacity=64,
            encoder_sparse_step=4,
            decoder_sparse_step=4,
            router_z_loss_coef=0.001,
            router_aux_loss_coef=0.001,
            second_expert_policy="all",
            normalize_router_prob_before_dropping=False,
            batch_prioritized_routing=False,
            moe_eval_capacity_token_fraction=1.0,
            moe_token_dropout=0.2,
            output_router_logits=False,
        ),
        aliases=NAMES,
    ),
}
