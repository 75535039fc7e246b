"""Downloads by many processes at once, by processes that are killed, and by several loads one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from autoload import AutoConfig, AutoModel, AutoTokenizer, repository
from autoload.errors import CorruptFile, FileError, HubUnreachable, NotCached
from tests.checkpoints import same_weights, saved, tiny
from tests.fakehub import TOKEN, FakeHub, Repo

pytest_plugins = ["tests.fakehub"]
NAME = "org/tiny"
LOADERS = (AutoConfig, AutoTokenizer, AutoModel)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    from autoload import download

    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)


def contents(folder: Path, seed: int) -> dict[str, bytes]:
    """The files of a repository: configuration and weights tell one seed from another."""
    saved(folder, "bert", vocab_size=7, seed=seed, hidden_act="gelu" if seed == 1 else "relu")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ndog\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def repo(localhub: FakeHub, tmp_path: Path) -> Repo:
    return localhub.repo(NAME, contents(tmp_path / "first", 1))


# --- one after the other


def test_configuration_tokenizer_and_weights_ask_once_together(localhub: FakeHub, repo: Repo) -> None:
    for loader in LOADERS:
        loader.from_pretrained(NAME)
    assert localhub.count("GET", "/revision/") == 1
    localhub.seen.clear()
    for loader in LOADERS:  # all is cached; each asks what there is now, once together
        loader.from_pretrained(NAME)
    assert localhub.count() == 1
    localhub.seen.clear()
    for loader in LOADERS:
        loader.from_pretrained(NAME, revision=repo.refs["main"])
        loader.from_pretrained(NAME, local_files_only=True)
    assert localhub.count() == 0


def test_they_are_of_one_commit_and_a_second_load_is_of_the_newest(
    localhub: FakeHub, repo: Repo, tmp_path: Path
) -> None:
    assert AutoConfig.from_pretrained(NAME).hidden_act == "gelu"
    repo.push(contents(tmp_path / "second", 2))
    model = AutoModel.from_pretrained(NAME)
    assert model.config.hidden_act == "gelu" and same_weights(model, tiny("bert", vocab_size=7, seed=1))
    model = AutoModel.from_pretrained(NAME)
    assert model.config.hidden_act == "relu" and same_weights(model, tiny("bert", vocab_size=7, seed=2))
    assert AutoConfig.from_pretrained(NAME).hidden_act == "relu"


def test_an_answer_is_shared_for_a_minute_by_those_with_the_same_rights(
    localhub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AutoConfig.from_pretrained(NAME)
    for count, how in enumerate(({"token": TOKEN}, {"cache_dir": tmp_path / "other"}, {"force_download": True}), 2):
        AutoTokenizer.from_pretrained(NAME, **how)
        assert localhub.count("GET", "/revision/") == count, how
    monkeypatch.setattr(repository, "SHARED_FOR", 0.0)
    AutoModel.from_pretrained(NAME)
    assert localhub.count("GET", "/revision/") == 5
    assert len(repository._answers) == 1, "old answers are thrown away"


def test_a_push_of_this_process_is_seen_at_once(localhub: FakeHub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tiny("bert", seed=1).push_to_hub("me/mine", token=TOKEN)
    AutoConfig.from_pretrained("me/mine", token=TOKEN)
    tiny("bert", seed=2).push_to_hub("me/mine", token=TOKEN)
    assert same_weights(AutoModel.from_pretrained("me/mine", token=TOKEN), tiny("bert", seed=2))


def test_offline_says_which_revisions_are_cached(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    old = repo.refs["main"]
    AutoModel.from_pretrained(NAME)
    new = repo.push(contents(tmp_path / "second", 2))
    AutoModel.from_pretrained(NAME)
    for loader in LOADERS:
        with pytest.raises(NotCached) as caught:
            loader.from_pretrained(NAME, revision="v9", local_files_only=True)
        assert caught.value.cached_revisions == sorted([old, new])
        assert all(commit[:12] in str(caught.value) for commit in (old, new)) and NAME in str(caught.value)


# --- slow, wrong, and once more


def test_slow_bytes_are_waited_for(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("/objects/", drip=0.05)
    localhub.fault("vocab.txt", drip=0.05)
    assert same_weights(AutoModel.from_pretrained(NAME), tiny("bert", vocab_size=7, seed=1))


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "/objects/"])
@pytest.mark.parametrize(
    "fault, error",
    [
        ({"body": b"{}"}, FileError),
        ({"body": b"x" * 100_000}, CorruptFile),
        ({"status": 503, "times": 9}, HubUnreachable),
        ({"status": 401, "times": 9}, FileError),
        ({"status": 403, "times": 9}, FileError),
        ({"status": 404, "times": 9}, FileError),
        ({"cut": 3, "times": 9}, HubUnreachable),
        ({"reset": 3, "times": 9}, HubUnreachable),
    ],
    ids=["short", "long", "503", "401", "403", "404", "cut", "reset"],
)
def test_after_an_error_the_next_try_succeeds_and_nothing_is_left_over(
    localhub: FakeHub, repo: Repo, tmp_path: Path, name: str, fault: dict, error: type[Exception]
) -> None:
    localhub.fault(name, **{"times": 5, **fault})
    with pytest.raises(error, match=NAME):
        AutoTokenizer.from_pretrained(NAME)
        AutoModel.from_pretrained(NAME)
    localhub.faults.clear()
    assert same_weights(AutoModel.from_pretrained(NAME), tiny("bert", vocab_size=7, seed=1))
    assert AutoTokenizer.from_pretrained(NAME)("the dog")["input_ids"] == [2, 5, 6, 3]
    left = [path.name for path in (tmp_path / "hub").rglob("*") if "incomplete" in path.name or ".link" in path.name]
    assert left == []


# --- processes

TEN = """
import os, sys
from autoload import AutoConfig, AutoModel, AutoTokenizer
from tests.checkpoints import same_weights, tiny
import autoload.download, huggingface_hub.file_download, huggingface_hub.utils

huggingface_hub.utils.get_session(), huggingface_hub.utils.close_session()  # imports what each process would
right = tiny("bert", vocab_size=7, seed=1)
ready, go = os.pipe()
for _ in range(10):
    if not os.fork():
        os.close(go)
        os.read(ready, 1)  # until all are there
        config, tokenizer, model = (loader.from_pretrained("org/tiny") for loader in (AutoConfig, AutoTokenizer, AutoModel))
        good = same_weights(model, right) and tokenizer("the dog")["input_ids"] == [2, 5, 6, 3]
        os._exit(0 if good else 1)
os.close(ready), os.close(go)
print([os.wait()[1] for _ in range(10)])
"""


def test_ten_processes_download_each_file_once(fakehub: FakeHub, tmp_path: Path) -> None:
    fakehub.repo(NAME, contents(tmp_path / "first", 1))
    done = fakehub.run_client(TEN, tmp_path)
    assert done.stdout == f"{[0] * 10}\n", done.stderr
    paths = Counter(seen.path.rpartition("/")[2] for seen in fakehub.seen if "/resolve/" in seen.path)
    assert paths == {"config.json": 1, "vocab.txt": 1, "model.safetensors": 1}
    assert fakehub.count("GET", "/objects/") == 1 and fakehub.count("GET", "/revision/") == 10


KILLED = """
import json, os, shutil, signal, sys
from autoload import AutoModel, hubcache
from autoload.errors import AutoloadError
from tests.checkpoints import same_weights, tiny
import autoload.download, huggingface_hub.file_download, huggingface_hub.utils

huggingface_hub.utils.get_session(), huggingface_hub.utils.close_session()  # imports what each process would

hubcache.ABANDONED = 0.0
models = {act: tiny("bert", vocab_size=7, seed=seed, hidden_act=act) for seed, act in ((1, "gelu"), (2, "relu"))}

def load(after=None, **how):
    '''What a process of its own gets: a model's name, or an error's; None if it was killed after so many steps.'''
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        killed = os.WIFSIGNALED(os.waitpid(process, 0)[1])
        with os.fdopen(reading) as answer:
            return None if killed else answer.read()
    if after is not None:
        steps = iter(range(after))
        def counted(real):
            def step(*args, **keywords):
                if next(steps, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **keywords)
            return step
        for owner, names in ((os, ("replace", "rename", "symlink", "mkdir", "unlink")), (hubcache.Part, ("write", "close", "_begin"))):
            for name in names:
                setattr(owner, name, counted(getattr(owner, name)))
    try:
        model = AutoModel.from_pretrained("org/tiny", **how)
        act = model.config.hidden_act
        said = act if same_weights(model, models[act]) else "mixture"
    except AutoloadError as e:
        said = type(e).__name__
    os.write(writing, said.encode())
    os._exit(0)

rows, after, stride = [], 0, int(sys.argv[3])
while True:
    shutil.rmtree(sys.argv[1] + "/hub", ignore_errors=True)
    if sys.argv[2] != "none":
        assert load(revision=sys.argv[2]) == "gelu"
        hub = sys.argv[1] + "/hub/models--org--tiny/refs"
        os.makedirs(hub, exist_ok=True)
        with open(hub + "/main", "w") as f:
            f.write(sys.argv[2])
    ended = load(after)
    offline = load(local_files_only=True)
    online = load()
    left = [name for _, _, names in os.walk(sys.argv[1] + "/hub/models--org--tiny") for name in names
            if "incomplete" in name or name.endswith((".link", ".new"))]
    rows.append([ended, offline, online, left])
    if ended:
        break
    after += stride
print(json.dumps(rows))
"""


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("start", ["empty", "older commit"])
def test_a_download_killed_at_any_step_leaves_the_old_model_or_the_new_one(
    fakehub: FakeHub, tmp_path: Path, start: str, stride: int
) -> None:
    repo = fakehub.repo(NAME, contents(tmp_path / "first", 1))
    old = repo.refs["main"]
    repo.push(contents(tmp_path / "second", 2))
    arguments = [str(tmp_path), old if start == "older commit" else "none", str(stride)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env=fakehub.environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) > 20 // stride and rows[-1][0] == "relu"
    for step, (_, offline, online, left) in enumerate(rows):
        assert offline in ("gelu", "relu") if start == "older commit" else offline in ("NotCached", "relu"), (
            step,
            offline,
        )
        assert online == "relu", (step, online)
        assert not [name for name in left if "incomplete" in name], (step, left)


def test_a_file_larger_than_the_process_may_write_is_a_full_disk(fakehub: FakeHub, tmp_path: Path) -> None:
    """Without a small disk: a limit on the size of files, where writing fails in the middle."""
    fakehub.repo(NAME, contents(tmp_path / "first", 1))
    code = """
import resource, signal
from autoload import AutoModel
from autoload.errors import FileError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, most))
try:
    AutoModel.from_pretrained("org/tiny")
except FileError as e:
    print(e)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(type(AutoModel.from_pretrained("org/tiny")).__name__)
"""
    done = fakehub.run_client(code, tmp_path)
    first, second = done.stdout.splitlines()
    assert "cannot be written: File too large" in first and "cache_dir" in first and second == "BertModel", done.stderr
    assert not [path for path in (tmp_path / "hub").rglob("*") if "incomplete" in path.name]
