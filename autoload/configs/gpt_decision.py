"""Defaults of the decision transformer's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.gpt import GPT2, NAMES, without

CONFIGS = {
    "decision_transformer": ConfigSpec(
        without(GPT2, "n_embd", "pad_token_id", "tie_word_embeddings")
        | dict(
            state_dim=17,
            act_dim=4,
            hidden_size=128,
            max_ep_len=4096,
            action_tanh=True,
            vocab_size=1,
            n_layer=3,
            n_head=1,
            activation_function="relu",
        ),
        aliases=without(NAMES, "hidden_size"),
    ),
}
