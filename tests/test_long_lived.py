"""Servers: many loads, many threads, files that change underneath, forks, and an event loop."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from autoload import AutoModel, AutoModelForCausalLM, AutoTokenizer
from tests.checkpoints import same_weights, tiny
from tests.damaged import healthy

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return healthy.make(tmp_path_factory.mktemp("healthy"))


# -- many loads

LOADS = """
import json, os, sys
import torch
from autoload import AutoModel, AutoModelForCausalLM, AutoTokenizer

bert, llama, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])

def state():
    with open("/proc/self/statm") as f:
        resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/maps") as f:
        return [resident, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), sum(1 for _ in f)]

def work(count):
    for number in range(count):
        model = AutoModel.from_pretrained(bert, io=("map", "read")[number % 2], dtype=("auto", "bfloat16")[number % 3 == 0])
        if number % 10 == 0:
            AutoTokenizer.from_pretrained(bert)("the dog")
            with torch.no_grad():
                AutoModelForCausalLM.from_pretrained(llama).generate(torch.tensor([[3, 4]]), max_new_tokens=2)
        if number % 50 == 0:
            try:
                AutoModel.from_pretrained(bert, hidden_size=32)
            except RuntimeError:
                pass

work(300)
before = state()
work(rounds)
print(json.dumps([before, state()]))
"""


@pytest.mark.parametrize("rounds", [500, pytest.param(10_000, marks=pytest.mark.sweep)])
def test_loads_leave_no_memory_thread_descriptor_or_mapping(models: dict[str, Path], rounds: int) -> None:
    command = [sys.executable, "-c", LOADS, str(models["bert"]), str(models["llama"]), str(rounds)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert after[0] - before[0] < 8 << 20, f"{(after[0] - before[0]) / rounds:.0f} bytes for each load"
    assert after[1:3] == before[1:3], "threads and file descriptors"
    assert after[3] - before[3] < 40, "mappings"


# -- files that change underneath


def test_what_is_read_does_not_change_with_the_file(models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    right = AutoModel.from_pretrained(models["bert"])
    model = AutoModel.from_pretrained(folder, io="read")
    path = folder / "model.safetensors"
    with open(path, "r+b") as f:  # in place
        f.seek(-4000, os.SEEK_END)
        f.write(b"\x55" * 4000)
    assert same_weights(model, right)
    os.truncate(path, 0)
    assert same_weights(model, right) and model(torch.tensor([[2, 5, 3]]))[0].isfinite().all()


def test_what_is_mapped_survives_a_replacement_and_a_save_over_it(models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    right = AutoModel.from_pretrained(models["bert"])
    model = AutoModel.from_pretrained(folder)
    tiny("bert", seed=9).save_pretrained(folder)  # which renames
    assert same_weights(model, right)
    model.save_pretrained(folder)
    assert same_weights(model, right) and same_weights(AutoModel.from_pretrained(folder), right)
    (folder / "model.safetensors").unlink()
    assert same_weights(model, right)


def test_what_is_mapped_is_the_file(models: dict[str, Path], tmp_path: Path) -> None:
    """What the documentation warns of: another program that overwrites the file in place changes the model."""
    folder = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    model = AutoModel.from_pretrained(folder)
    with open(folder / "model.safetensors", "r+b") as f:
        f.seek(-4, os.SEEK_END)
        f.write(b"\0\0\x80\x3f")
    assert not same_weights(model, AutoModel.from_pretrained(models["bert"]))
    assert same_weights(model, AutoModel.from_pretrained(folder))


# -- threads and an event loop


def jobs(models: dict[str, Path], tmp_path: Path) -> list[Callable[[], Any]]:
    """Small pieces of work of all kinds, each of which gives something that can be compared."""
    shared_model = AutoModelForCausalLM.from_pretrained(models["llama"])
    shared_tokenizer = AutoTokenizer.from_pretrained(models["bert"])
    ids = torch.tensor([[3, 4, 5]])

    def digest(model: torch.nn.Module) -> list[float]:
        return [float(p.double().sum()) for p in model.state_dict().values()]

    def load(base: str, dtype: str) -> Any:
        auto = AutoModel if base in ("bert", "pickle") else AutoModelForCausalLM
        model = auto.from_pretrained(models[base], dtype=dtype)
        with torch.no_grad():
            return [str(model.dtype), *digest(model), *model(ids)[0].double().flatten().tolist()]

    def forward() -> Any:
        with torch.no_grad():
            return shared_model(ids).logits.flatten().tolist()

    def generate() -> Any:
        with torch.no_grad():
            return shared_model.generate(ids, max_new_tokens=4, do_sample=False).tolist()

    def tokenize(base: str) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(models[base])
        return tokenizer([healthy.TEXT, "cat"])["input_ids"]

    def encode() -> Any:
        found = shared_tokenizer([healthy.TEXT, "cat"], padding=True, return_tensors="pt")["input_ids"]
        return [*found.flatten().tolist(), shared_tokenizer.decode([5, 6], skip_special_tokens=True)]

    def chat() -> Any:
        return shared_tokenizer.apply_chat_template(healthy.MESSAGES, tokenize=False)

    def save(number: int) -> Any:
        folder = tmp_path / f"saved-{number}-{os.urandom(4).hex()}"
        shared_model.save_pretrained(folder, max_shard_size="3KB" if number % 2 else "1GB")
        shared_tokenizer.save_pretrained(folder)
        return [
            digest(AutoModelForCausalLM.from_pretrained(folder)),
            AutoTokenizer.from_pretrained(folder)("the")["input_ids"],
        ]

    def fail() -> Any:
        try:
            AutoModel.from_pretrained(models["bert"], hidden_size=17)
        except ValueError as e:
            return str(e)

    work: list[Callable[[], Any]] = [forward, generate, encode, chat, fail]
    for base in ("bert", "llama", "sharded", "pickle", "gpt2"):
        work += [lambda b=base, d=d: load(b, d) for d in ("float32", "bfloat16", "float16")]
    work += [lambda b=base: tokenize(b) for base in ("bert", "vocab", "llama", "gpt2", "spm", "tekken")]
    return work + [lambda n=n: save(n) for n in range(4)]


def test_32_threads_of_all_kinds_of_work_are_as_one(models: dict[str, Path], tmp_path: Path) -> None:
    work = jobs(models, tmp_path)
    alone = [job() for job in work]
    order = [(7 * n) % len(work) for n in range(8 * len(work))]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda n: work[n](), order))
    assert together == [alone[n] for n in order]
    assert torch.get_default_dtype() is torch.float32


def test_an_event_loop_with_threads_is_as_one(models: dict[str, Path], tmp_path: Path) -> None:
    work = jobs(models, tmp_path)
    alone = [job() for job in work]

    async def together() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(job) for job in work * 3))

    assert asyncio.run(together()) == alone * 3


# -- forks

FORKS = """
import os, sys
import autoload
from autoload import AutoModelForCausalLM, AutoTokenizer

folder, when = sys.argv[1], sys.argv[2]

def work():
    import torch
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(["the dog", "runs"], padding=False)["input_ids"]
    with torch.no_grad():
        return repr((ids, model.generate(torch.tensor([ids[0]]), max_new_tokens=3, do_sample=False).tolist(),
                     model(torch.tensor([ids[0]])).logits.tolist()))

def in_a_child():
    reading, writing = os.pipe()
    if not os.fork():
        os.close(reading)
        with os.fdopen(writing, "w") as answer:
            answer.write(work())
        os._exit(0)
    os.close(writing)
    return reading

if when == "threads":
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: work(), range(8)))
        children = [in_a_child() for _ in range(4)]  # while other threads are there
elif when == "load":
    kept = AutoModelForCausalLM.from_pretrained(folder)
    work()
    children = [in_a_child() for _ in range(4)]
else:
    children = [in_a_child() for _ in range(4)]
said = {os.fdopen(child).read() for child in children}
for _ in children:
    assert os.wait()[1] == 0
print(said == {work()})
"""


@pytest.mark.parametrize("when", ["import", "load", "threads"])
def test_forks_are_as_one(models: dict[str, Path], when: str) -> None:
    command = [sys.executable, "-c", FORKS, str(models["llama"]), when]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr


def test_a_child_that_changes_its_weights_changes_nobody_elses(models: dict[str, Path]) -> None:
    """Mappings are private: a page that is written to is copied."""
    model = AutoModel.from_pretrained(models["bert"])
    expected = model.embeddings.word_embeddings.weight.sum().item()
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        with torch.no_grad():
            model.embeddings.word_embeddings.weight.zero_()
        os.write(writing, b"done")
        os._exit(0)
    os.waitpid(process, 0)
    assert os.read(reading, 4) == b"done"
    assert model.embeddings.word_embeddings.weight.sum().item() == expected
    assert same_weights(AutoModel.from_pretrained(models["bert"]), model)
