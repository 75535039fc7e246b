"""What a model can do besides its forward pass, for one model of each kind of wiring."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from autoload.errors import ArgumentError
from autoload.outputs import BaseModelOutput, CausalLMOutputWithPast
from tests.checkpoints import same_weights, tiny

MODELS = [("bert", "MaskedLM"), ("llama", "CausalLM"), ("gpt2", "CausalLM")]
IDS = torch.tensor([[5, 6, 7, 8, 9, 3], [4, 4, 2, 9, 8, 7]])


@pytest.fixture(params=MODELS, ids=[m for m, _ in MODELS])
def model(request: pytest.FixtureRequest) -> Any:
    return tiny(*request.param)


def grads(model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(IDS, labels=IDS).loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_nothing(model: Any) -> None:
    still = {name: 0.0 for name in model.config.to_dict() if "dropout" in name or name.endswith("_pdrop")}
    model = tiny(
        model.config.model_type, "MaskedLM" if model.config.model_type == "bert" else "CausalLM", **still
    ).train()
    plain = grads(model)
    calls = []
    hook = model.base_model.get_submodule(
        {"bert": "encoder.layer.0"}.get(
            model.config.model_type, "layers.0" if hasattr(model.base_model, "layers") else "h.0"
        )
    )
    hook.register_forward_pre_hook(lambda *a: calls.append(1))
    grads(model)
    assert len(calls) == 1
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    again = grads(model)
    assert len(calls) == 3, "once forward, once in the backward pass"
    assert all(torch.allclose(plain[n], again[n], atol=1e-6) for n in plain)
    assert model(IDS).get("past_key_values") is None
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_unknown_keywords(model: Any) -> None:
    """Refused, where `forward` would pass over them; what trainers and tokenizers pass to all models is not."""
    for wrong, hint in (
        ("position_idz", "'position_ids'"),
        ("label", "'labels'"),
        ("attention_masks", "'attention_mask'"),
    ):
        with pytest.raises(ArgumentError, match=f"forward: unknown argument '{wrong}'; did you mean {hint}") as caught:
            model(IDS, **{wrong: IDS})
        assert isinstance(caught.value, TypeError) and caught.value.name == wrong
    with pytest.raises(ArgumentError, match="unknown argument 'labels'"):
        model.base_model(IDS, labels=IDS)
    passed = dict.fromkeys(("token_type_ids", "special_tokens_mask", "offset_mapping", "num_items_in_batch"))
    assert torch.equal(model(IDS, **passed).logits, model(IDS).logits)


def test_keywords_of_a_subclass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of a user's, or a `forward` put on the model, says itself what it takes."""

    class Louder(autoload.LlamaForCausalLM):
        def forward(self, *args: Any, louder: float = 1.0, **kwargs: Any) -> Any:
            kwargs.pop("colour", None)
            out = super().forward(*args, **kwargs)
            out.logits = out.logits * louder
            return out

    plain = tiny("llama", "CausalLM")
    model = Louder(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    assert torch.allclose(model(IDS, louder=2.0, colour="red").logits, 2 * plain(IDS).logits)
    monkeypatch.setattr(plain, "forward", lambda ids, colour: colour)
    assert plain(IDS, colour="red") == "red"


@pytest.mark.parametrize("count", [70, 50])
def test_resize_token_embeddings(model: Any, count: int) -> None:
    with torch.no_grad():
        before = model(IDS).logits
    table = model.resize_token_embeddings(count)
    assert table is model.get_input_embeddings() and table.num_embeddings == model.config.vocab_size == count
    with torch.no_grad():
        after = model(IDS).logits
    kept = min(count, 60)
    assert after.shape[-1] == count and torch.allclose(after[..., :kept], before[..., :kept], atol=1e-6)
    if model.config.tie_word_embeddings:
        assert model.get_output_embeddings().weight is table.weight
    assert grads(model)
    assert model.resize_token_embeddings(None, pad_to_multiple_of=64).num_embeddings % 64 == 0


@pytest.mark.parametrize("model_type", ["biogpt", "gemma"])
def test_resized_embeddings_keep_their_scale(model_type: str) -> None:
    sizes = dict(vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    extra = {"gemma": dict(num_key_value_heads=1, head_dim=8)}.get(model_type, {})
    config = autoload.AutoConfig.for_model(model_type, **sizes, **extra)
    model = autoload.AutoModel.from_config(config)
    with torch.no_grad():
        before = model.get_input_embeddings()(IDS)
        assert torch.equal(model.resize_token_embeddings(70)(IDS), before)
    assert (before - torch.nn.functional.embedding(IDS, model.get_input_embeddings().weight)).abs().max() > 1e-3


def test_resized_model_saves_and_loads(model: Any, tmp_path: Path) -> None:
    model.resize_token_embeddings(66)
    model.save_pretrained(tmp_path)
    assert same_weights(type(model).from_pretrained(tmp_path), model)


@pytest.mark.parametrize("model_type", [t for t in registry.MODELS if registry.part_configs(t)])
def test_parts_of_a_configuration(model_type: str) -> None:
    """Their classes have names here, as pickles ask."""
    config = autoload.AutoConfig.for_model(model_type)
    assert pickle.loads(pickle.dumps(config)) == config
    for cls in registry.part_configs(model_type):
        assert getattr(autoload, cls.__name__) is cls


def test_copies(model: Any) -> None:
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied) is type(model) and same_weights(copied, model)
        if model.config.tie_word_embeddings:
            assert copied.get_output_embeddings().weight is copied.get_input_embeddings().weight
        assert copied.config == model.config and copied.config is not model.config
    config = pickle.loads(pickle.dumps(model.config))
    assert config == model.config and type(config) is type(model.config)


def test_facts(model: Any) -> None:
    assert model.device.type == "cpu" and model.dtype == torch.float32
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.num_parameters(exclude_embeddings=True) < model.num_parameters()
    for p in model.get_input_embeddings().parameters():
        p.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) < model.num_parameters()
    assert model.get_memory_footprint() >= 4 * model.num_parameters()
    assert model.base_model is getattr(model, model.base_model_prefix)
    assert model.can_generate() == (model.config.model_type != "bert")
    assert model.floating_point_ops({"input_ids": IDS}) > 0


def test_gradients_through_frozen_embeddings(model: Any) -> None:
    model.requires_grad_(False)
    model.enable_input_require_grads()
    model.train()
    assert model(IDS, labels=IDS).loss.requires_grad
    model.disable_input_require_grads()
    assert not model(IDS, labels=IDS).loss.requires_grad


def test_hooks(model: Any) -> None:
    seen = []
    layer = model.get_submodule(
        {"bert": "bert.encoder.layer.1", "llama": "model.layers.1", "gpt2": "transformer.h.1"}[model.config.model_type]
    )
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    layer.register_forward_hook(lambda m, args, out: out * 0)
    with torch.no_grad():
        states = model(IDS, output_hidden_states=True).hidden_states
    assert seen == [(2, 6, 16)] and (model.config.model_type != "bert" or states[-1].abs().sum() == 0)


def test_tuples(model: Any) -> None:
    with torch.no_grad():
        named, plain = model(IDS), model(IDS, return_dict=False)
    assert isinstance(plain, tuple) and torch.equal(plain[0], named.logits)
    model.config.return_dict = False
    assert isinstance(model(IDS), tuple)


def test_hidden_states_are_kept_only_when_asked_for(model: Any) -> None:
    """Nothing holds on to the first layer's output once the second has read it."""
    import weakref

    first, last = {
        "bert": ("encoder.layer.0", "encoder.layer.1"),
        "llama": ("layers.0", "layers.1"),
        "gpt2": ("h.0", "h.1"),
    }[model.config.model_type]
    kept: list[Any] = []
    model.base_model.get_submodule(first).register_forward_hook(lambda m, args, out: kept.append(weakref.ref(out)))
    alive: list[bool] = []
    model.base_model.get_submodule(last).register_forward_hook(lambda m, args, out: None)
    model.register_forward_hook(lambda m, args, out: alive.append(kept[-1]() is not None))
    with torch.no_grad():
        model(IDS)
        assert alive == [False]
        out = model(IDS, output_hidden_states=True)
        assert alive == [False, True] and len(out.hidden_states) == 3


def test_embeddings_in_place_of_tokens(model: Any) -> None:
    vectors = model.get_input_embeddings()(IDS)
    with torch.no_grad():
        assert torch.allclose(model(inputs_embeds=vectors).logits, model(IDS).logits, atol=1e-6)


def test_compiled_whole(model: Any) -> None:
    """Forward and backward are one graph each, with and without padding."""
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    mask = torch.ones_like(IDS)
    for inputs in (
        {},
        {"attention_mask": mask},
        {"attention_mask": mask.index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(0))},
    ):
        out = (
            compiled(IDS, labels=IDS, use_cache=False, **inputs)
            if model.can_generate()
            else compiled(IDS, labels=IDS, **inputs)
        )
        with torch.no_grad():
            assert torch.allclose(out.loss, model(IDS, labels=IDS, **inputs).loss, atol=1e-5)
        out.loss.backward()


@pytest.mark.parametrize("strict", [True, False])
def test_exported(model: Any, strict: bool) -> None:
    model.config.use_cache = False
    program = torch.export.export(model, (IDS,), {"attention_mask": torch.ones_like(IDS)}, strict=strict)
    with torch.no_grad():
        out = program.module()(IDS, attention_mask=torch.ones_like(IDS))
        assert torch.allclose(out.logits if hasattr(out, "logits") else out["logits"], model(IDS).logits, atol=1e-5)


def test_loss_divided_by_the_items_of_several_batches() -> None:
    model = tiny("llama", "CausalLM")
    whole = model(IDS, labels=IDS).loss
    parts = sum(
        model(IDS[i : i + 1], labels=IDS[i : i + 1], num_items_in_batch=torch.tensor(10)).loss for i in range(2)
    )
    assert torch.allclose(whole, parts)
    shifted = torch.nn.functional.pad(IDS, (0, 1), value=-100)[:, 1:]
    assert torch.allclose(model(IDS, shift_labels=shifted).loss, whole)


def test_outputs_are_dict_tuple_and_tree() -> None:
    out = CausalLMOutputWithPast(logits=torch.ones(2), attentions=(torch.ones(1),))
    assert list(out) == ["logits", "attentions"] and out["logits"] is out[0] is out.logits and out.loss is None
    assert out.to_tuple() == (out.logits, out.attentions) and out[:1] == (out.logits,)
    assert "loss" not in out and len(out) == 2 and isinstance(out, dict)
    again = CausalLMOutputWithPast({"logits": torch.ones(2)})
    assert list(again) == ["logits"]
    doubled = torch.utils._pytree.tree_map(lambda x: x * 2, out)
    assert type(doubled) is CausalLMOutputWithPast and doubled.logits.sum() == 4 and doubled.attentions[0].item() == 2
    out.loss = torch.ones(())
    assert "loss" in out
    copied = pickle.loads(pickle.dumps(BaseModelOutput(torch.ones(1))))
    assert type(copied) is BaseModelOutput and copied.last_hidden_state.item() == 1
    with pytest.raises(TypeError):
        del out["loss"]


def test_attention_kernels_agree(model: Any) -> None:
    with torch.no_grad():
        expected = model(IDS).logits
        for kernel in ("eager", "flex_attention"):
            model.set_attn_implementation(kernel)
            assert torch.allclose(model(IDS).logits, expected, atol=1e-5)
    with pytest.raises(TypeError, match="attn_implementation"):
        model.set_attn_implementation("fast")


def test_packed_sequences_do_not_see_each_other() -> None:
    model = tiny("llama", "CausalLM")
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    with torch.no_grad():
        packed = model(IDS[:1], position_ids=positions).logits
        alone = torch.cat([model(IDS[:1, :3]).logits, model(IDS[:1, 3:]).logits], 1)
    assert torch.allclose(packed, alone, atol=1e-6)


def test_training_lowers_the_loss(model: Any) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_names_for_client_programs(model: Any) -> None:
    """Attributes that adapters, trainers and evaluation programs read."""
    assert "PreTrainedModel" in {c.__name__ for c in type(model).__mro__}
    assert model.main_input_name == "input_ids" and isinstance(model._tied_weights_keys, dict)
    model.add_model_tags(["a", "a"])
    assert model.model_tags == ["a"] and model.warnings_issued == {}
    assert model.config.get_text_config() is model.config and model.config.to_dict()["model_type"]
    assert isinstance(model, autoload.PreTrainedModel)
