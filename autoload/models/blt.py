"""The Byte Latent Transformer: blt.

Pagnoni et al. 2024 (arXiv:2412.09871). It reads bytes. A small model, the patcher, cuts them into patches where it is
unsure of the next byte; the local encoder reads bytes and pools each patch, the global transformer reads patches, and
the local decoder reads bytes that look at the patch before theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.attention import Context, Mask, attend, decoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.layers.rope import Rotary
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.blt_patches import (
    PRIMES,
    hash_ids,
    patch_ids_of,
    patch_lengths_of,
    pooled,
    same_patch,
    split_patches,
)
from autoload.models.decoder_layer import Attention, Layer, Spec, head_dim, layer_kinds, norm_eps
from autoload.outputs import BaseModelOutputWithPast


class PatchAttention(Attention):
    """Attention to the other resolution: patches look at bytes, or bytes at patches. Its input comes out with it."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.q_norm = spec.norm(config.hidden_size, norm_eps(config))
        self.k_norm = spec.norm(config.hidden_size, norm_eps(config))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        other = self.k_norm(context.encoder)
        parts = self.q_proj(self.q_norm(x)), self.k_proj(other), self.v_proj(other)
        q, k, v = (part.unflatten(-1, (-1, self.dim)).transpose(1, 2) for part in parts)  # (batch, heads, seq, dim)
        dropout = self.dropout if self.training else 0.0
        return x + self.o_proj(attend(q, k, v, context.encoder_mask, context, scale=self.scale, dropout=dropout))


class Stack(nn.Module):
    """Layers over bytes or patches, with a rotary table of their own."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.kind, self.dropout = layer_kinds(config)[0], config.dropout
        self.layers = nn.ModuleList(Layer(config, spec, i) for i in range(config.num_hidden_layers))
        self.rotary_emb = Rotary(
            config.rope_parameters, head_dim(config), config.max_position_embeddings, spec.interleaved
        )
        self.make_parts(config, spec)
        for part in self.modules():
            if isinstance(part, Attention):
                part.dropout = config.dropout

    def make_parts(self, config: Any, spec: Spec) -> None:
        """What stands beside the layers."""

    def make_cross_attention(self, config: Any, spec: Spec, width: int) -> None:
        """Attention to the other resolution, and the matrix that makes `cross_attn_k` states of each patch."""
        self.everywhere, self.width = config.cross_attn_all_layers, config.hidden_size
        self.patch_embedding_projection = nn.Linear(width, config.hidden_size * config.cross_attn_k, bias=False)
        count = config.num_hidden_layers if self.everywhere else 1
        self.cross_attn_layers = nn.ModuleList(PatchAttention(config, spec, i) for i in range(count))

    def spread(self, patches: Tensor) -> Tensor:
        """Several states of each patch; (batch, patches * cross_attn_k, dim)."""
        return self.patch_embedding_projection(patches).unflatten(-1, (-1, self.width)).flatten(1, 2)

    def placed(self, context: Context, positions: Tensor, mask: Mask, dtype: torch.dtype) -> Context:
        """The context of these layers."""
        return replace(context, masks={self.kind: mask}, rope={self.kind: self.rotary_emb(positions, dtype)})

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def climb(self, x: Tensor, context: Context, run: Callable[..., Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last layer; and, where asked for, before the first and after each."""
        seen = []
        for layer in self.layers:
            if context.states and not seen:
                seen.append(x)
            x = run(layer, x, context)
            if context.states:
                seen.append(x)
        return x, seen


class Patcher(Stack):
    """A small model of bytes, whose doubt about the next one says where a patch begins."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        self.window = config.sliding_window
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = spec.norm(config.hidden_size, norm_eps(config))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids: Tensor, context: Context, run: Callable[..., Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Entropy of what may follow each byte, in nats; and the states of the layers."""
        x, length = self.embed_tokens(input_ids), input_ids.shape[1]
        mask = decoder_mask(None, length, length, 0, 0, x.device, window=self.window)
        positions = torch.arange(length, device=x.device)[None]
        x, seen = self.climb(x, self.placed(context, positions, mask, x.dtype), run)
        logits = self.lm_head(self.norm(x))
        log_p = logits - logits.logsumexp(-1, keepdim=True)
        return -(log_p * log_p.softmax(-1)).sum(-1), seen  # (batch, seq)


class LocalEncoder(Stack):
    """Reads bytes, and pools those of each patch."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.make_cross_attention(config, spec, config.hidden_size)

    def forward(
        self, x: Tensor, context: Context, patch_ids: Tensor, count: int, run: Callable[..., Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Bytes (batch, seq, dim) and patches (batch, patches * cross_attn_k, dim)."""
        x = self.drop(self.drop(x))
        patches = x
        for i, layer in enumerate(self.layers):
            x = run(layer, x, context)
            if self.everywhere or i == len(self.layers) - 1:
                patches = self.spread(pooled(x, patch_ids, count))
                look = self.cross_attn_layers[i if self.everywhere else 0]
                patches = patches + run(look, patches, replace(context, encoder=x))
        return x, patches


class GlobalTransformer(Stack):
    """Reads patches."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        width = config.encoder_cross_output_size
        self.token_embedding_projection = (
            nn.Identity() if width is None else nn.Linear(width, config.hidden_size, bias=False)
        )

    def forward(self, patches: Tensor, context: Context, run: Callable[..., Tensor]) -> Tensor:
        x, count = self.drop(self.token_embedding_projection(patches)), patches.shape[1]
        mask = decoder_mask(None, count, count, 0, 0, x.device)
        positions = torch.arange(count, device=x.device)[None]
        return self.climb(x, self.placed(context, positions, mask, x.dtype), run)[0]


class LocalDecoder(Stack):
    """Reads bytes, which look at the patch before theirs."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        self.make_cross_attention(config, spec, config.hidden_size_global)
        self.norm = spec.norm(config.hidden_size, norm_eps(config))

    def forward(
        self, x: Tensor, patches: Tensor, context: Context, run: Callable[..., Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        x, context, seen = self.drop(x), replace(context, encoder=self.spread(patches)), []
        for i, layer in enumerate(self.layers):
            if self.everywhere or i == 0:
                x = x + run(self.cross_attn_layers[i], x, context)
            if context.states and not seen:
                seen.append(x)
            x = run(layer, x, context)
            if context.states:
                seen.append(x)
        return self.norm(x), seen


class Model(PreTrainedModel):
    """Bytes to patches and back, without a head."""

    base_model_prefix = "model"
    embeddings_path = "local_encoder.embed_tokens"
    _no_split_modules = ["Layer", "PatchAttention"]

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.local_encoder = LocalEncoder(config.encoder_config, spec)
        self.global_transformer = GlobalTransformer(config.global_config, spec)
        self.local_decoder = LocalDecoder(config.decoder_config, spec)
        tables = config.encoder_hash_byte_group_nb_functions * len(config.encoder_hash_byte_group_size)
        rows = config.encoder_hash_byte_group_vocab * tables
        self.encoder_hash_tok_embedding = nn.Embedding(rows, config.encoder_config.hidden_size)
        self.patcher = None
        if config.patch_in_forward:
            self.patcher = Patcher(config.patcher_config, spec).requires_grad_(False)  # no loss reaches it

    def init_weights(self) -> None:
        init_by_width(self)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Embeddings of the bytes and of the groups that end in them."""
        config, x = self.config, self.get_input_embeddings()(input_ids)
        rows, table = config.encoder_hash_byte_group_vocab, 0
        for i in range(config.encoder_hash_byte_group_nb_functions):
            for size in config.encoder_hash_byte_group_size:
                ids = hash_ids(input_ids, size, PRIMES[i % len(PRIMES)], rows)
                x = x + self.encoder_hash_tok_embedding(ids + table * rows)
                table += 1
        return x

    def cut(self, input_ids: Tensor | None, embeds: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """Lengths of the patches, and the states of the patcher."""
        config = self.config
        if self.patcher is None or config.patching_mode != "entropy":
            return torch.ones(embeds.shape[0], embeds.shape[1] + 1, dtype=torch.long, device=embeds.device), []
        if input_ids is None:
            raise ArgumentError(
                "forward: patches are cut by input_ids; pass these, or patch_lengths.", name="input_ids"
            )
        with torch.no_grad():
            entropies, seen = self.patcher(input_ids, context, self.run)
        if config.patch_size is None:
            lengths = torch.ones_like(input_ids)
        else:
            lengths = patch_lengths_of(entropies, config.patching_threshold)
        longest = config.max_patch_length
        return (lengths if longest is None else split_patches(lengths, longest)), seen

    def forward(
        self,
        input_ids: Tensor | None = None,
        patch_lengths: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the bytes.

        With a cache, patches are cut within the bytes of each call, and the global transformer sees those alone.

        Args:
            input_ids: (batch, seq).
            patch_lengths: (batch, patches), in place of what the patcher finds.
            attention_mask: (batch, all bytes so far), 0 at padding; or a ready mask (batch, 1, queries, keys).
            position_ids: (batch, seq).
            past_key_values: cache of earlier steps, of the local encoder and the local decoder.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of the patcher's and the local decoder's layers.
            return_dict: False gives a tuple.
        """
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        caching = config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        cache = past_key_values
        if getattr(cache, "is_compileable", False):
            raise ArgumentError("forward: blt takes a cache that grows, not one of fixed size.", name="past_key_values")
        if (caching or cache is not None) and not isinstance(cache, EncoderDecoderCache):
            cache = EncoderDecoderCache(cache, DynamicCache())
        x = inputs_embeds if input_ids is None else self.embed(input_ids)
        assert x is not None
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(kernel=kernel_of(config), attentions=[] if attentions else None, states=bool(states))
        seen: list[Tensor] = []
        if patch_lengths is None:
            patch_lengths, seen = self.cut(input_ids, x, context)
        x, more = self.pass_through(x, patch_lengths, attention_mask, position_ids, cache, context)
        seen = [*seen, *(more[1:] if seen else more)]
        out = BaseModelOutputWithPast(
            x,
            cache if caching else None,
            (*seen[:-1], x) if states else None,
            None if context.attentions is None else tuple(context.attentions),
        )
        return finish(out, return_dict, config)

    def pass_through(
        self, x: Tensor, lengths: Tensor, attention_mask: Any, position_ids: Tensor | None, cache: Any, context: Context
    ) -> tuple[Tensor, list[Tensor]]:
        """Embeddings to bytes, patches and bytes again; and the states of the local decoder."""
        seq, count, dtype = x.shape[1], lengths.shape[1], x.dtype
        encoder, decoder = self.local_encoder, self.local_decoder
        past = 0 if cache is None else cache.get_seq_length()
        positions = position_ids
        if positions is None:
            positions = (torch.arange(seq, device=x.device) + past)[None]
        keys, start = (seq, 0) if cache is None else cache.get_mask_sizes(seq)
        window = self.config.local_attention_window_len
        mask = decoder_mask(attention_mask, seq, keys, past, start, x.device, window=window, position_ids=position_ids)
        bytes_of = patch_ids_of(lengths, seq)
        states_of = torch.arange(count, device=x.device).repeat_interleave(self.config.cross_attn_k)[None]
        own = encoder.placed(replace(context, attentions=None, states=False), positions, mask, dtype)
        own.cache, own.encoder_mask = cache and cache.self_attention_cache, same_patch(states_of, bytes_of, dtype)
        x, patches = encoder(x, own, bytes_of, count, self.run)
        patches = patches.reshape(x.shape[0], count, -1)
        patches = self.global_transformer(patches, replace(context, attentions=None, states=False), self.run)
        own = decoder.placed(context, positions, mask, dtype)
        own.cache = cache and cache.cross_attention_cache
        own.encoder_mask = same_patch(patch_ids_of(lengths[:, 1:], seq), states_of, dtype)  # the patch before
        return decoder(x, patches, own, self.run)


class CausalLM(heads.CausalLM):
    """Scores of the next byte, in fp32."""

    def __init__(self, config: Any):
        heads.Head.__init__(self, config)
        self.lm_head = nn.Linear(config.decoder_config.hidden_size, config.vocab_size, bias=False)

    def init_weights(self) -> None:
        init_by_width(self)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"model.local_encoder.embed_tokens.weight": "lm_head.weight"}

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden).float()


def init_by_width(model: PreTrainedModel) -> None:
    """Fresh values: matrices are drawn within three deviations, which follow the width of their input."""
    PreTrainedModel.init_weights(model)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            std = module.weight.shape[1] ** -0.5
            nn.init.trunc_normal_(module.weight, 0.0, std, -3 * std, 3 * std)


VARIANTS = {"blt": Variant(lambda c: Spec(interleaved=True))}
TASKS = {"Model": Model, "CausalLM": CausalLM}
