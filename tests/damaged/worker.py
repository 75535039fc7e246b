"""A process that loads damaged models under a memory limit, and the side of the tests that watches it.

Run as `python -m tests.damaged.worker FOLDER`: it makes the healthy models in FOLDER, checks them against the files with
a reader of its own, limits its memory to a gigabyte more than that took, and then answers each line of its input (a case,
or files to load) with a line. The parent ends it when an answer takes too long.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 5.0  # for one load
MEMORY = 1 << 30  # bytes, beyond what a process with the library and the healthy models takes
ROOT = Path(__file__).resolve().parents[2]


class Watched:
    """The worker as the tests see it; started when first asked, and again after it had to be ended."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="damaged-")
        os.chmod(self.folder, 0o755)  # for the cases that are loaded as another user
        self.process: subprocess.Popen[bytes] | None = None
        self.buffer = b""
        self.models: dict[str, str] = {}  # where the healthy models are

    def copy(self, base: str) -> Path:
        """A copy of a healthy model, to be changed."""
        if self.process is None:
            self._start()
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "model"
        shutil.copytree(self.models[base], folder)
        return folder

    def ask(self, question: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
        """The worker's answer, or {"outcome": "hang" or "crash"}."""
        process = self.process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            answer = self._line(seconds)
        except (BrokenPipeError, EOFError):
            status = process.wait()
            self._end()
            return {"outcome": "crash", "status": status}
        if answer is None:
            self._end()
            return {"outcome": "hang"}
        return json.loads(answer)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "OMP_NUM_THREADS": "1",
                       "HF_HUB_OFFLINE": "1", "HF_HOME": self.folder + "/hub"}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.damaged.worker", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env=environment,
        )
        ready = self._line(120)
        assert ready is not None, "the worker did not start"
        self.models = json.loads(ready)["models"]
        return self.process

    def _line(self, seconds: float) -> bytes | None:
        assert self.process is not None and self.process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise EOFError
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        self.process, self.buffer = None, b""

    def close(self) -> None:
        """End the worker and remove its files."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)


# -- in the process itself


def load_model(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The tensors of the loaded model."""
    import autoload

    auto = autoload.AutoModel if base in ("bert", "vocab", "pickle", "sentence") else autoload.AutoModelForCausalLM
    return tensors(auto.from_pretrained(folder, **keywords).state_dict())


def load_tokenizer(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The ids of a text."""
    import autoload
    from tests.damaged import healthy

    tokenizer = autoload.AutoTokenizer.from_pretrained(folder, **keywords)
    ids = tokenizer(healthy.TEXT)["input_ids"]
    assert isinstance(tokenizer.decode(ids), str) and all(type(i) is int and i >= 0 for i in ids)
    return ids


def load_chat(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """A rendered conversation."""
    import autoload
    from tests.damaged import healthy

    tokenizer = autoload.AutoTokenizer.from_pretrained(folder, **keywords)
    return tokenizer.apply_chat_template(healthy.MESSAGES, tokenize=False)


def load_config(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The configuration's type and width."""
    import autoload

    config = autoload.AutoConfig.from_pretrained(folder, **keywords)
    return [config.model_type, config.hidden_size]


def load_auto(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The tensors of a model of any type; `base` is the Auto class."""
    import autoload

    return tensors(getattr(autoload, base).from_pretrained(folder, **keywords).state_dict())


def load_sentence(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The size and the length of a sentence's vector."""
    import torch

    import autoload

    vector = autoload.AutoModelForSentenceEmbedding.from_pretrained(folder, **keywords).encode("the dog")
    return [len(vector), round(float(torch.as_tensor(vector).square().sum()), 4)]


def load_audio(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """The shape of what a second of sound becomes."""
    import numpy as np

    import autoload

    extractor = autoload.AutoFeatureExtractor.from_pretrained(folder, **keywords)
    sound = np.sin(np.arange(extractor.sampling_rate, dtype=np.float32))
    features = extractor(sound, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"]
    assert np.isfinite(features).all()
    return list(features.shape)


def load_speech(folder: Path, base: str, keywords: dict[str, Any]) -> Any:
    """How many recordings were written down, with times."""
    import torch

    import autoload

    model = autoload.AutoModelForSpeechSeq2Seq.from_pretrained(folder, **keywords)
    sound = torch.sin(torch.arange(8.0 * 20)).view(1, 8, 20)
    out = model.generate(sound, language="en", task="transcribe", return_token_timestamps=True)
    return [len(out["sequences"]), len(out["token_timestamps"])]


ACTIONS: dict[str, Callable[[Path, str, dict[str, Any]], Any]] = {
    "model": load_model,
    "auto": load_auto,
    "tokenizer": load_tokenizer,
    "chat": load_chat,
    "config": load_config,
    "sentence": load_sentence,
    "audio": load_audio,
    "speech": load_speech,
}
HAVE = {"sentence": ("model", "tokenizer", "sentence"), "whisper": ("audio", "speech")}  # bases: what is loaded first


def tensors(state: dict[str, Any]) -> dict[str, str]:
    """Of each tensor its shape, its dtype and a hash of its bytes."""
    import torch

    def described(tensor: torch.Tensor) -> str:
        data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        return f"{list(tensor.shape)} {tensor.dtype} {hashlib.sha256(data).hexdigest()[:16]}"

    return {name: described(tensor) for name, tensor in state.items()}


def stored(folder: Path) -> dict[str, Any]:
    """The tensors of a directory, read without this library."""
    import torch
    from safetensors.torch import load

    if (folder / "pytorch_model.bin").exists():
        return torch.load(folder / "pytorch_model.bin", weights_only=True)
    return {
        name: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load(path.read_bytes()).items()
    }


def independently(folder: Path, load: str) -> Any:
    """What the libraries that own the formats say of a directory: its tensors, or the ids of a text."""
    if load == "model":
        return tensors(stored(folder))
    if load == "auto":
        return None  # the asker knows
    from tokenizers import Tokenizer

    from tests.damaged import healthy

    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    rust = Tokenizer.from_file(str(path))
    return rust.encode(healthy.TEXT).ids if rust.truncation is None and rust.padding is None else None


def right_values(models: dict[str, Path]) -> dict[tuple[str, str], Any]:
    """What a load has to give: of each model, under each action."""
    from tests.damaged import healthy

    right: dict[tuple[str, str], Any] = {}
    for base, folder in models.items():
        state = stored(folder)
        if base == "gpt2":
            state["lm_head.weight"] = state["transformer.wte.weight"]
        right[base, "model"] = tensors(state)
        right[base, "tokenizer"], right[base, "chat"] = healthy.IDS.get(base), healthy.RENDERED
        right[base, "sentence"], right[base, "audio"], right[base, "speech"] = [4, 1.0], [1, 8, 100], [1, 1]
        right[base, "config"] = ["bert", 16]
    return right


def snapshot(folder: Path) -> list[str]:
    """Every file and directory below."""
    return sorted(os.path.join(at, name) for at, inner, names in os.walk(folder) for name in (*inner, *names))


def attempt(act: Callable[[], Any]) -> dict[str, Any]:
    """What comes of a load: a value, or an error."""
    start, worked = time.monotonic(), time.process_time()
    try:
        result: dict[str, Any] = {"outcome": "loads", "value": act()}
    except BaseException as e:
        if isinstance(e, (KeyboardInterrupt, SystemExit)):
            raise
        kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(e).__mro__]
        result = {"outcome": "error", "kinds": kinds, "text": str(e), "field": str(getattr(e, "field", ""))}
    return result | {"seconds": time.monotonic() - start, "worked": time.process_time() - worked}


def run_case(case: Any, models: dict[str, Path], right: dict[tuple[str, str], Any], home: Path) -> dict[str, Any]:
    """Damage a copy, load it, and say what came of it."""
    place = Path(tempfile.mkdtemp(dir=home))
    place.chmod(0o755)
    folder = place / "model"
    shutil.copytree(models[case.base], folder)
    case.damage(folder)
    before = snapshot(place)
    if case.as_nobody:
        os.seteuid(65534)
    try:
        result = attempt(lambda: ACTIONS[case.load](folder, case.base, case.keywords))
    finally:
        if case.as_nobody:
            os.seteuid(0)
    if result["outcome"] == "loads":
        result["right"] = result["value"] == (right[case.base, case.load] if case.value is None else case.value)
    result["stray"] = sorted({*snapshot(place)} ^ {*before})
    folder.chmod(0o755)
    shutil.rmtree(place)
    return result


def main(home: Path) -> None:
    import resource

    from tests.damaged import healthy
    from tests.damaged.cases import CASES

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints goes to stderr
    models = healthy.make(Path(tempfile.mkdtemp(dir=home)))
    right = right_values(models)
    for base in models:  # imports what a user without rights could not read, and what must not count as memory
        for load in HAVE.get(base, ("model", "tokenizer")):
            assert ACTIONS[load](models[base], base, {}) == right[base, load], (base, load)
    with open("/proc/self/statm") as f:
        size = int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    print(json.dumps({"models": {base: str(folder) for base, folder in models.items()}}), file=answers, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "case" in question:
            result = run_case(CASES[question["case"]], models, right, home)
        else:
            folder = Path(question["folder"])
            before = snapshot(folder.parent)
            result = attempt(lambda: ACTIONS[question["load"]](folder, question["base"], {}))  # noqa: B023
            if result["outcome"] == "loads":
                result["expected"] = attempt(lambda: independently(folder, question["load"])).get("value")  # noqa: B023
            result["stray"] = sorted({*snapshot(folder.parent)} ^ {*before})
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
