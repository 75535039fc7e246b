"""The four stacks of the Byte Latent Transformer: of layers over bytes, or over patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context, Mask, attend, decoder_mask
from autoload.layers.rope import Rotary
from autoload.models.blt_patches import pooled, same_patch
from autoload.models.decoder_layer import Attention, Layer, Spec, head_dim, layer_kinds, norm_eps


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
        self.times = config.cross_attn_k
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
        x, length, cache = self.embed_tokens(input_ids), input_ids.shape[1], context.cache
        past = 0 if cache is None else cache.get_seq_length()
        keys, start = (length, 0) if cache is None else cache.get_mask_sizes(length)
        mask = decoder_mask(None, length, keys, past, start, x.device, window=self.window)
        positions = (torch.arange(length, device=x.device) + past)[None]
        x, seen = self.climb(x, self.placed(context, positions, mask, x.dtype), run)
        logits = self.lm_head(self.norm(x))
        log_p = logits - logits.logsumexp(-1, keepdim=True)
        return -(log_p * log_p.softmax(-1)).sum(-1), seen  # (batch, seq)


class LocalEncoder(Stack):
    """Reads bytes, and pools those of each patch."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.make_cross_attention(config, spec, config.hidden_size)

    def forward(self, x: Tensor, context: Context, run: Callable[..., Tensor]) -> Tensor:
        return self.climb(self.drop(self.drop(x)), context, run)[0]

    def pool(self, x: Tensor, patch_ids: Tensor, count: int, context: Context, run: Callable[..., Tensor]) -> Tensor:
        """One vector of each patch, from the states of its bytes; (batch, patches, dim).

        Where every layer has attention of patches to bytes, each made the result of those before it useless: only the
        last is run.
        """
        slots = torch.arange(count, device=x.device).repeat_interleave(self.times)[None]
        context = replace(context, encoder=x, encoder_mask=same_patch(slots, patch_ids, x.dtype))
        patches = self.spread(pooled(x, patch_ids, count))
        return (patches + run(self.cross_attn_layers[-1], patches, context)).unflatten(1, (count, -1)).flatten(2)


class GlobalTransformer(Stack):
    """Reads patches."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        width = config.encoder_cross_output_size
        self.token_embedding_projection = (
            nn.Identity() if width is None else nn.Linear(width, config.hidden_size, bias=False)
        )

    def forward(
        self, patches: Tensor, context: Context, positions: Tensor, mask: Mask, run: Callable[..., Tensor]
    ) -> Tensor:
        x = self.drop(self.token_embedding_projection(patches))
        return self.climb(x, self.placed(context, positions, mask, x.dtype), run)[0]


class LocalDecoder(Stack):
    """Reads bytes, which look at the patch before theirs."""

    def make_parts(self, config: Any, spec: Spec) -> None:
        self.make_cross_attention(config, spec, config.hidden_size_global)
        self.norm = spec.norm(config.hidden_size, norm_eps(config))

    def forward(
        self, x: Tensor, patches: Tensor, looks: Tensor, context: Context, run: Callable[..., Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Normed states, and those of each layer; `looks` (batch, seq) is the patch that each byte looks at."""
        slots = torch.arange(patches.shape[1], device=x.device).repeat_interleave(self.times)[None]
        mask = same_patch(looks, slots, x.dtype)
        x, context, seen = self.drop(x), replace(context, encoder=self.spread(patches), encoder_mask=mask), []
        for i, layer in enumerate(self.layers):
            if self.everywhere or i == 0:
                x = x + run(self.cross_attn_layers[i], x, context)
            if context.states and not seen:
                seen.append(x)
            x = run(layer, x, context)
            if context.states:
                seen.append(x)
        return self.norm(x), seen
