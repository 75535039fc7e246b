"""Which file of a model lies where: in a directory, or in one commit of a Hub repository.

`open_files` gives a `Files` object. Everything that reads a file of a model goes through it, so that all files of one
load come from one commit, "absent" only ever means absent, and a local directory never imports huggingface_hub.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from autoload.errors import (
    CorruptFile,
    FileError,
    GatedRepository,
    HubUnreachable,
    MissingFile,
    NoSuchDirectory,
    NotCached,
    RateLimited,
    RepositoryNotFound,
    RevisionNotFound,
    reading,
)

COMMIT = re.compile(r"[0-9a-f]{40}")
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
LFS_POINTER = b"version https://git-lfs.github.com/spec"


class Files:
    """The files of one model. `where` is what to call it in messages; `commit` is None for a directory."""

    where: str
    commit: str | None = None

    def find(self, name: str) -> Path | None:
        """Local path of the file `name`, or None when the model does not have it.

        Raises:
            FileError: the file is there but cannot be used, or the Hub failed for another reason than "absent".
        """
        raise NotImplementedError

    def names(self) -> list[str]:
        """Names of all files, relative, sorted."""
        raise NotImplementedError

    def require(self, name: str, purpose: str = "") -> Path:
        """Like `find`, but a missing file is an error that lists what is there."""
        path = self.find(name)
        if path is None:
            raise self.missing([name], purpose)
        return path

    def missing(self, names: list[str], purpose: str = "") -> MissingFile:
        """The error for files that are not there."""
        try:
            present = self.names()
        except FileError:
            present = []
        shown = ", ".join(present[:12]) + (" ..." if len(present) > 12 else "") or "nothing"
        text = f"{self.where}: no {' or '.join(names)}{f' ({purpose})' if purpose else ''}. It holds: {shown}."
        return MissingFile(text, where=self.where, names=names, present=present)

    def json(self, name: str) -> Any:
        """Parsed content of a JSON file, or None when the model does not have it."""
        path = self.find(name)
        return None if path is None else read_json(path)


class DirectoryFiles(Files):
    """A directory on this machine."""

    def __init__(self, directory: Path, subfolder: str = ""):
        self.directory = directory
        self.root = directory / subfolder if subfolder else directory
        self.where = str(self.root)
        if not self.root.is_dir():
            raise NoSuchDirectory(f"{self.root}: no such directory.{_siblings(self.root)}", path=str(self.root))

    def find(self, name: str) -> Path | None:
        confined(name, self.where)
        path = self.root / name
        if path.is_file():
            return path
        if os.path.lexists(path):
            kind = "a dangling link" if path.is_symlink() and not path.exists() else "no regular file"
            raise FileError(f"{path}: this is {kind}, expected a file.", path=str(path))
        return None

    def names(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self.root))


class HubFiles(Files):
    """One commit of a Hub repository, through the cache of huggingface_hub."""

    def __init__(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        subfolder: str = "",
        cache_dir: str | os.PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool | None = None,
        token: str | bool | None = None,
        repo_type: str | None = None,
    ):
        self.repo_id, self.revision, self.subfolder = repo_id, revision or "main", subfolder.strip("/")
        self.cache_dir, self.force_download, self.token, self.repo_type = cache_dir, force_download, token, repo_type
        self.local_files_only = bool(local_files_only) or _offline()
        self.where = repo_id + (f"@{revision}" if revision else "") + (f"/{self.subfolder}" if self.subfolder else "")
        self.commit = self.revision if COMMIT.fullmatch(self.revision) else None

    def find(self, name: str) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        confined(name, self.where)
        filename = f"{self.subfolder}/{name}" if self.subfolder else name
        if self.commit and not self.force_download:  # no request for what the cache already knows about a commit
            known = self._cached(filename)
            if known is not None:
                return known or None
        try:
            path = hf_hub_download(
                self.repo_id,
                filename,
                revision=self.commit or self.revision,
                repo_type=self.repo_type,
                cache_dir=self.cache_dir,
                force_download=self.force_download,
                local_files_only=self.local_files_only,
                token=self.token,
            )
        except LocalEntryNotFoundError as e:  # a subclass of EntryNotFoundError, but it does not say "absent"
            raise self._unavailable(filename, e) from e
        except EntryNotFoundError:
            self._pin(None)
            return None
        except Exception as e:
            raise self._translate(filename, e) from e
        self._pin(path)
        return Path(path)

    def names(self) -> list[str]:
        from huggingface_hub import HfApi

        if self.local_files_only:
            return sorted(
                str(p.relative_to(root)) for root in self._snapshots() for p in root.rglob("*") if p.is_file()
            )
        try:
            return sorted(HfApi(token=self.token).list_repo_files(self.repo_id, revision=self.commit or self.revision))
        except Exception as e:
            raise self._translate("", e) from e

    def _cached(self, filename: str) -> Path | str | None:
        """Path when cached, "" when known to be absent, None when unknown."""
        from huggingface_hub import try_to_load_from_cache

        hit = try_to_load_from_cache(
            self.repo_id, filename, cache_dir=self.cache_dir, revision=self.commit, repo_type=self.repo_type
        )
        return None if hit is None else Path(hit) if isinstance(hit, str) else ""

    def _pin(self, path: str | None) -> None:
        """From the first answer on, everything comes from the commit that gave it."""
        if self.commit is not None:
            return
        if path is not None:
            parts = Path(path).parts
            self.commit = parts[parts.index("snapshots") + 1]
        else:
            ref = self._cache_folder() / "refs" / self.revision
            if ref.is_file():
                self.commit = ref.read_text().strip()

    def _cache_folder(self) -> Path:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        root = Path(self.cache_dir or constants.HF_HUB_CACHE)
        return root / repo_folder_name(repo_id=self.repo_id, repo_type=self.repo_type or "model")

    def _snapshots(self) -> list[Path]:
        folder = self._cache_folder() / "snapshots"
        return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    def _unavailable(self, filename: str, cause: Exception) -> FileError:
        """Not in the cache, and the network was not asked or did not answer."""
        from huggingface_hub import constants

        revisions = [p.name for p in self._snapshots()]
        cached = f"cached revisions: {', '.join(r[:12] for r in revisions)}" if revisions else "nothing of it is cached"
        folder = str(self.cache_dir or constants.HF_HUB_CACHE)
        facts = dict(repo_id=self.repo_id, revision=self.revision, filename=filename)
        if self.local_files_only:
            text = (
                f"{self.where}: offline mode is on and {filename} is not in the cache {folder} ({cached}). "
                "Load it once with the network, or name a cached revision."
            )
            return NotCached(text, cache_dir=folder, cached_revisions=revisions, **facts)
        return self._translate(filename, cause.__cause__ or cause)

    def _translate(self, filename: str, cause: BaseException) -> FileError:
        """An exception of huggingface_hub or of its HTTP client as one of ours."""
        from huggingface_hub import constants
        from huggingface_hub import errors as hub

        facts: dict[str, Any] = dict(repo_id=self.repo_id, revision=self.revision)
        if isinstance(cause, hub.GatedRepoError):
            return GatedRepository(
                f"{self.repo_id}: this repository is gated. Ask for access at {constants.ENDPOINT}/{self.repo_id} "
                "and pass token=... or run `hf auth login`.",
                **facts,
            )
        if isinstance(cause, hub.RevisionNotFoundError):
            return RevisionNotFound(
                f"{self.repo_id}: {self.revision!r} is not a branch, tag or commit of this repository.", **facts
            )
        if isinstance(cause, hub.RepositoryNotFoundError):
            return RepositoryNotFound(
                f"{self.repo_id}: not a local directory and not a repository on {constants.ENDPOINT}. "
                "Check the name; for a private repository pass token=... or run `hf auth login`.",
                **facts,
            )
        if isinstance(cause, hub.HFValidationError):
            return RepositoryNotFound(
                f"{self.repo_id}: not a local directory and not a valid repository name.", **facts
            )
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status == 429:
            after = cause.response.headers.get("Retry-After", "")  # type: ignore[attr-defined]
            seconds = float(after) if after.replace(".", "", 1).isdigit() else None
            wait = f" after {after} s" if seconds is not None else " later"
            text = f"{self.repo_id}: {constants.ENDPOINT} answered 429 (too many requests). Try again{wait}."
            return RateLimited(text, status=429, retry_after=seconds, endpoint=constants.ENDPOINT, **facts)
        if isinstance(cause, OSError) and cause.errno is not None and status is None:
            return FileError(f"{self.where}: {filename} could not be stored: {cause}.", path=filename)
        detail = f"answered {status}" if status else f"could not be reached ({type(cause).__name__}: {cause})"
        text = (
            f"{self.where}: {constants.ENDPOINT} {detail} when asked for {filename or 'the list of files'}. Try again."
        )
        return HubUnreachable(text, endpoint=constants.ENDPOINT, **facts)


def open_files(
    name_or_path: str | os.PathLike,
    *,
    subfolder: str = "",
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    force_download: bool = False,
    local_files_only: bool | None = None,
    token: str | bool | None = None,
    proxies: dict[str, str] | None = None,
) -> Files:
    """The files of a directory, or of a Hub repository at one commit.

    Raises:
        NoSuchDirectory: `name_or_path` is a path and there is nothing.
        FileError: `name_or_path` is a file.
        RepositoryNotFound: it is neither a path nor a valid repository name.
    """
    name = os.fspath(name_or_path)
    if not isinstance(name, str) or not name:
        raise NoSuchDirectory(f"{name!r}: expected the name of a Hub repository or a directory.", path=name)
    path = Path(name).expanduser()
    if path.is_dir():
        return DirectoryFiles(path, subfolder)
    if path.exists():
        raise FileError(f"{path}: this is a file, expected a directory. Pass {path.parent}.", path=str(path))
    looks_local = not isinstance(name_or_path, str) or name[0] in "./~\\" or name.count("/") > 1 or os.sep == name[1:2]
    if looks_local or not REPO_ID.fullmatch(name):
        full = path.absolute()
        raise NoSuchDirectory(f"{full}: no such directory.{_siblings(full)}", path=str(full))
    return HubFiles(
        name,
        revision=revision,
        subfolder=subfolder,
        cache_dir=cache_dir,
        force_download=force_download,
        local_files_only=local_files_only,
        token=token,
    )


def read_json(path: Path) -> Any:
    """Parsed JSON file.

    Raises:
        CorruptFile: not UTF-8, not JSON, nested too deeply, or a git-lfs pointer; with line and column.
    """
    with reading(path, "JSON file"):
        text = path.read_bytes()
        if text.startswith(LFS_POINTER):
            raise CorruptFile(f"{path}: this is a git-lfs pointer, not the file. Run `git lfs pull`.", path=str(path))
        return json.loads(text.decode("utf-8"))


def confined(name: str, where: str) -> str:
    """`name`, or an error when it would lead out of the model's own directory."""
    if os.path.isabs(name) or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise CorruptFile(f"{where}: {name!r} leads out of this directory, expected a name inside it.", path=name)
    return name


def _offline() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", os.environ.get("TRANSFORMERS_OFFLINE", "")).upper() in {
        "1",
        "ON",
        "YES",
        "TRUE",
    }:
        return True
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _siblings(path: Path) -> str:
    """A hint that names a directory with a similar name, if there is one."""
    parent = path.parent
    if not parent.is_dir():
        return f" Its parent {parent} does not exist either."
    names = [entry.name for entry in os.scandir(parent) if entry.is_dir()]
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {parent / close[0]}?" if close else ""
