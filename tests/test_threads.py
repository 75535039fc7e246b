"""Loading from many threads at once is loading from one."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from autoload import AutoModel, AutoModelForCausalLM
from tests.checkpoints import same_weights, tiny


def test_threads_load_what_one_thread_loads(tmp_path: Path) -> None:
    kinds = {
        "bert": (AutoModel, "Model", torch.float32),
        "llama": (AutoModelForCausalLM, "CausalLM", torch.bfloat16),
        "gpt2": (AutoModelForCausalLM, "CausalLM", torch.float16),
    }
    alone = {}
    for name, (auto, task, dtype) in kinds.items():
        tiny(name, task).to(dtype).save_pretrained(tmp_path / name)
        alone[name] = auto.from_pretrained(tmp_path / name)
    before = (
        torch.get_default_dtype(),
        torch.get_rng_state(),
        threading.active_count(),
        signal.getsignal(signal.SIGINT),
    )
    start = threading.Barrier(8)

    def load(number: int) -> bool:
        if number < 8:
            start.wait()
        name = list(kinds)[number % 3]
        auto, _, dtype = kinds[name]
        model = auto.from_pretrained(tmp_path / name)
        assert {p.dtype for p in model.parameters()} == {dtype}
        with torch.no_grad():
            assert model(torch.arange(5)[None])[0].isfinite().all()
        return same_weights(model, alone[name])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(load, range(200)))
    after = (
        torch.get_default_dtype(),
        torch.get_rng_state(),
        threading.active_count(),
        signal.getsignal(signal.SIGINT),
    )
    assert before[0] == after[0] and torch.equal(before[1], after[1]) and before[2:] == after[2:]
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0, "initialisers work as before"
    assert torch.empty(1).device.type == "cpu"


def test_threads_resolve_one_class() -> None:
    from autoload import registry

    registry._classes.clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: registry.resolve("bert", "MaskedLM"), range(64)))
    assert len(set(found)) == 1


def test_threads_do_not_hear_of_each_others_skeleton(tmp_path: Path) -> None:
    """A thread that builds tensors while another builds a skeleton gets real ones."""
    tiny("bert").save_pretrained(tmp_path)
    stop, wrong = threading.Event(), []

    def build() -> None:
        while not stop.is_set():
            layer = torch.nn.Linear(4, 4)
            if layer.weight.device.type != "cpu" or float(layer.weight.detach().abs().sum()) == 0:
                wrong.append(layer)

    thread = threading.Thread(target=build)
    thread.start()
    for _ in range(30):
        AutoModel.from_pretrained(tmp_path)
    stop.set()
    thread.join()
    assert not wrong
