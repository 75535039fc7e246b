"""Downloads and the cache, against a stand-in for the Hub: what is asked, kept, checked, retried and refused."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autoload import hubcache
from autoload.errors import (
    ArgumentError,
    AutoloadError,
    CorruptFile,
    FileError,
    GatedRepository,
    HubError,
    HubUnreachable,
    MissingFile,
    NotCached,
    RateLimited,
    RepositoryNotFound,
    RevisionNotFound,
)
from autoload.hub import open_files
from tests.fakehub import TOKEN, FakeHub, Repo

pytest_plugins = ["tests.fakehub"]

CONFIG = '{"model_type": "bert"}'
WEIGHTS = bytes(range(256)) * 2000  # 512 kB
NAME = "org/tiny"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    from autoload import download

    monkeypatch.setattr(download, "FIRST_WAIT", 0.01)


@pytest.fixture
def repo(localhub: FakeHub) -> Repo:
    return localhub.repo(NAME, {"config.json": CONFIG, "model.safetensors": WEIGHTS, "sub/vocab.txt": "a\nb\n"})


def blobs(tmp_path: Path) -> list[str]:
    folder = tmp_path / "hub" / "models--org--tiny" / "blobs"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def load(**how) -> bytes:
    """What a model load does: a file, one that is absent, the weights."""
    files = open_files(NAME, **how)
    assert files.json("config.json") == json.loads(CONFIG)
    assert files.find("generation_config.json") is None
    return files.require("model.safetensors").read_bytes()


# --- what is asked for, and how often


def test_the_first_load_asks_once_for_the_list_and_once_for_each_file(localhub: FakeHub, repo: Repo) -> None:
    assert load() == WEIGHTS
    assert [(seen.method, seen.path.split("/")[-1]) for seen in localhub.seen if seen.port == localhub.port] == [
        ("GET", "main"),
        ("GET", "config.json"),
        ("GET", "model.safetensors"),
    ]


def test_the_second_load_asks_once(localhub: FakeHub, repo: Repo) -> None:
    load()
    localhub.seen.clear()
    assert load() == WEIGHTS
    assert localhub.count() == 1


def test_a_pinned_and_cached_commit_asks_nothing_not_even_for_what_is_absent(localhub: FakeHub, repo: Repo) -> None:
    load(revision=repo.refs["main"])
    localhub.seen.clear()
    assert load(revision=repo.refs["main"]) == WEIGHTS
    assert open_files(NAME, revision=repo.refs["main"]).names() == ["config.json", "model.safetensors", "sub/vocab.txt"]
    assert localhub.count() == 0


def test_a_pinned_and_cached_commit_needs_no_http_client(fakehub: FakeHub, tmp_path: Path) -> None:
    commit = fakehub.repo(NAME, {"config.json": CONFIG}).refs["main"]
    code = f"""
import sys
from autoload.hub import open_files
files = open_files("{NAME}", revision="{commit}")
assert files.json("config.json") and files.find("absent") is None
names = {{name.split(".")[0] for name in sys.modules}}
print(sorted(names & {{"requests", "httpx", "httpx2", "torch", "yaml", "tqdm"}}), "autoload.download" in sys.modules)
"""
    assert fakehub.run_client(code, tmp_path).stdout.endswith("True\n")
    assert fakehub.run_client(code, tmp_path).stdout == "[] False\n"


@pytest.mark.parametrize("way", ["argument", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "constant"])
def test_offline_asks_nothing(localhub: FakeHub, repo: Repo, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    localhub.seen.clear()
    if way == "constant":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    elif way != "argument":
        monkeypatch.setenv(way, "1")
    assert load(local_files_only=True if way == "argument" else None) == WEIGHTS
    assert localhub.count() == 0


def test_all_files_of_a_load_come_from_one_commit(localhub: FakeHub, repo: Repo) -> None:
    first = repo.refs["main"]
    files = open_files(NAME)
    files.find("config.json")
    repo.push({"model.safetensors": b"new", "generation_config.json": "{}"})
    assert files.require("model.safetensors").read_bytes() == WEIGHTS
    assert files.find("generation_config.json") is None
    assert files.commit == first != repo.refs["main"]
    assert open_files(NAME).require("model.safetensors").read_bytes() == b"new"


def test_files_that_a_push_left_alone_are_not_downloaded_again(localhub: FakeHub, repo: Repo) -> None:
    load()
    repo.push({"README.md": "new"})
    localhub.seen.clear()
    assert load() == WEIGHTS
    assert localhub.count() == 1


@pytest.mark.parametrize("name", ["v1", "refs/pr/1", "a-branch"])
def test_a_branch_a_tag_and_a_request_are_revisions(localhub: FakeHub, repo: Repo, name: str) -> None:
    old = repo.refs["main"]
    repo.push({"config.json": "{}"}, ref=name)
    files = open_files(NAME, revision=name)
    assert files.json("config.json") == {} and files.commit == repo.refs[name] != old
    assert files.where == f"{NAME}@{name}"
    assert open_files(NAME, revision=name, local_files_only=True).json("config.json") == {}


def test_a_subfolder(localhub: FakeHub, repo: Repo) -> None:
    files = open_files(NAME, subfolder="sub")
    assert files.require("vocab.txt").read_text() == "a\nb\n"
    assert files.require("./vocab.txt") == files.require("vocab.txt")
    assert files.find("config.json") is None and files.names() == ["vocab.txt"]
    with pytest.raises(CorruptFile, match="leads out"):
        files.find("../config.json")
    with pytest.raises(MissingFile, match=r"org/tiny/sub: no config.json. It holds: vocab.txt"):
        files.require("config.json")


def test_names_need_no_download(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    assert open_files(NAME).names() == ["config.json", "model.safetensors", "sub/vocab.txt"]
    assert blobs(tmp_path) == [] and localhub.count() == 1


def test_force_download_fetches_again(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    load()
    path = open_files(NAME).require("model.safetensors")
    path.resolve().write_bytes(b"x" * len(WEIGHTS))  # damage that no length shows
    localhub.seen.clear()
    files = open_files(NAME, force_download=True)
    assert files.require("model.safetensors").read_bytes() == WEIGHTS
    assert files.require("model.safetensors").read_bytes() == WEIGHTS
    assert localhub.count() == 3  # the list, and the file once, over a redirect
    assert load(revision=repo.refs["main"], force_download=True) == WEIGHTS


def test_force_download_and_offline_exclude_each_other(localhub: FakeHub, repo: Repo) -> None:
    with pytest.raises(ArgumentError, match="force_download=True needs the network") as caught:
        open_files(NAME, force_download=True, local_files_only=True)
    assert caught.value.name == "force_download"


def test_cache_dir(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    assert load(cache_dir=tmp_path / "mine") == WEIGHTS
    assert (tmp_path / "mine" / "models--org--tiny" / "snapshots").is_dir() and blobs(tmp_path) == []
    with pytest.raises(ArgumentError, match="cache_dir is 3, expected a directory"):
        load(cache_dir=3)


def test_the_cache_is_shared_with_huggingface_hub(localhub: FakeHub, repo: Repo) -> None:
    from huggingface_hub import hf_hub_download

    theirs = hf_hub_download(NAME, "model.safetensors")
    localhub.seen.clear()
    assert str(open_files(NAME).find("model.safetensors")) == theirs
    assert localhub.count() == 1
    ours = open_files(NAME).find("config.json")
    assert hf_hub_download(NAME, "config.json", local_files_only=True) == str(ours)


def test_marks_of_absence_left_by_huggingface_hub_are_believed(localhub: FakeHub, repo: Repo) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    hf_hub_download(NAME, "config.json")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(NAME, "absent.json")
    localhub.seen.clear()
    files = open_files(NAME, revision=repo.refs["main"])
    assert files.find("config.json") and files.find("absent.json") is None
    assert localhub.count() == 0


# --- who may


def test_a_gated_repository(localhub: FakeHub) -> None:
    localhub.repo("org/gated", {"config.json": CONFIG}, gated=True)
    for token in (None, TOKEN):
        with pytest.raises(GatedRepository, match=f"gated. Ask for access at {localhub.endpoint}/org/gated") as caught:
            open_files("org/gated", token=token).find("config.json")
        assert caught.value.repo_id == "org/gated" and isinstance(caught.value, OSError)


def test_a_private_repository_needs_a_token(localhub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    localhub.repo("org/private", {"config.json": CONFIG}, private=True)
    with pytest.raises(RepositoryNotFound, match="for a private repository pass token"):
        open_files("org/private").find("config.json")
    assert open_files("org/private", token=TOKEN).find("config.json")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert open_files("org/private").find("config.json")
    with pytest.raises(RepositoryNotFound):
        open_files("org/private", token=False, force_download=True).find("config.json")


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_repository_that_is_not_there(localhub: FakeHub, token: str | None) -> None:
    with pytest.raises(RepositoryNotFound, match="nope/nope: not a local directory and not a repository on") as caught:
        open_files("nope/nope", token=token).find("config.json")
    assert caught.value.repo_id == "nope/nope"
    assert localhub.count() == 1


def test_a_revision_that_is_not_there(localhub: FakeHub, repo: Repo) -> None:
    for revision in ("nope", "0" * 40):
        with pytest.raises(RevisionNotFound, match=f"'{revision}' is not a branch, tag or commit") as caught:
            open_files(NAME, revision=revision).find("config.json")
        assert caught.value.revision == revision


@pytest.mark.parametrize("revision", ["../../x", "a..b", "/abs", "a b", "a\\b", "", "main/", "x\0y", "\ud800", 3])
def test_a_revision_that_cannot_be_one_is_refused_at_once(localhub: FakeHub, revision: object) -> None:
    with pytest.raises(RevisionNotFound, match="cannot be a branch, tag or commit"):
        open_files(NAME, revision=revision)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a--b/c", "a/b..c", "repo.git", "x" * 97, "-a", "org/-a", "org/a."])
def test_a_name_that_cannot_be_one_is_refused_at_once(localhub: FakeHub, name: str) -> None:
    with pytest.raises(RepositoryNotFound, match="not a valid name of a repository"):
        open_files(name)
    assert localhub.count() == 0


def test_the_token_goes_to_the_hub_alone(localhub: FakeHub, repo: Repo) -> None:
    files = open_files(NAME, token=TOKEN)
    files.require("config.json")
    files.require("model.safetensors")
    to_hub = [seen for seen in localhub.seen if seen.port == localhub.port]
    to_cdn = [seen for seen in localhub.seen if seen.port == localhub.cdn_port]
    assert to_cdn and all(seen.headers.get("authorization") == f"Bearer {TOKEN}" for seen in to_hub)
    assert not any("authorization" in seen.headers for seen in to_cdn)


def test_a_token_that_the_hub_refuses_or_that_cannot_be_one(localhub: FakeHub, repo: Repo) -> None:
    with pytest.raises(HubError, match="401 .Invalid credentials.* Check the token"):
        open_files(NAME, token="hf_wrong").find("config.json")
    for token in ("two\nlines", "späß", "", True):  # nothing is stored for True
        with pytest.raises(ArgumentError, match="token cannot be used"):
            open_files(NAME, token=token).find("config.json")


def test_proxies_are_refused_with_the_remedy(localhub: FakeHub) -> None:
    with pytest.raises(ArgumentError, match="HTTPS_PROXY") as caught:
        open_files(NAME, proxies={"https": "http://127.0.0.1:1"})
    assert caught.value.name == "proxies" and isinstance(caught.value, TypeError)
    assert open_files(NAME, proxies={})


# --- faults of the network


@pytest.mark.parametrize("where", ["/revision/", "config.json", "/objects/"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500},
        {"status": 408},
        {"cut": 3},
        {"reset": 3},
        {"reset": 0},
        {"stall": 3},
        {"hang": True},
    ],
)
def test_a_passing_fault_is_retried(localhub: FakeHub, repo: Repo, where: str, fault: dict) -> None:
    localhub.fault(where, **fault)
    assert load() == WEIGHTS


def test_an_interrupted_file_is_resumed(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("/objects/", cut=200_000)
    localhub.fault("/objects/", reset=100_000)
    assert load() == WEIGHTS
    asked = [seen.headers.get("range") for seen in localhub.requests("GET", "/objects/")]
    assert asked[0] is None and len(asked) == 3
    starts = [int(value.removeprefix("bytes=").rstrip("-")) for value in asked[1:] if value]
    assert len(starts) == 2 and 100_000 < starts[0] <= 200_000 < starts[1] <= 300_000


def test_progress_is_no_failure(localhub: FakeHub, repo: Repo) -> None:
    """More cuts than tries, but each brings something."""
    localhub.fault("/objects/", cut=90_000, times=50)
    assert load() == WEIGHTS
    assert 6 <= localhub.count("GET", "/objects/") <= 9


def test_a_file_that_changes_while_it_is_resumed_is_not_pieced_together(localhub: FakeHub, repo: Repo) -> None:
    """The CDN has another content under this address from the second request on."""
    sha = hashlib.sha256(WEIGHTS).hexdigest()
    files = open_files(NAME)
    localhub.fault("/objects/", cut=200_000, body=b"\1" * len(WEIGHTS))
    assert files.require("model.safetensors").read_bytes() == WEIGHTS
    ranges = [seen.headers.get("if-range") for seen in localhub.requests("GET", sha)]
    assert ranges[0] is None and ranges[1]


def test_what_was_resumed_and_is_wrong_is_fetched_once_more_in_one_piece(localhub: FakeHub, repo: Repo) -> None:
    wrong_start = b"\1" * len(WEIGHTS)
    etag = '"cdn-' + hashlib.md5(WEIGHTS).hexdigest() + '"'  # the same as of the right content
    localhub.fault("/objects/", cut=200_000, body=wrong_start, headers={"ETag": etag})
    assert load() == WEIGHTS
    assert localhub.count("GET", "/objects/") == 3


def test_a_server_without_ranges_is_served_from_the_start(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("/objects/", cut=200_000, headers={"ETag": 'W/"weak"'})
    localhub.fault("/objects/", whole=True)
    assert load() == WEIGHTS
    last = localhub.requests("GET", "/objects/")[-1]
    assert "range" in last.headers and "if-range" not in last.headers


def test_cuts_and_new_starts_in_turn_come_to_an_end(localhub: FakeHub, repo: Repo) -> None:
    """Each request ends further or less far than the one before, and the server knows no ranges."""
    for _ in range(50):
        localhub.fault("/objects/", cut=300_000, whole=True)
        localhub.fault("/objects/", cut=400_000, whole=True)
    with pytest.raises(HubUnreachable, match="model.safetensors"):
        load()
    assert localhub.count("GET", "/objects/") < 10


@pytest.mark.parametrize("seed", range(40))
def test_whatever_goes_wrong_values_are_right_or_there_is_an_error_of_ours(
    localhub: FakeHub, repo: Repo, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    kinds = [
        lambda: {"status": dice.choice([408, 429, 500, 502, 503, 504])},
        lambda: {"cut": dice.randrange(520_000)},
        lambda: {"reset": dice.randrange(520_000)},
        lambda: {"body": dice.randbytes(dice.choice([0, 22, 512_000, 600_000]))},
        lambda: {"whole": True},
        lambda: {"headers": {"ETag": '"x"'}},
        lambda: {"headers": {"Content-Range": "bytes 7-/9"}},
    ]
    for _ in range(dice.randrange(1, 9)):
        localhub.fault(dice.choice(["/revision/", "config.json", "model", "/objects/", "/"]), **dice.choice(kinds)())
    try:
        assert load() == WEIGHTS
    except AutoloadError as e:
        assert isinstance(e, (HubError, CorruptFile)), e
    localhub.faults.clear()
    assert load() == WEIGHTS
    assert localhub.count() < 80 and not any("incomplete" in name for name in blobs(tmp_path))


@pytest.mark.parametrize("where", ["/revision/", "config.json", "/objects/"])
def test_a_fault_that_stays_is_reported_after_a_bounded_number_of_requests(
    localhub: FakeHub, repo: Repo, where: str
) -> None:
    localhub.fault(where, status=503, times=100)
    with pytest.raises(HubUnreachable, match="answered 503.* when asked for") as caught:
        load()
    assert localhub.count("GET", where) == 5
    assert caught.value.endpoint == localhub.endpoint and isinstance(caught.value, OSError)


def test_a_hub_that_never_answers_is_reported_in_bounded_time(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("/revision/", hang=True, times=100)
    start = time.monotonic()
    with pytest.raises(HubUnreachable, match="could not be reached .*[Tt]ime"):
        load()
    assert time.monotonic() - start < 15
    assert localhub.count() == 5


def test_a_list_that_never_ends_is_reported(localhub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    from autoload import download

    monkeypatch.setattr(download, "LONGEST_LISTING", 1000)
    localhub.fault("/revision/", body=b" " * 100_000, times=100)
    with pytest.raises(HubUnreachable, match="and did not end"):
        load()


def test_a_hub_that_is_not_there(localhub: FakeHub, repo: Repo) -> None:
    localhub.stop()
    with pytest.raises(HubUnreachable, match="could not be reached .*refused.* Check the connection"):
        load()


def test_429_with_a_short_wait_is_waited_for(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("/revision/", status=429, headers={"Retry-After": "0.4"})
    start = time.monotonic()
    assert load() == WEIGHTS
    assert 0.4 <= time.monotonic() - start < 5


@pytest.mark.parametrize(
    "headers, seconds",
    [({"Retry-After": "3600"}, 3600), ({"RateLimit": '"api";r=0;t=299'}, 299), ({"Retry-After": "D"}, 600)],
)
def test_429_with_a_long_wait_is_reported_at_once(localhub: FakeHub, repo: Repo, headers: dict, seconds: int) -> None:
    if headers.get("Retry-After") == "D":
        headers = {"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 600))}
    localhub.fault("config.json", status=429, times=100, headers=headers)
    start = time.monotonic()
    with pytest.raises(RateLimited, match="answered 429 .*too many requests. Try again after") as caught:
        load()
    assert time.monotonic() - start < 5 and localhub.count("GET", "config.json") == 1
    assert caught.value.status == 429 and caught.value.retry_after == pytest.approx(seconds, abs=2)


def test_a_fault_is_never_taken_for_absence(localhub: FakeHub) -> None:
    """An optional file that cannot be had is an error: without it, the model would be another one."""
    localhub.repo(NAME, {"config.json": CONFIG, "generation_config.json": "{}"})
    localhub.fault("generation_config.json", status=503, times=100)
    files = open_files(NAME)
    files.require("config.json")
    with pytest.raises(HubUnreachable, match="generation_config.json"):
        files.find("generation_config.json")


# --- what comes is checked


@pytest.mark.parametrize("name, where", [("config.json", "config.json"), ("model.safetensors", "/objects/")])
def test_wrong_content_is_removed_and_reported(
    localhub: FakeHub, repo: Repo, tmp_path: Path, name: str, where: str
) -> None:
    right = repo.commits[repo.refs["main"]][name]
    wrong = bytes([right[0] ^ 1]) + right[1:]
    localhub.fault(where, body=wrong)
    with pytest.raises(CorruptFile, match=f"sent a wrong {name}: hash .* expected .*force_download=True") as caught:
        open_files(NAME).find(name)
    assert caught.value.expected == repo.etag(name, right) and caught.value.found == repo.etag(name, wrong)
    assert blobs(tmp_path) == []
    assert open_files(NAME).require(name).read_bytes() == right


def test_content_that_is_too_long_or_too_short(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    localhub.fault("/objects/", body=WEIGHTS + b"more")
    with pytest.raises(CorruptFile, match="model.safetensors came with more than its 512000 bytes"):
        open_files(NAME).find("model.safetensors")
    assert blobs(tmp_path) == []
    localhub.fault("/objects/", body=WEIGHTS[:-1])  # retried like any break
    assert load() == WEIGHTS


def test_an_error_page_is_no_file(localhub: FakeHub, repo: Repo) -> None:
    localhub.fault("config.json", body=b"<html>Please log in to this network</html>")
    with pytest.raises(CorruptFile):
        open_files(NAME).find("config.json")


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"sha": "main", "siblings": []}', b'{"sha": null, "siblings": []}', b"[" * 100_000, b"\xff"]
    + [b'{"sha": "%s", "siblings": %s}' % (b"a" * 40, rows) for rows in (b"null", b"3", b"[3]", b'[{"rfilename": "a", "lfs": 3}]')],
)  # fmt: skip
def test_what_is_no_hub_is_called_so(localhub: FakeHub, repo: Repo, body: bytes) -> None:
    localhub.fault("/revision/", body=body)
    with pytest.raises(HubError, match="does not answer like a Hub .* Check HF_ENDPOINT"):
        load()
    assert localhub.count() == 1


def test_a_hub_that_answers_with_another_commit_than_asked(localhub: FakeHub, repo: Repo) -> None:
    old = repo.refs["main"]
    new = repo.push({"config.json": "{}"})
    localhub.fault("/revision/", body=json.dumps({"sha": new, "siblings": []}).encode())
    with pytest.raises(HubError, match="does not answer like a Hub"):
        open_files(NAME, revision=old).find("config.json")


def without_hashes(localhub: FakeHub, repo: Repo) -> None:
    """The next list has names alone, as that of a mirror may."""
    commit = repo.refs["main"]
    rows = [{"rfilename": name} for name in repo.commits[commit]]
    localhub.fault("/revision/", body=json.dumps({"sha": commit, "siblings": rows}).encode())


def test_a_mirror_that_lists_no_hashes_is_asked_for_each(localhub: FakeHub, repo: Repo) -> None:
    without_hashes(localhub, repo)
    assert load() == WEIGHTS
    assert localhub.count("HEAD", "config.json") == 1


def test_a_list_that_may_be_cut_short_does_not_decide_what_is_absent(
    localhub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoload import download

    monkeypatch.setattr(download, "MOST_FILES", 1)
    body = json.dumps({"sha": repo.refs["main"], "siblings": [{"rfilename": "x"}]}).encode()
    localhub.fault("/revision/", body=body)
    assert load() == WEIGHTS
    assert localhub.count("HEAD", "generation_config.json") == 1


@pytest.mark.parametrize("etag", ["../../../escaped", "/tmp/escaped", "..", "", "abc", "A" * 40])
def test_an_etag_is_never_a_path(localhub: FakeHub, repo: Repo, tmp_path: Path, etag: str) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    localhub.fault("config.json", headers={"ETag": f'"{etag}"'}, times=100)
    without_hashes(localhub, repo)
    with pytest.raises(HubError, match="expected a sha1 or sha256"):
        open_files(NAME).find("config.json")
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert open_files(NAME).find("config.json")  # with hashes in the list, the ETag does not matter


@pytest.mark.parametrize("blob", ["../../../escaped", "", 3, None, "A" * 40])
def test_a_hash_in_the_list_is_never_a_path(localhub: FakeHub, repo: Repo, tmp_path: Path, blob: object) -> None:
    rows = [{"rfilename": "config.json", "size": len(CONFIG), "blobId": blob}]
    localhub.fault("/revision/", body=json.dumps({"sha": repo.refs["main"], "siblings": rows}).encode())
    assert open_files(NAME).json("config.json")  # by the ETag, which is right
    assert not list(tmp_path.rglob("*escaped*"))


# --- the cache


def test_without_network_an_unpinned_repository_loads_from_the_cache(localhub: FakeHub, repo: Repo, caplog) -> None:
    load()
    localhub.stop()
    with caplog.at_level(logging.WARNING):
        assert load() == WEIGHTS
    assert "could not be reached" in caplog.text and repo.refs["main"][:12] in caplog.text


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429}, {"hang": True}, {"cut": 5}, {"status": 401}, {"body": b"<html>"}]
)
def test_a_hub_in_trouble_costs_one_request_where_the_cache_will_do(localhub: FakeHub, repo: Repo, fault: dict) -> None:
    load()
    localhub.seen.clear()
    localhub.fault("/revision/", times=100, **fault)
    start = time.monotonic()
    assert load() == WEIGHTS
    assert localhub.count() == 1 and time.monotonic() - start < 5


def test_a_branch_that_is_gone_is_not_replaced_by_the_cache(localhub: FakeHub, repo: Repo) -> None:
    repo.tag("old")
    load(revision="old")
    del repo.refs["old"]
    with pytest.raises(RevisionNotFound):
        load(revision="old")
    assert load(revision="old", local_files_only=True) == WEIGHTS


def test_a_token_that_has_run_out_does_not_keep_from_the_cache(localhub: FakeHub, repo: Repo, caplog) -> None:
    load(token=TOKEN)
    assert load(token="hf_old") == WEIGHTS and "Check the token" in caplog.text


def test_without_network_a_file_that_was_never_cached_is_an_error_not_absent(localhub: FakeHub, repo: Repo) -> None:
    open_files(NAME).find("config.json")
    localhub.stop()
    files = open_files(NAME)
    assert files.find("config.json") and files.find("absent.json") is None
    with pytest.raises(
        HubUnreachable, match="could not be reached.* And model.safetensors is not in the cache"
    ) as caught:
        files.find("model.safetensors")
    assert caught.value.endpoint == localhub.endpoint
    with pytest.raises(HubUnreachable, match="a.bin or b.bin is not in the cache"):
        raise files.missing(["a.bin", "b.bin"])


def test_offline_and_not_cached_says_what_is(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(NotCached, match="offline mode is on .*nothing of it is cached") as caught:
        open_files(NAME, local_files_only=True).find("config.json")
    assert caught.value.repo_id == NAME and str(tmp_path / "hub") in str(caught.value)
    open_files(NAME).find("config.json")
    commit = repo.refs["main"]
    files = open_files(NAME, local_files_only=True)
    with pytest.raises(
        NotCached, match=f"model.safetensors is not in the cache .*cached revisions: {commit[:12]}"
    ) as caught:
        files.find("model.safetensors")
    assert caught.value.cached_revisions == [commit] and caught.value.filename == "model.safetensors"
    assert files.names() == ["config.json", "model.safetensors", "sub/vocab.txt"]
    for revision in ("v2", "0" * 40):
        with pytest.raises(NotCached, match=commit[:12]):
            open_files(NAME, revision=revision, local_files_only=True).find("config.json")
    with pytest.raises(NotCached, match="absent.bin is not in the cache"):
        files.require("absent.bin")


def test_a_cache_filled_by_others_loads_offline_with_what_it_has(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(NAME, "config.json")
    hf_hub_download(NAME, "model.safetensors")
    shutil.rmtree(tmp_path / "hub" / "models--org--tiny" / "trees", ignore_errors=True)
    assert load(local_files_only=True) == WEIGHTS
    files = open_files(NAME, local_files_only=True)
    assert files.names() == ["config.json", "model.safetensors"]
    Path(files.require("config.json")).resolve().unlink()
    with pytest.raises(NotCached, match="config.json is not in the cache"):  # a link is left: it was there
        files.find("config.json")


def test_offline_after_a_push_that_was_seen_but_not_loaded(localhub: FakeHub, repo: Repo) -> None:
    """The branch goes on leading to the commit of which something is here."""
    load()
    repo.push({"config.json": "{}"})
    localhub.fault("config.json", status=503, times=5)
    with pytest.raises(HubUnreachable):
        load()
    assert load(local_files_only=True) == WEIGHTS


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_damaged_file_in_the_cache_is_replaced(
    localhub: FakeHub, repo: Repo, name: str, pinned: bool, caplog
) -> None:
    load()
    how = {"revision": repo.refs["main"]} if pinned else {}
    path = open_files(NAME).require(name)
    path.resolve().write_bytes(b"{}")
    with pytest.raises(CorruptFile, match=f"{name}: damaged: 2 bytes, expected .*force_download=True"):
        open_files(NAME, local_files_only=True, **how).find(name)
    assert load(**how) == WEIGHTS
    assert "Downloading it again" in caplog.text
    path.resolve().unlink()
    assert load(**how) == WEIGHTS


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 2}', '{"format_version": 1, "files": {"a": 3}}', "[" * 100_000]
)
def test_a_damaged_list_in_the_cache_is_asked_for_again(
    localhub: FakeHub, repo: Repo, tmp_path: Path, text: str
) -> None:
    load()
    commit = repo.refs["main"]
    (tmp_path / "hub" / "models--org--tiny" / "trees" / f"{commit}.json").write_text(text)
    assert load(revision=commit) == WEIGHTS
    localhub.stop()
    (tmp_path / "hub" / "models--org--tiny" / "refs" / "main").write_text("../../..")
    with pytest.raises(HubUnreachable):
        load()


def test_a_full_disk_says_so_and_leaves_nothing(
    localhub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file on a disk that fills up."""

        def __init__(self, path, mode):
            self.file = open(path, mode)

        def write(self, chunk: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    monkeypatch.setattr(hubcache, "open", Full, raising=False)
    with pytest.raises(FileError, match="no space left on the disk .*bytes free.*cache_dir"):
        open_files(NAME).find("model.safetensors")
    assert blobs(tmp_path) == []
    monkeypatch.delattr(hubcache, "open")
    assert load() == WEIGHTS


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 100 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk]).returncode:
        pytest.skip("no permission to mount a small file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_really_full(localhub: FakeHub, repo: Repo, small_disk: Path) -> None:
    with pytest.raises(FileError, match=f"{small_disk}.*no space left on the disk"):
        load(cache_dir=small_disk)
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert not any("incomplete" in name for name in left)
    repo.push({"model.safetensors": b"small"})
    assert open_files(NAME, cache_dir=small_disk).require("model.safetensors").read_bytes() == b"small"


def test_a_place_that_cannot_be_a_cache_is_named(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file/models--org--tiny/.* cannot be written: Not a directory.*cache_dir"):
        load(cache_dir=tmp_path / "file")


def test_a_read_only_cache_serves_what_it_has_even_after_a_push(
    localhub: FakeHub, repo: Repo, caplog, monkeypatch
) -> None:
    load()
    old = repo.refs["main"]
    repo.push({"config.json": "{}"})
    monkeypatch.setattr(hubcache.HubCache, "writable", lambda self: False)
    files = open_files(NAME)
    assert files.json("config.json") == json.loads(CONFIG) and files.commit == old
    assert "is read-only" in caplog.text


AS_NOBODY = """
import os
from autoload.hub import open_files
open_files("org/tiny", cache_dir={home!r} + "/warm").require("config.json")  # imports what nobody may not even read
os.setuid(65534)
assert not os.access({home!r} + "/hub/models--org--tiny", os.W_OK)
files = open_files("org/tiny")
print(len(files.require("model.safetensors").read_bytes()), files.find("absent"), files.commit)
try:
    files.require("sub/vocab.txt")
except OSError as e:
    print(type(e).__name__, e)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_cache_of_another_user(fakehub: FakeHub) -> None:
    import tempfile

    repo = fakehub.repo(NAME, {"config.json": CONFIG, "model.safetensors": WEIGHTS, "sub/vocab.txt": "a"})
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)
        code = 'from autoload.hub import open_files; open_files("org/tiny").require("model.safetensors")'
        assert fakehub.run_client(code, home).returncode == 0  # but not sub/vocab.txt
        commit = repo.refs["main"]
        done = fakehub.run_client(AS_NOBODY.format(home=home), home)
        lines = done.stdout.splitlines()
        assert lines[0] == f"{len(WEIGHTS)} None {commit}", done.stderr
        assert lines[1].startswith("FileError") and "cannot be written: Permission denied" in lines[1]
        repo.tag("other")  # neither this name nor the list of files can be written down
        shutil.rmtree(Path(home) / "hub" / "models--org--tiny" / "trees")
        code = AS_NOBODY.replace('files = open_files("org/tiny")', 'files = open_files("org/tiny", revision="other")')
        done = fakehub.run_client(code.format(home=home), home)
        assert done.stdout.splitlines()[0] == f"{len(WEIGHTS)} None {commit}", done.stderr
        repo.push({"model.safetensors": b"new"})
        done = fakehub.run_client(AS_NOBODY.format(home=home), home)
        assert done.stdout.splitlines()[0] == f"{len(WEIGHTS)} None {commit}", done.stderr


# --- many at once


def test_threads_that_load_at_once(localhub: FakeHub, repo: Repo) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: load() == WEIGHTS, range(16))) == {True}
    assert localhub.count("GET", "/objects/") == 1


def test_a_download_leaves_no_thread_and_no_open_file_behind(fakehub: FakeHub, tmp_path: Path) -> None:
    fakehub.repo(NAME, {"config.json": CONFIG, "model.safetensors": WEIGHTS * 4})
    code = """
import os, threading
from autoload.hub import open_files
files = open_files("org/tiny")
files.require("config.json"), files.require("model.safetensors")
print(threading.enumerate() == [threading.main_thread()])
links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
print([os.readlink(link) for link in links if os.path.exists(link) and "models--" in os.readlink(link)])
"""
    done = fakehub.run_client(code, tmp_path, HF_HUB_DISABLE_PROGRESS_BARS="0")
    assert done.stdout == "True\n[]\n", done.stderr


def test_processes_that_fill_an_empty_cache_at_once(fakehub: FakeHub, tmp_path: Path) -> None:
    fakehub.repo(NAME, {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    code = """
import hashlib
from autoload.hub import open_files
files = open_files("org/tiny")
print(files.json("config.json"), hashlib.sha256(files.require("model.safetensors").read_bytes()).hexdigest())
"""
    env = fakehub.environment(tmp_path)
    clients = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = {client.communicate(timeout=60)[0] for client in clients}
    assert said == {f"{json.loads(CONFIG)} {hashlib.sha256(WEIGHTS).hexdigest()}\n"}
    assert fakehub.count("GET", "/objects/") == 1


def test_a_killed_download_is_continued_and_its_rest_cleared_away(
    localhub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    localhub.fault("/objects/", stall=300_000)
    code = 'from autoload.hub import open_files; open_files("org/tiny").require("model.safetensors")'
    env = localhub.environment(tmp_path) | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    client = subprocess.Popen([sys.executable, "-c", code], env=env)
    deadline = time.monotonic() + 30
    folder = tmp_path / "hub" / "models--org--tiny" / "blobs"
    while time.monotonic() < deadline and not any(
        path.stat().st_size > 200_000 for path in folder.glob("*.incomplete")
    ):
        time.sleep(0.02)
    client.send_signal(signal.SIGKILL)
    client.wait(10)
    assert [name.endswith(".incomplete") for name in blobs(tmp_path)] == [True]
    monkeypatch.setattr(hubcache, "ABANDONED", 0.0)
    assert load() == WEIGHTS
    assert not any("incomplete" in name for name in blobs(tmp_path))
    assert localhub.requests("GET", "/objects/")[-1].headers.get("range", "").startswith("bytes=")


def test_a_failed_download_is_continued_by_the_next_load(localhub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    localhub.fault("/objects/", cut=300_000)
    localhub.fault("/objects/", status=503, times=4)
    localhub.fault("/objects/", status=503)
    with pytest.raises(HubUnreachable):
        load()
    sha = hashlib.sha256(WEIGHTS).hexdigest()
    assert f"{sha}.incomplete" in blobs(tmp_path)
    assert load() == WEIGHTS
    assert localhub.requests("GET", "/objects/")[-1].headers.get("range", "").startswith("bytes=")
    assert not any("incomplete" in name for name in blobs(tmp_path))


def test_a_lock_that_is_never_released_costs_patience_only(
    localhub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(hubcache, "PATIENCE", 0.2)
    lock = tmp_path / "hub" / ".locks" / "models--org--tiny" / f"{hashlib.sha256(WEIGHTS).hexdigest()}.lock"
    lock.parent.mkdir(parents=True)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(lock):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        assert load() == WEIGHTS
    finally:
        release.set()
        thread.join()


# --- Xet


@pytest.fixture
def xet(localhub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The stand-in offers the weights over Xet; what would fetch them is replaced: list of expected sizes."""
    from huggingface_hub import constants, file_download

    from autoload import download

    called: list[int] = []

    def xet_get(*, incomplete_path: Path, xet_file_data, headers, expected_size: int, displayed_filename: str) -> None:
        called.append(expected_size)
        assert xet_file_data.file_hash == "ab" * 32 and displayed_filename == "model.safetensors"
        if len(called) == 2:
            raise RuntimeError("no server")
        incomplete_path.write_bytes(WEIGHTS)

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False, raising=False)
    monkeypatch.setattr(download, "XET_FROM", 1)
    monkeypatch.setattr(download, "find_spec", lambda name: name)
    monkeypatch.setattr(file_download, "xet_get", xet_get)
    offer = {
        "X-Xet-Hash": "ab" * 32,
        "X-Xet-Refresh-Route": f"{localhub.endpoint}/api/models/org/tiny/xet-read-token/x",
    }
    localhub.fault("/resolve/", method="HEAD", headers=offer, times=100)
    return called


def test_a_large_file_comes_over_xet_where_that_is_offered(localhub: FakeHub, repo: Repo, xet: list[int]) -> None:
    assert load() == WEIGHTS
    assert xet == [len(WEIGHTS)] and localhub.count("GET", "/objects/") == 0


def test_xet_that_fails_is_replaced_by_plain_http(localhub: FakeHub, repo: Repo, xet: list[int], caplog) -> None:
    xet.append(0)
    assert load() == WEIGHTS
    assert localhub.count("GET", "/objects/") == 1 and "over Xet failed (RuntimeError: no server)" in caplog.text


# --- the stand-in itself


def test_upload_folder_works_against_the_stand_in(fakehub: FakeHub, tmp_path: Path) -> None:
    code = """
from pathlib import Path
from huggingface_hub import HfApi
folder = Path("up")
folder.mkdir()
(folder / "config.json").write_text("{}")
(folder / "model.safetensors").write_bytes(b"w" * 1000)
api = HfApi(token="hf_stand_in")
print(api.create_repo("tester/new", exist_ok=True).repo_id)
print(api.upload_folder(folder_path=folder, repo_id="tester/new", commit_message="first").oid)
from autoload.hub import open_files
files = open_files("tester/new")
print(files.names(), files.require("model.safetensors").stat().st_size, files.commit)
"""
    done = fakehub.run_client(code, tmp_path)
    assert done.returncode == 0, done.stderr
    commit = fakehub.repos["tester/new"].refs["main"]
    assert done.stdout.splitlines() == ["tester/new", commit, f"['config.json', 'model.safetensors'] 1000 {commit}"]


def test_snapshot_download_works_against_the_stand_in_and_serves_us(localhub: FakeHub, repo: Repo) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(NAME)
    localhub.stop()
    assert load(local_files_only=True) == WEIGHTS
