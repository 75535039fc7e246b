"""A stand-in for the Hub on 127.0.0.1, for tests of what is downloaded, cached, retried and refused.

It serves repositories with commits, branches and tags as the Hub does (ETag, X-Repo-Commit, X-Error-Code, redirects of
large files to a second port that plays the CDN, Range), takes what `HfApi.upload_folder` sends, fails as a script says, and
writes down every request. Use it as a pytest plugin (`pytest_plugins = ["tests.fakehub"]`) or by hand:

    with FakeHub() as hub:
        repo = hub.repo("org/tiny", {"config.json": "{}", "model.safetensors": data})
        hub.fault("config.json", status=503)  # the next request for it
        done = hub.run_client("from autoload import AutoModel; ...")
        assert hub.count("GET") == 3

PYTEST_DONT_REWRITE: this module is imported by name as well.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "hf_stand_in"
LARGE = ("*.safetensors", "*.bin", "*.h5", "*.model", "*.msgpack", "*.onnx")
MOST_REQUESTS = 5000  # a client that loops is stopped by an answer of 500


def blob_id(data: bytes) -> str:
    """The id that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose address contains `match`."""

    match: str
    method: str | None = None
    times: int = 1
    status: int | None = None  # answer this instead
    headers: dict[str, str] = field(default_factory=dict)  # set or replace; with no status, on the usual answer
    cut: int | None = None  # bytes of the body before the connection is closed
    reset: int | None = None  # bytes of the body before the connection is reset
    stall: int | None = None  # bytes of the body before nothing more comes
    drip: float | None = None  # seconds between twentieths of the body
    hang: bool = False  # accept the request, never answer
    body: bytes | None = None  # send this instead
    whole: bool = False  # do not know of Range


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    port: int
    time: float


class Repo:
    """A repository: commits are whole sets of files, refs are names for commits."""

    def __init__(self, name: str, large: tuple[str, ...], private: bool, gated: bool):
        self.name, self.large, self.private, self.gated = name, large, private, gated
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}

    def push(
        self, files: Mapping[str, bytes | str] | Path, *, delete: tuple[str, ...] = (), ref: str = "main", whole=False
    ) -> str:
        """A new commit on `ref`; `whole` replaces all files. Returns its hash."""
        old = {} if whole or ref not in self.refs else self.commits[self.refs[ref]]
        new = {name: data for name, data in old.items() if name not in delete} | _contents(files)
        parent = self.refs.get(ref, "")
        text = parent + "".join(f"{name} {blob_id(data)}\n" for name, data in sorted(new.items()))
        commit = hashlib.sha1(f"{self.name} {len(self.commits)} {text}".encode()).hexdigest()
        self.commits[commit] = new
        self.refs[ref] = commit
        return commit

    def tag(self, name: str, commit: str | None = None) -> None:
        self.refs[name] = commit or self.refs["main"]

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)

    def is_large(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.large)

    def etag(self, name: str, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest() if self.is_large(name) else blob_id(data)


class FakeHub:
    """The stand-in: an endpoint, a CDN port, repositories, faults to come and requests seen."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.objects: dict[str, bytes] = {}  # large files, by sha256
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self.servers = [_serve(self), _serve(self)]
        self.port, self.cdn_port = (server.server_address[1] for server in self.servers)
        self.endpoint, self.cdn = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.cdn_port}"

    def __enter__(self) -> FakeHub:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close both ports and all connections; requests that stall or hang end. From now on connections are refused."""
        self.stopped.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):  # closed by the client meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def repo(
        self,
        name: str,
        files: Mapping[str, bytes | str] | Path | None = None,
        *,
        large: tuple[str, ...] = LARGE,
        private: bool = False,
        gated: bool = False,
    ) -> Repo:
        """A new repository; `files` (names to contents, or a directory) are its first commit on main."""
        repo = self.repos[name] = Repo(name, large, private, gated)
        repo.push(files or {})
        return repo

    def fault(self, match: str, **how: Any) -> None:
        """Script a fault, see `Fault`. Faults that match are used up in the order given."""
        self.faults.append(Fault(match, **how))

    def count(self, method: str | None = None, match: str = "") -> int:
        return len(self.requests(method, match))

    def requests(self, method: str | None = None, match: str = "") -> list[Seen]:
        return [seen for seen in list(self.seen) if method in (None, seen.method) and match in seen.path]

    def environment(self, home: str | os.PathLike) -> dict[str, str]:
        """Environment in which a client talks to this Hub, with its cache under `home`."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and not name.lower().endswith("_proxy")
        }
        return inherited | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": os.fspath(home),
            "HF_HUB_ETAG_TIMEOUT": "3",
            "HF_HUB_DOWNLOAD_TIMEOUT": "3",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path),
        }

    def run_client(
        self, code: str, home: str | os.PathLike | None = None, timeout: float = 120, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code in a process of its own that has this Hub as HF_ENDPOINT.

        Args:
            code: what `python -c` gets.
            home: HF_HOME; a temporary one if not given.
            timeout: seconds until subprocess.TimeoutExpired.
            env: further environment variables.
        """
        with tempfile.TemporaryDirectory() as fresh:
            return subprocess.run(
                [sys.executable, "-c", code],
                env=self.environment(home or fresh) | env,
                cwd=home or fresh,
                capture_output=True,
                text=True,
                timeout=timeout,
            )


@pytest.fixture
def fakehub() -> Iterator[FakeHub]:
    """A stand-in for the Hub, empty."""
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def localhub(fakehub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The same, with huggingface_hub of this very process pointed at it; the cache is `tmp_path / "hub"`."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        monkeypatch.delenv(name)
    from huggingface_hub import constants, file_download

    settings = {
        "ENDPOINT": fakehub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": fakehub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_ETAG_TIMEOUT": 1,
        "HF_HUB_DOWNLOAD_TIMEOUT": 1,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value, raising=False)
        if hasattr(file_download, name):  # older releases copy it
            monkeypatch.setattr(file_download, name, value)
    _close_client()
    return fakehub


def _close_client() -> None:
    """Forget the HTTP client that huggingface_hub keeps, with the settings that it was made under."""
    from huggingface_hub.utils import _http

    getattr(_http, "close_session", None) and _http.close_session()
    getattr(_http, "reset_sessions", None) and _http.reset_sessions()


def _contents(files: Mapping[str, bytes | str] | Path) -> dict[str, bytes]:
    if isinstance(files, Path):
        return {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    return {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}


def _serve(hub: FakeHub) -> ThreadingHTTPServer:
    class Handler(_Handler):
        pass

    Handler.hub = hub

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is no news here."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True, name="stand-in hub").start()
    return server


class _Refused(Exception):
    """An answer other than the one asked for."""

    def __init__(self, status: int, code: str = "", message: str = "", commit: str = ""):
        self.status, self.code, self.message, self.commit = status, code, message, commit


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    timeout = 30
    fault: Fault | None = None

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        with suppress(OSError, ValueError):  # a connection that was reset on purpose
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query, keep_blank_values=True)
        self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        port = self.connection.getsockname()[1]
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.hub.lock:
            self.hub.seen.append(Seen(self.command, unquote(url.path), url.query, headers, port, time.monotonic()))
            self.fault = self._due(unquote(url.path))
        try:
            if len(self.hub.seen) > MOST_REQUESTS:
                raise _Refused(500, message="too many requests for a test")
            if self.fault and self.fault.hang:
                self.hub.stopped.wait(60)
                self.close_connection = True
                return
            if self.fault and self.fault.status:
                raise _Refused(self.fault.status, message="as the script says")
            if port == self.hub.cdn_port:
                self._cdn(unquote(url.path))
            elif url.path.startswith("/api/"):
                self._api(url.path[5:])
            elif ".git/info/lfs/objects/batch" in url.path:
                self._batch()
            elif "/resolve/" in url.path:
                self._resolve(url.path)
            else:
                raise _Refused(404, message="no such page")
        except _Refused as e:
            facts = {"X-Error-Code": e.code, "X-Error-Message": e.message, "X-Repo-Commit": e.commit}
            headers = {name: value for name, value in facts.items() if value}
            self._send(e.status, json.dumps({"error": e.message or e.code}).encode(), headers)

    def _due(self, path: str) -> Fault | None:
        for fault in self.hub.faults:
            if fault.times > 0 and fault.match in path and fault.method in (None, self.command):
                fault.times -= 1
                return fault
        return None

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], kind: str = "application/json") -> None:
        fault = self.fault or Fault("")
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **headers, **fault.headers}
        if fault.body is not None and status < 300:
            body = fault.body
            headers["Content-Length"] = str(len(body))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limits = [limit for limit in (fault.cut, fault.reset, fault.stall) if limit is not None]
        try:
            if fault.drip is not None:
                step = len(body) // 20 + 1
                for start in range(0, len(body), step):
                    self.wfile.write(body[start : start + step])
                    self.hub.stopped.wait(fault.drip)
            else:
                self.wfile.write(body[: limits[0]] if limits else body)
            self.wfile.flush()
        except OSError:  # the client has gone away
            self.close_connection = True
            return
        if limits:
            self._break_off(fault)

    def _break_off(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.stall is not None:
            self.hub.stopped.wait(60)
        elif fault.reset is not None:
            time.sleep(0.05)  # what was written arrives before the reset discards it
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.rfile.close()

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {})

    def _repo(self, name: str, *, content: bool = False, write: bool = False) -> Repo:
        """The repository, if this client may see it; `content`: its files; `write`: it will change."""
        given = self.headers.get("Authorization")
        repo = self.hub.repos.get(name)
        if given not in (None, f"Bearer {TOKEN}"):
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        if repo is None or (repo.private and given is None):
            raise _Refused(404 if given else 401, "RepoNotFound", "Repository not found")
        if repo.gated and content:
            text = f"Access to model {name} is restricted."
            raise _Refused(403 if given else 401, "GatedRepo", text)
        if write and given is None:
            raise _Refused(401, "", "Invalid username or password.")
        return repo

    def _commit(self, repo: Repo, revision: str) -> str:
        commit = repo.resolve(unquote(revision))
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _resolve(self, path: str) -> None:
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, filename = rest.partition("/")
        repo = self._repo(unquote(name), content=True)
        commit = self._commit(repo, revision)
        data = repo.commits[commit].get(unquote(filename))
        if data is None:
            raise _Refused(404, "EntryNotFound", "Entry not found", commit)
        etag = repo.etag(unquote(filename), data)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if repo.is_large(unquote(filename)):
            self.hub.objects[etag] = data
            large = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data)), "ETag": f'"redirect-{etag[:8]}"'}
            self._send(302, b"", {**headers, **large, "Location": f"{self.hub.cdn}/objects/{etag}"})
        else:
            self._content(data, headers)

    def _cdn(self, path: str) -> None:
        data = self.hub.objects.get(path.rpartition("/")[2])
        if path.startswith("/upload/") and self.command == "PUT":
            sha = hashlib.sha256(self.sent).hexdigest()
            if not path.endswith(sha):
                raise _Refused(400, message="content does not match its hash")
            self.hub.objects[sha] = self.sent
            self._send(200, b"", {"ETag": f'"{sha}"'})
        elif data is None:
            raise _Refused(404, message="no such object")
        else:
            self._content(data, {"ETag": f'"cdn-{hashlib.md5(data).hexdigest()}"', "Accept-Ranges": "bytes"})

    def _content(self, data: bytes, headers: dict[str, str]) -> None:
        """A file, or the rest of it that Range asks for if If-Range still holds."""
        asked = self.headers.get("Range", "")
        unchanged = self.headers.get("If-Range") in (None, headers["ETag"])
        whole = self.fault is not None and self.fault.whole
        if not asked.startswith("bytes=") or not unchanged or whole:
            return self._send(200, data, headers, "application/octet-stream")
        first, _, last = asked[6:].partition("-")
        start, end = int(first), int(last) if last else len(data) - 1
        if start >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        self._send(206, data[start : end + 1], headers, "application/octet-stream")

    def _api(self, path: str) -> None:
        parts = path.split("/")
        if path == "whoami-v2":
            self._json({"type": "user", "name": "tester", "fullname": "Tester", "orgs": [], "auth": {}})
        elif path == "validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "repos/create":
            self._create()
        elif parts[0] == "models":
            at = next((i for i, part in enumerate(parts) if i > 1 and part in _ACTIONS), len(parts))
            name, action, rest = "/".join(parts[1:at]), parts[at] if at < len(parts) else "revision", parts[at + 1 :]
            getattr(self, f"_api_{action}")(unquote(name), rest)
        else:
            raise _Refused(404, message="no such call")

    def _create(self) -> None:
        wanted = json.loads(self.sent)
        name = "/".join(part for part in (wanted.get("organization") or "tester", wanted["name"]) if part)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _Refused(401, "", "Invalid username or password.")
        new = name not in self.hub.repos
        if new:
            self.hub.repo(name, private=bool(wanted.get("private")))
        answer = {"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name}
        self._json(answer if new else {**answer, "error": "You already created this model repo"}, 200 if new else 409)

    def _api_revision(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name)
        commit = self._commit(repo, "/".join(rest) or "main")
        files = repo.commits[commit]
        siblings = [self._sibling(repo, path, data) for path, data in sorted(files.items())]
        self._json({"_id": "0", "id": name, "modelId": name, "sha": commit, "private": repo.private, "siblings": siblings,
                    "gated": "manual" if repo.gated else False, "tags": [], "downloads": 0, "likes": 0})  # fmt: skip

    def _sibling(self, repo: Repo, path: str, data: bytes) -> dict[str, Any]:
        if "blobs" not in self.query:
            return {"rfilename": path}
        if not repo.is_large(path):
            return {"rfilename": path, "size": len(data), "blobId": blob_id(data)}
        sha = repo.etag(path, data)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(data)}\n".encode()
        lfs = {"sha256": sha, "size": len(data), "pointerSize": len(pointer)}
        return {"rfilename": path, "size": len(data), "blobId": blob_id(pointer), "lfs": lfs}

    def _api_tree(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name)
        commit = self._commit(repo, rest[0])
        folder = "/".join(map(unquote, rest[1:]))
        rows: dict[str, dict[str, Any]] = {}
        for path, data in sorted(repo.commits[commit].items()):
            inner = path[len(folder) + 1 :] if folder else path
            if folder and not path.startswith(folder + "/"):
                continue
            parents = [path[: len(path) - len(inner) + i] for i, letter in enumerate(inner) if letter == "/"]
            recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
            for parent in parents if recursive else parents[:1]:
                rows[parent] = {"type": "directory", "oid": blob_id(parent.encode()), "size": 0, "path": parent}
            if recursive or not parents:
                rows[path] = {"type": "file", "oid": blob_id(data), "size": len(data), "path": path}
                if repo.is_large(path):
                    rows[path]["lfs"] = {"oid": repo.etag(path, data), "size": len(data), "pointerSize": 130}
        if folder and not rows:
            raise _Refused(404, "EntryNotFound", f"{folder} does not exist", commit)
        self._json(list(rows.values()))

    def _api_refs(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name)
        refs = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": commit} for ref, commit in repo.refs.items()]
        self._json({"branches": refs, "tags": [], "converts": []})

    def _api_branch(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name, write=True)
        repo.refs.setdefault(unquote("/".join(rest)), repo.refs["main"])
        self._json({})

    def _api_preupload(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name, write=True)
        self._commit(repo, rest[0])
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if repo.is_large(f["path"]) else "regular", "shouldIgnore": False}
            for f in json.loads(self.sent)["files"]
        ]
        self._json({"files": modes, "commitOid": repo.resolve(unquote(rest[0]))})

    def _batch(self) -> None:
        self._repo(urlsplit(self.path).path[1:].partition(".git/")[0], write=True)
        objects = []
        for wanted in json.loads(self.sent)["objects"]:
            oid = wanted["oid"]
            known = {} if oid in self.hub.objects else {"actions": {"upload": {"href": f"{self.hub.cdn}/upload/{oid}"}}}
            objects.append({"oid": oid, "size": wanted["size"], "authenticated": True, **known})
        self._json({"transfer": "basic", "objects": objects})

    def _api_commit(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name, write=True)
        ref = unquote(rest[0])
        if ref not in repo.refs:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {ref}")
        new: dict[str, bytes] = {}
        deleted: list[str] = []
        for line in self.sent.splitlines():
            row = json.loads(line)
            value = row["value"]
            if row["key"] == "file":
                content = value["content"]
                new[value["path"]] = (
                    base64.b64decode(content) if value.get("encoding") == "base64" else content.encode()
                )
            elif row["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise _Refused(400, message=f"LFS pointer without object: {value['path']}")
                new[value["path"]] = self.hub.objects[value["oid"]]
            elif row["key"] == "deletedFile":
                deleted.append(value["path"])
        with self.hub.lock:
            commit = repo.push(new, delete=tuple(deleted), ref=ref)
        url = f"{self.hub.endpoint}/{name}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


_ACTIONS = {"revision", "tree", "refs", "branch", "preupload", "commit"}
