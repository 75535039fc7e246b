"""The Byte Latent Transformer: blt.

Pagnoni et al. 2024 (arXiv:2412.09871). It reads bytes. A small model, the patcher, cuts them into patches where it is
unsure of the next byte; the local encoder reads bytes and pools each patch, the global transformer reads patches, and
the local decoder reads bytes that look at the patch before theirs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.attention import Context, decoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.blt_cache import PatchCache
from autoload.models.blt_patches import PRIMES, hash_ids, patch_ids_of, patch_lengths_of, split_patches
from autoload.models.blt_stacks import GlobalTransformer, LocalDecoder, LocalEncoder, Patcher
from autoload.models.decoder_layer import Spec
from autoload.outputs import BaseModelOutputWithPast


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

    def entropies(
        self, input_ids: Tensor | None, context: Context, cache: Any = None
    ) -> tuple[Tensor | None, list[Tensor]]:
        """The doubt after each byte, None where nobody asks for it; and the states of the patcher."""
        if self.patcher is None or self.config.patching_mode != "entropy":
            return None, []
        if input_ids is None:
            raise ArgumentError(
                "forward: patches are cut by input_ids; pass these, or patch_lengths.", name="input_ids"
            )
        with torch.no_grad():
            return self.patcher(input_ids, replace(context, cache=cache), self.run)

    def cut(self, input_ids: Tensor | None, embeds: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """Lengths of the patches, and the states of the patcher."""
        config = self.config
        entropies, seen = self.entropies(input_ids, context)
        if entropies is None:
            return torch.ones(embeds.shape[0], embeds.shape[1] + 1, dtype=torch.long, device=embeds.device), []
        if config.patch_size is None:
            lengths = torch.ones(entropies.shape, dtype=torch.long, device=embeds.device)
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

        With a cache a byte gets what a longer text would give it: that decides about a patch whose end depends on the
        byte after it (only `max_patch_length` makes such ones).

        Args:
            input_ids: (batch, seq).
            patch_lengths: (batch, patches), in place of what the patcher finds; no cache comes back.
            attention_mask: (batch, all bytes so far), 0 at padding; or a ready mask (batch, 1, queries, keys).
            position_ids: (batch, seq).
            past_key_values: cache of earlier steps; an empty one becomes the local encoder's.
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
        if patch_lengths is None and (caching or cache is not None):
            cache = PatchCache.of(cache)
        elif cache is not None and cache.get_seq_length():
            raise ArgumentError("forward: pass patch_lengths or past_key_values, not both.", name="patch_lengths")
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(kernel=kernel_of(config), attentions=[] if attentions else None, states=bool(states))
        if isinstance(cache, PatchCache):
            x, seen, more = self.go_on(input_ids, inputs_embeds, attention_mask, position_ids, cache, context)
        else:
            x = inputs_embeds if input_ids is None else self.embed(input_ids)
            assert x is not None
            lengths, seen = (patch_lengths, []) if patch_lengths is not None else self.cut(input_ids, x, context)
            x, more = self.pass_through(x, lengths, attention_mask, position_ids, context)
        seen = [*seen, *(more[1:] if seen else more)]
        out = BaseModelOutputWithPast(
            x,
            cache if caching and isinstance(cache, PatchCache) else None,
            (*seen[:-1], x) if states else None,
            None if context.attentions is None else tuple(context.attentions),
        )
        return finish(out, return_dict, config)

    def over_bytes(
        self, x: Tensor, attention_mask: Any, position_ids: Tensor | None, cache: Any, context: Context
    ) -> tuple[Context, Context]:
        """The contexts of the local encoder and of the local decoder."""
        seq, positions = x.shape[1], position_ids
        past = 0 if cache is None else cache.get_seq_length()
        if positions is None:
            positions = (torch.arange(seq, device=x.device) + past)[None]
        keys, start = (seq, 0) if cache is None else cache.get_mask_sizes(seq)
        window = self.config.local_attention_window_len
        mask = decoder_mask(attention_mask, seq, keys, past, start, x.device, window=window, position_ids=position_ids)
        reading = self.local_encoder.placed(unseen(context), positions, mask, x.dtype)
        writing = self.local_decoder.placed(context, positions, mask, x.dtype)
        if cache is not None:
            reading.cache, writing.cache = cache.self_attention_cache, cache.cross_attention_cache
        return reading, writing

    def pass_through(
        self, x: Tensor, lengths: Tensor, attention_mask: Any, position_ids: Tensor | None, context: Context
    ) -> tuple[Tensor, list[Tensor]]:
        """Embeddings to bytes, patches and bytes again; and the states of the local decoder."""
        seq, count = x.shape[1], lengths.shape[1]
        reading, writing = self.over_bytes(x, attention_mask, position_ids, None, context)
        x = self.local_encoder(x, reading, self.run)
        patches = self.local_encoder.pool(x, patch_ids_of(lengths, seq), count, reading, self.run)
        positions = torch.arange(count, device=x.device)[None]
        mask = decoder_mask(None, count, count, 0, 0, x.device)
        patches = self.global_transformer(patches, unseen(context), positions, mask, self.run)
        return self.local_decoder(x, patches, patch_ids_of(lengths[:, 1:], seq), writing, self.run)

    def go_on(
        self,
        input_ids: Tensor | None,
        embeds: Tensor | None,
        attention_mask: Any,
        position_ids: Tensor | None,
        cache: PatchCache,
        context: Context,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The same over a cache: the global transformer reads each patch once, when it has ended."""
        if input_ids is not None:
            ids = cache.with_group(input_ids, max(self.config.encoder_hash_byte_group_size))
            embeds = self.embed(ids)[:, -input_ids.shape[1] :]
        assert embeds is not None
        entropies, seen = self.entropies(input_ids, context, cache.patcher_cache)
        if entropies is None or self.config.patch_size is None:
            doubt = torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device)
        else:
            doubt = entropies > self.config.patching_threshold
        reading, writing = self.over_bytes(embeds, attention_mask, position_ids, cache, context)
        x = self.local_encoder(embeds, reading, self.run)
        ended = cache.cut(x, doubt, self.config.max_patch_length)
        reading.cache = None
        if ended.count:
            patches = self.local_encoder.pool(ended.states, ended.numbers, ended.count, reading, self.run)
            own = replace(unseen(context), cache=cache.global_cache)
            cache.keep(self.global_transformer(patches, own, ended.positions, ended.mask, self.run))
        x, more = self.local_decoder(x, cache.patches, ended.looks, writing, self.run)
        cache.forget()
        return x, seen, more


def unseen(context: Context) -> Context:
    """The context of layers whose states and weights are not given out."""
    return replace(context, attentions=None, states=False)


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
