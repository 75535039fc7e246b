"""One repository in the cache that huggingface_hub keeps: blobs named by their hash, and a folder of links per commit.

The layout is huggingface_hub's, so that what either library has downloaded serves both:
`refs/<revision>` holds a commit, `snapshots/<commit>/<name>` links to `blobs/<hash>`, `.no_exist/<commit>/<name>` marks
a file known to be absent, `trees/<commit>.json` lists the files of a commit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import re
import shutil
import time
import uuid
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoload.errors import AutoloadError, FileError

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
PATIENCE = 20.0  # seconds to wait for another process that downloads the same file and makes no progress
ABANDONED = 600.0  # seconds since the last byte, after which an unfinished file is taken to have no owner


@dataclass(frozen=True)
class Entry:
    """What the Hub says about a file. `digest`: the sha256 of a large file, git's blob id of a small one."""

    size: int
    digest: str

    @property
    def large(self) -> bool:
        return len(self.digest) == 64

    @classmethod
    def of(cls, size: Any, digest: Any) -> Entry | None:
        """An entry, or None unless both are what they should be: both come from a server or from a disk."""
        sound = type(size) is int and size >= 0 and isinstance(digest, str) and DIGEST.fullmatch(digest)
        return cls(size, digest) if sound else None


@dataclass(frozen=True)
class Listing:
    """The files of one commit; an entry is None where only the name is known."""

    commit: str
    files: dict[str, Entry | None]
    complete: bool = True


class HubCache:
    """The part of the cache that belongs to one repository."""

    def __init__(self, root: Path, repo_id: str):
        name = "models--" + repo_id.replace("/", "--")
        self.root, self.folder, self.locks = root, root / name, root / ".locks" / name

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch or tag led to last time, if anything of that commit is here."""
        try:
            commit = (self.folder / "refs" / revision).read_text().strip()
        except (OSError, ValueError):
            return None
        return commit if COMMIT.fullmatch(commit) and self.has(commit) else None

    def has(self, commit: str) -> bool:
        return os.path.isdir(self.folder / "snapshots" / commit)

    def commits(self) -> list[str]:
        """All commits of which something is here."""
        with suppress(OSError):
            return sorted(entry.name for entry in os.scandir(self.folder / "snapshots") if entry.is_dir())
        return []

    def writable(self) -> bool:
        """Whether new files can be added (a cache may be on a read-only disk, or belong to another user)."""
        place = self.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        return os.access(place, os.W_OK)

    def path(self, commit: str, name: str) -> Path:
        return self.folder / "snapshots" / commit / name

    def blob(self, entry: Entry) -> Path:
        return self.folder / "blobs" / entry.digest

    def holds(self, entry: Entry) -> bool:
        """Whether the content of a file is here, as far as its length tells."""
        blob = self.blob(entry)
        return os.path.isfile(blob) and os.path.getsize(blob) == entry.size

    def lock(self, entry: Entry) -> Path:
        return self.locks / f"{entry.digest}.lock"

    def names(self, commit: str) -> list[str]:
        """Files of a commit that are here."""
        root = self.folder / "snapshots" / commit
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def marked_absent(self, commit: str, name: str) -> bool:
        return os.path.isfile(self.folder / ".no_exist" / commit / name)

    def listing(self, commit: str) -> Listing | None:
        """The files of a commit, if an earlier load wrote them down."""
        try:
            tree = json.loads((self.folder / "trees" / f"{commit}.json").read_bytes())
            if tree["format_version"] != 1:
                return None
            files = {
                name: Entry.of(facts.get("lfs_size", facts["size"]), facts.get("lfs_sha256", facts["blob_id"]))
                for name, facts in tree["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # absent, damaged, or of a later format: the Hub is asked again
        return Listing(commit, files)

    def remember(self, listing: Listing, again: bool = False) -> None:
        """Write down what a commit holds; a cache that cannot be written serves without."""
        target = self.folder / "trees" / f"{listing.commit}.json"
        if listing.complete and all(listing.files.values()) and (again or not target.exists()):
            files = {name: _row(entry) for name, entry in sorted(listing.files.items()) if entry}
            with suppress(OSError):
                _replace(target, json.dumps({"format_version": 1, "files": files}, indent=1))

    def point(self, revision: str, commit: str, listed: Container[str]) -> None:
        """Write down which commit a branch or tag is, once something of it is here: offline, it must lead somewhere.

        If it led to another commit, it goes on doing so until all that is here of that one is here of the new one too, as
        far as the new one has it (`listed`): a download that is broken off does not take the old model away.
        """
        if COMMIT.fullmatch(revision) or not self.has(commit) or (old := self.commit_of(revision)) == commit:
            return
        here = set(self.names(commit))
        needed = {name for name in self.names(old) if name in listed} if old else set()
        if needed | self._shards(commit, here) <= here or not old:
            with suppress(OSError):
                _replace(self.folder / "refs" / revision, commit)

    def _shards(self, commit: str, here: Iterable[str]) -> set[str]:
        """Files that an index of weights names."""
        shards: set[str] = set()
        for name in here:
            if name.endswith(".index.json"):
                with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # not here
                    weight_map = json.loads(self.path(commit, name).read_bytes())["weight_map"]
                    shards |= {posixpath.join(posixpath.dirname(name), shard) for shard in weight_map.values()}
        return shards

    def link(self, commit: str, name: str, entry: Entry) -> Path:
        """Make a blob appear as a file of a commit."""
        path, blob = self.path(commit, name), self.blob(entry)
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".{uuid.uuid4().hex[:8]}.link")
            try:
                os.symlink(os.path.relpath(blob, path.parent), fresh)
            except (OSError, NotImplementedError):  # no links on this disk or for this user
                shutil.copyfile(blob, fresh)
            os.replace(fresh, path)
        return path


class Part:
    """A file under way: the bytes that have come (`size`; `most`, before a new start) and their hash."""

    def __init__(self, path: Path, entry: Entry):
        self.path, self.entry, self.most = path, entry, 0
        with storing(path):
            self.file = open(path, "a+b")
            self.file.seek(0)
            self._begin()
            while chunk := self.file.read(1 << 20):
                self._count(chunk)
            if self.size > entry.size:
                self.restart()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.file.close()

    def _begin(self) -> None:
        self.size, self.resumed = 0, False
        self.validator: str | None = None  # the ETag of the answer that the bytes came with
        prefix = b"" if self.entry.large else b"blob %d\0" % self.entry.size  # git hashes a small file with this header
        kind = hashlib.sha256 if self.entry.large else hashlib.sha1
        self.hash = kind(prefix, usedforsecurity=False)

    def _count(self, chunk: bytes) -> None:
        self.hash.update(chunk)
        self.size += len(chunk)
        self.most = max(self.most, self.size)

    def restart(self) -> None:
        with storing(self.path):
            self.file.truncate(0)
        self._begin()

    def write(self, chunk: bytes) -> None:
        with storing(self.path):
            self.file.write(chunk)
        self._count(chunk)

    def close(self) -> None:
        with storing(self.path):  # a full disk may show only now
            self.file.close()

    def digest(self) -> str:
        return self.hash.hexdigest()

    def range_headers(self) -> dict[str, str]:
        """Ask for the rest, and for the whole if the content has changed."""
        if not self.size:
            return {}
        headers = {"Range": f"bytes={self.size}-"}
        if self.validator and not self.validator.startswith("W/"):
            headers["If-Range"] = self.validator
        return headers

    def continues(self, answer: Any) -> bool:
        """Whether an answer starts where this file ends."""
        if answer.status_code != 206:
            return self.size == 0
        self.resumed = True
        return answer.headers.get("Content-Range", "").startswith(f"bytes {self.size}-")


@contextmanager
def turn(lock: Path, blob: Path) -> Iterator[None]:
    """Let another process that downloads the same file finish, as long as it makes progress.

    The lock saves a download, no more: each process writes to a file of its own and renames it.
    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    with ExitStack() as stack:
        seen = -1
        while (now := _on_the_way(blob)) != seen:
            seen = now
            try:
                stack.enter_context(WeakFileLock(lock, timeout=PATIENCE))
                break
            except Timeout:
                continue
            except OSError:  # this disk has no locks
                break
        yield


def _on_the_way(blob: Path) -> int:
    total = 0
    for path in blob.parent.glob(f"{blob.name}.*incomplete"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def adopt(blob: Path, path: Path) -> None:
    """Go on from what an interrupted download of the same file left behind, and clear away the rest of such."""
    for left in sorted(blob.parent.glob(f"{blob.name}.*incomplete")):
        with suppress(OSError):
            given_up = left.name == f"{blob.name}.incomplete"
            if given_up or time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink() if path.exists() else os.rename(left, path)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into an error that names it."""
    try:
        yield
    except AutoloadError:
        raise
    except OSError as e:
        remedy = "Pass cache_dir=... (or set HF_HOME) to a place that can be written."
        reason = e.strerror or str(e)
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            free = _free(path)
            reason = f"no space left on the disk{free}"
            remedy = "Free some, or pass cache_dir=... (or set HF_HOME) on another disk."
        raise FileError(f"{path}: cannot be written: {reason}. {remedy}", path=str(path)) from e


def _free(path: Path) -> str:
    with suppress(OSError):
        return f" ({shutil.disk_usage(path.parent).free:,} bytes free)"
    return ""


def _row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {"size": entry.size, "blob_id": entry.digest}
    return row | {"lfs_sha256": entry.digest, "lfs_size": entry.size} if entry.large else row


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{uuid.uuid4().hex[:8]}.new")
    try:
        fresh.write_text(text)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
