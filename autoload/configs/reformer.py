"""Defaults of Reformer's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig


def complete(c: PreTrainedConfig) -> None:
    """The kinds of attention say how many layers there are."""
    c.num_hidden_layers = len(c.attn_layers)


CONFIGS = {
    "reformer": ConfigSpec(
        dict(
            attention_head_size=64,
            attn_layers=["local", "lsh", "local", "lsh", "local", "lsh"],
            axial_norm_std=1.0,
            axial_pos_embds=True,
            axial_pos_shape=[64, 64],
            axial_pos_embds_dim=[64, 192],
            chunk_size_lm_head=0,
            eos_token_id=2,
            feed_forward_size=512,
            hash_seed=None,
            hidden_act="relu",
            hidden_dropout_prob=0.05,
            hidden_size=256,
            initializer_range=0.02,
            is_decoder=False,
            layer_norm_eps=1e-12,
            local_num_chunks_before=1,
            local_num_chunks_after=0,
            local_attention_probs_dropout_prob=0.05,
            local_attn_chunk_length=64,
            lsh_attn_chunk_length=64,
            lsh_attention_probs_dropout_prob=0.0,
            lsh_num_chunks_before=1,
            lsh_num_chunks_after=0,
            max_position_embeddings=4096,
            num_attention_heads=12,
            num_buckets=None,
            num_hashes=1,
            vocab_size=320,
            tie_word_embeddings=False,
            use_cache=True,
            classifier_dropout=None,
            bos_token_id=None,
            pad_token_id=0,
        ),
        complete=complete,
        ignore_at_inference=("past_buckets_states",),
    )
}
