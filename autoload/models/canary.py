"""Canary and Cohere's ASR: a conformer reads the sound, a transformer with positions from a table writes the text.

Puvvada et al. 2024 (arXiv:2406.19674).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.cache import EncoderDecoderCache
from autoload.model import Variant
from autoload.models import seq2seq, speech
from autoload.models.gpt_decoder import GroupedAttention


@dataclass(frozen=True)
class Spec:
    """What tells the two types apart."""

    decoder: Any  # the configuration of the decoder
    learned: bool = False  # positions; they are waves otherwise
    projects: bool = False  # the encoder's states, to the decoder's width


class Waves(nn.Module):
    """Sines, then cosines, of the positions; the longest wave is that of the last pair of dimensions."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, positions: Tensor) -> Tensor:
        """(...) to (..., dim)."""
        half = self.size // 2
        longest = math.log(10000) * (self.size - 2) / self.size
        speeds = torch.exp(torch.arange(half, device=positions.device).float() * (-longest / (half - 1)))
        angles = positions[..., None] * speeds
        return torch.cat([angles.sin(), angles.cos()], -1) / math.sqrt(self.size)


class MLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any):
        super().__init__()
        self.activation_fn = Activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class DecoderLayer(nn.Module):
    """Attention, cross-attention and a wide layer, each after its norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size = config.hidden_size
        options = dict(kv_heads=config.num_key_value_heads, head_dim=config.head_dim, bias=config.attention_bias)
        options["dropout"] = config.attention_dropout
        self.self_attn = GroupedAttention(size, config.num_attention_heads, layer_idx, **options)
        self.encoder_attn = GroupedAttention(size, config.num_attention_heads, layer_idx, cross=True, **options)
        self.mlp = MLP(config)
        self.input_layernorm, self.post_attention_layernorm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.final_layernorm = nn.LayerNorm(size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), context)
        if context.encoder is not None:
            x = x + self.encoder_attn(self.post_attention_layernorm(x), context)
        return x + self.mlp(self.final_layernorm(x))


class Decoder(seq2seq.Decoder):
    """Writes what was said."""

    _no_split_modules = ["DecoderLayer"]

    def __init__(self, config: Any, spec: Spec, source: int):
        super().__init__(config)
        size = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, size, config.pad_token_id)
        self.pos_emb = nn.Embedding(config.max_position_embeddings, size) if spec.learned else Waves(size)
        self.embedding_layernorm = nn.LayerNorm(size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(size)
        self.proj = nn.Linear(source, size) if spec.projects else None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As every decoder's, with positions where they are not counted from the first token: (batch, target)."""
        x = self.lookup(input_ids, inputs_embeds, "decoder_")
        if position_ids is None:
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = torch.arange(x.shape[1], device=x.device) + past
        x = self.embedding_layernorm(x + self.pos_emb(position_ids).to(x.dtype))
        # Keys and values of the sound are made in the first step.
        seen = isinstance(past_key_values, EncoderDecoderCache) and past_key_values.is_updated.get(0)
        if self.proj is not None and encoder_hidden_states is not None and not seen:
            encoder_hidden_states = self.proj(encoder_hidden_states)
        return super().forward(
            *(None, attention_mask, encoder_hidden_states, encoder_attention_mask, past_key_values, x, use_cache),
            **kwargs,
        )

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return x

    def close(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Transcriber(seq2seq.EncoderDecoder):
    """What the model and its head can both do."""

    def after_resize(self, count: int) -> None:
        self.config.vocab_size = count  # Canary's configuration has it twice


class Model(Transcriber, speech.Model):
    """Encoder and decoder without a head."""

    def make_sides(self, config: Any) -> None:
        from autoload import registry

        spec = self.variant.spec(config)
        self.encoder = registry.class_for(config.encoder_config, "Model")(config.encoder_config)
        self.decoder = Decoder(spec.decoder, spec, config.encoder_config.hidden_size)

    def source_mask(self, source: Any, attention_mask: Tensor | None) -> Tensor | None:
        mask = getattr(source, "attention_mask", None)
        if mask is not None or attention_mask is None:
            return mask
        return self.encoder._get_output_attention_mask(attention_mask, source.last_hidden_state.shape[1])


class LM(Transcriber, speech.LM):
    """Scores of the text's next token."""

    output_path = "proj_out"

    def make_head(self, config: Any, table: Any) -> None:
        self.proj_out = nn.Linear(table.embedding_dim, table.num_embeddings)

    @property
    def ties_weights(self) -> bool:
        return self.config.tie_word_embeddings

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, audio_chunk_index: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As every model's; what a processor says of the pieces of a long sound is not for the model."""
        return super().prepare_inputs_for_generation(input_ids, *args, **kwargs)


def featurizer(config: Any) -> str:
    """Names of what files of NeMo hold of their feature extractor."""
    return r"(?:^|\.)preprocessor\.featurizer\."


# Cohere's files have the names of NeMo.
ENCODER = dict(
    {f"self_attn.linear_{name}": f"self_attn.{name}_proj" for name in "qkv"},
    **{"self_attn.linear_out": "self_attn.o_proj", "self_attn.linear_pos": "self_attn.relative_k_proj"},
    **{f"self_attn.pos_bias_{name}": f"self_attn.bias_{name}" for name in "uv"},
    **{"conv.batch_norm": "conv.norm"},
)
PROJECTIONS = dict(query_net="q_proj", key_net="k_proj", value_net="v_proj", out_projection="o_proj")
DECODER = dict(
    {f"first_sub_layer.{theirs}": f"self_attn.{ours}" for theirs, ours in PROJECTIONS.items()},
    **{f"second_sub_layer.{theirs}": f"encoder_attn.{ours}" for theirs, ours in PROJECTIONS.items()},
    **{"third_sub_layer.dense_in": "mlp.fc1", "third_sub_layer.dense_out": "mlp.fc2"},
    **dict(layer_norm_1="input_layernorm", layer_norm_2="post_attention_layernorm", layer_norm_3="final_layernorm"),
)
NEMO = (
    Rename("encoder.pre_encode.conv", "encoder.subsampling.layers"),
    Rename("encoder.pre_encode.out", "encoder.subsampling.linear"),
    *(Rename(f"encoder.layers.*.{theirs}", f"encoder.layers.*.{ours}") for theirs, ours in ENCODER.items()),
    Rename("transf_decoder._embedding.token_embedding", "decoder.embed_tokens"),
    Rename("transf_decoder._embedding.position_embedding.pos_enc", "decoder.pos_emb.weight"),
    Rename("transf_decoder._embedding.layer_norm", "decoder.embedding_layernorm"),
    *(
        Rename(f"transf_decoder._decoder.layers.*.{theirs}", f"decoder.layers.*.{ours}")
        for theirs, ours in DECODER.items()
    ),
    Rename("transf_decoder._decoder.final_layer_norm", "decoder.norm"),
    Rename("encoder_decoder_proj", "decoder.proj"),
    Rename("log_softmax.mlp.layer0", "proj_out"),
)
VARIANTS = {
    "canary": Variant(lambda c: Spec(c.decoder_config), ignores=featurizer),
    "cohere_asr": Variant(lambda c: Spec(c, learned=True, projects=True), keys=NEMO, ignores=featurizer),
}
TASKS = {"Model": Model, "SpeechSeq2Seq": LM}
