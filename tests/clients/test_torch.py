"""`copy`, `pickle`, `torch.save`, `compile(fullgraph=True)`, `export`; DDP and FSDP2 on two processes."""

from __future__ import annotations

import copy
import io
import pickle
import socket
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils import _pytree

from tests.clients.checkpoints import batch
from tests.clients.conftest import Both

CLIENTS = ("torch",)
HEADS = {"llama": "CausalLM", "llama_tied": "CausalLM", "gpt2": "CausalLM", "bert": "SequenceClassification"}


def load(library: Any, path: str, name: str) -> Any:
    return getattr(library, f"AutoModelFor{HEADS[name]}").from_pretrained(path)


@pytest.mark.parametrize("name", HEADS)
def test_copies(both: Both, folder: Any, name: str) -> None:
    def figures(library: Any, path: str) -> list[float]:
        model, ids = load(library, path, name), batch(vocabulary=40)
        expected = model(ids).logits
        stored = io.BytesIO()
        torch.save(model, stored)
        stored.seek(0)
        twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(stored, weights_only=False)
        for twin in twins:
            assert type(twin) is type(model) and torch.equal(twin(ids).logits, expected)
            assert twin.config.to_dict() == model.config.to_dict()
            if name == "llama_tied":
                assert twin.lm_head.weight is twin.get_input_embeddings().weight is not model.lm_head.weight
        out = model(ids)
        assert torch.equal(pickle.loads(pickle.dumps(out)).logits, out.logits)
        plain = model(ids, use_cache=False) if name != "bert" else out
        leaves, spec = _pytree.tree_flatten(plain)
        assert len(leaves) == 1 and type(_pytree.tree_unflatten(leaves, spec)) is type(out)
        tokenizer = library.AutoTokenizer.from_pretrained(path)
        for twin in copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)):
            assert twin("hello world")["input_ids"] == tokenizer("hello world")["input_ids"]
        return [
            len(model.state_dict()),
            sum(p.numel() for p in model.state_dict().values()),
            float(expected.abs().sum()),
        ]

    both(figures, folder(name))


@pytest.mark.parametrize("name", ["llama", "bert"])
@pytest.mark.parametrize("padded", [False, True])
def test_compile(both: Both, folder: Any, name: str, padded: bool) -> None:
    def figures(library: Any, path: str) -> list[float]:
        import torch._dynamo as dynamo

        dynamo.reset()
        model, ids = load(library, path, name), batch(vocabulary=40)
        mask = torch.ones_like(ids)
        mask[0, -3:] = 0
        labels = torch.tensor([0, 1]) if name == "bert" else ids
        inputs = dict(input_ids=ids, attention_mask=mask if padded else None)
        if name != "bert":
            inputs["use_cache"] = False
        compiled: Any = torch.compile(model, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            assert torch.allclose(compiled(**inputs).logits, model(**inputs).logits, atol=1e-5)
        gradients = []
        for forward in (model, compiled):
            model.zero_grad()
            forward(**inputs, labels=labels).loss.backward()
            gradients.append({k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None})
        assert gradients[0].keys() == gradients[1].keys()
        assert all(torch.allclose(g, gradients[1][k], atol=1e-5) for k, g in gradients[0].items())
        with dynamo.config.patch(error_on_recompile=True), torch.no_grad():
            compiled(**inputs)
        return [float(g.abs().sum()) for g in gradients[0].values()]

    both(figures, folder(name))


@pytest.mark.parametrize("name", ["llama", "bert"])
@pytest.mark.parametrize("strict", [False, True])
def test_export(both: Both, folder: Any, name: str, strict: bool) -> None:
    def figures(library: Any, path: str) -> float:
        model, ids = load(library, path, name), batch(vocabulary=40)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if name != "bert":
            inputs["use_cache"] = False  # type: ignore[assignment]
        rows, length = torch.export.Dim("rows", min=2, max=8), torch.export.Dim("length", min=2, max=64)
        shapes: dict[str, Any] = {key: None for key in inputs}
        shapes |= {"input_ids": {0: rows, 1: length}, "attention_mask": {0: rows, 1: length}}
        program = torch.export.export(model, (), inputs, dynamic_shapes=shapes, strict=strict)
        stored = io.BytesIO()
        torch.export.save(program, stored)
        stored.seek(0)
        again = torch.export.load(stored).module()
        longer = batch(3, 20, vocabulary=40)
        found = again(**{**inputs, "input_ids": longer, "attention_mask": torch.ones_like(longer)}).logits
        assert torch.allclose(found, model(longer).logits, atol=1e-5)
        return float(found.abs().sum())

    both(figures, folder(name))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def processes(work: Any, *arguments: Any) -> Any:
    """Run `work(rank, *arguments)` on two processes; what the first one returns."""
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(member, (free_port(), queue, work, arguments), nprocs=2)  # type: ignore[attr-defined]
    return queue.get()


def member(rank: int, port: int, queue: Any, work: Any, arguments: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        result = work(rank, *arguments)
        if rank == 0:
            queue.put(result)
    finally:
        dist.destroy_process_group()


def replicated(rank: int, path: str, static: bool) -> list[float]:
    import autoload

    model, whole = (autoload.AutoModelForCausalLM.from_pretrained(path) for _ in range(2))
    ids = batch(4)
    mine = ids[2 * rank : 2 * rank + 2]
    whole(input_ids=ids, labels=ids).loss.backward()
    wrapped = torch.nn.parallel.DistributedDataParallel(model, static_graph=static)
    out = wrapped(input_ids=mine, labels=mine)
    out.loss.backward()
    error = max(
        float((p.grad - q.grad).abs().max()) for p, q in zip(model.parameters(), whole.parameters(), strict=True)
    )  # type: ignore[operator]
    assert error < 1e-5, error
    if not static:
        with wrapped.no_sync():
            wrapped(input_ids=mine, labels=mine)["loss"].backward()
    return [error]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("name", ["llama_tied"])
def test_ddp(folder: Any, name: str, static: bool) -> None:
    assert processes(replicated, folder(name), static)[0] < 1e-5


def sharded(rank: int, path: str) -> list[float]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import fully_shard

    import autoload

    model, whole = (autoload.AutoModelForCausalLM.from_pretrained(path) for _ in range(2))
    ids = batch(4)
    mine = ids[2 * rank : 2 * rank + 2]
    optimizer = torch.optim.AdamW(whole.parameters(), lr=1e-2)
    whole(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    layers: Any = model.model.layers
    for layer in layers:
        fully_shard(layer)
    fully_shard(model)
    assert isinstance(model, autoload.PreTrainedModel)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss = model(input_ids=mine, labels=mine).loss
    loss.backward()
    optimizer.step()
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:
        expected = whole.state_dict()
        assert state.keys() == expected.keys()
        for name, tensor in state.items():
            assert torch.allclose(tensor, expected[name], atol=1e-4), name
    return [loss.item()]


@pytest.mark.parametrize("name", ["llama", "llama_tied"])
def test_fsdp2(folder: Any, name: str) -> None:
    assert processes(sharded, folder(name))
