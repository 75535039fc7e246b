"""Which file of a model lies where: in a directory, or in one commit of a Hub repository.

`open_files` gives a `Files` object. Everything that reads a file of a model goes through it, so that all files of one
load come from one commit, "absent" only ever means absent, and a local directory never imports huggingface_hub.
The Hub's side is in `repository` (which file, from where), `hubcache` (the cache) and `download` (requests).
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from autoload.errors import (
    ArgumentError,
    CorruptFile,
    FileError,
    MissingFile,
    NoSuchDirectory,
    RepositoryNotFound,
    RevisionNotFound,
    nearest,
    reading,
    unreadable,
)

if TYPE_CHECKING:
    from pathlib import Path  # at run time only where one is asked for: its import is a third of a tokenizer's

# Patterns, compiled when a name is no directory.
REPO_ID = r"(?a:[\w.-]+(/[\w.-]+)?)"  # meant as the name of a repository
VALID_ID = r"(?a:(\w([\w.-]*\w)?/)?\w([\w.-]{0,94}\w)?)"  # what the Hub allows
REVISION = r"(?!.*\.\.)(?!/)[^\s\\\x00-\x20~^:?*\[\ud800-\udfff]+(?<!/)"  # what git allows as a name
LFS_POINTER = b"version https://git-lfs.github.com/spec"
MOST_NAMES = 10_000
JOURNAL = ".autoload-save.json"  # there while a save puts its files in place: what is whole already under another name
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Files:
    """The files of one model. `where` is what to call it in messages; `commit` is None for a directory."""

    where: str
    commit: str | None = None

    def locate(self, name: str) -> str | None:
        """Local path of the file `name`, or None when the model does not have it.

        Raises:
            FileError: the file is there but cannot be used, or the Hub failed for another reason than "absent".
        """
        raise NotImplementedError

    def find(self, name: str) -> Path | None:
        """`locate` as a Path."""
        from pathlib import Path

        path = self.locate(name)
        return None if path is None else Path(path)

    def names(self) -> list[str]:
        """Names of all files, those in folders included, relative to here, sorted."""
        raise NotImplementedError

    def sizes(self) -> dict[str, int | None]:
        """Bytes of each file of `names`; None where that is not known."""
        raise NotImplementedError

    def confirm(self) -> None:
        """Called when all is read: what was checked before is still what was read.

        Raises:
            LockError: a file has changed meanwhile.
        """

    def sha256(self, name: str) -> str:
        """The sha256 of a file's content, or of what it is to be: a large file of the Hub is not downloaded for it."""
        return sha256_of(self.require(name))

    def first(self, name: str, count: int) -> bytes:
        """The first bytes of a file, which is not downloaded for them."""
        with reading(path := self.require(name)), open(path, "rb") as f:
            return f.read(count)

    def require(self, name: str, purpose: str = "") -> Path:
        """Like `find`, but a missing file is an error that lists what is there."""
        path = self.find(name)
        if path is None:
            raise self.missing([name], purpose)
        return path

    def missing(self, names: list[str], purpose: str = "") -> FileError:
        """The error for files that are not there."""
        try:
            present = self.names()
        except FileError:
            present = []
        first = sorted(present, key=lambda name: (name.count("/"), name))[:12]
        shown = ", ".join(first) + (" ..." if len(present) > 12 else "") or "nothing"
        text = f"{self.where}: no {' or '.join(names)}{f' ({purpose})' if purpose else ''}. It holds: {shown}."
        return MissingFile(text, where=self.where, names=names, present=present)

    def json(self, name: str) -> Any:
        """Parsed content of a JSON file, or None when the model does not have it."""
        path = self.locate(name)
        if path is None:
            return None
        if (content := read_json(path)) is None:  # which is not to be taken for an absent file
            raise CorruptFile(f"{path}: found null, expected a JSON object or list.", path=path)
        return content


class Journal:
    """What a save that was committed has still to do.

    Args:
        moves: name -> name under which the new file waits.
        removed: names of files that are to go.
    """

    def __init__(self, moves: dict[str, str] | None = None, removed: list[str] | None = None):
        self.moves, self.removed = moves or {}, removed or []


def read_journal(folder: str | os.PathLike[str]) -> Journal:
    """The journal of a save that was interrupted after its commit, or an empty one.

    Raises:
        CorruptFile: it is none, or names files elsewhere.
    """
    path = _regular(os.path.join(folder, JOURNAL))
    if path is None:
        return Journal()
    try:
        content = read_json(path)
    except MissingFile:  # the save has just come to its end
        return Journal()
    moves = content.get("moves") if isinstance(content, dict) else None
    removed = content.get("removed") if isinstance(content, dict) else None
    if isinstance(moves, dict) and isinstance(removed, list):
        if all(map(_inside, (*moves, *removed))) and all(map(_simple, moves.values())):
            return Journal(moves, removed)
    text = f"{path}: found {str(content)[:80]!r}, expected moves and removed: names of files beside it."
    raise CorruptFile(text, path=path, remedy="Remove this file, or save the model again.")


def _inside(name: Any) -> bool:
    """Whether this is the name of a file beside another, or in folders there."""
    return isinstance(name, str) and all(map(_simple, name.split("/")))


def _simple(name: Any) -> bool:
    """Whether this is the name of a file beside another."""
    return isinstance(name, str) and bool(name.strip(".")) and not {"/", "\\", "\0"} & {*name}


def _regular(path: str) -> str | None:
    """The path of a file that can be read, or None where there is nothing."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.islink(path):
            return None
        raise _unusable(path, f"a dangling link to {os.readlink(path)}") from None
    except OSError as e:
        remedy = "Check the file, its directory and the rights of this user."
        text = f"{_short(path)[1:-1]}: cannot be read: {e.strerror}, expected a file."
        raise FileError(text, path=path, remedy=remedy) from e
    if not stat.S_ISREG(mode):
        raise _unusable(path, _KINDS.get(stat.S_IFMT(mode), "no regular file"))
    if not os.access(path, os.R_OK):
        raise unreadable(path)
    return path


class DirectoryFiles(Files):
    """A directory on this machine."""

    def __init__(self, directory: str, subfolder: str = ""):
        self.where = os.path.join(directory, subfolder) if subfolder else directory
        if not os.path.isdir(self.where):
            raise NoSuchDirectory(f"{self.where}: no such directory.{_siblings(self.where)}", path=self.where)
        self._journal = read_journal(self.where)

    def locate(self, name: str) -> str | None:
        if name in self._journal.removed:
            return None
        path = os.path.join(self.where, confined(name, self.where))
        if (staged := self._journal.moves.get(name)) is not None:
            waiting = os.path.join(self.where, staged)
            path = waiting if os.path.lexists(waiting) else path
        return _regular(path)

    def names(self) -> list[str]:
        found: list[str] = []
        with reading(self.where, "directory"):
            for folder, inner, names in os.walk(self.where, onerror=_raise):
                inner[:] = [name for name in inner if not name.startswith(".")]  # .git, .cache
                prefix = os.path.relpath(folder, self.where).replace(os.sep, "/")
                found += names if prefix == "." else [f"{prefix}/{name}" for name in names]
                if len(found) > MOST_NAMES:  # not a model's directory, but somebody's home
                    break
        hidden = {*self._journal.removed, *self._journal.moves.values(), JOURNAL}
        return sorted({*found, *self._journal.moves} - hidden)

    def sizes(self) -> dict[str, int | None]:
        paths = {name: os.path.join(self.where, name) for name in self.names()}
        return {name: os.path.getsize(path) if os.path.exists(path) else None for name, path in paths.items()}


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
    lock: str | os.PathLike | bool | None = None,
    purpose: str = "",
) -> Files:
    """The files of a directory, or of a Hub repository at one commit.

    Args:
        name_or_path: a directory (`~` is expanded) or the name of a Hub repository; a directory wins.
        subfolder: folder inside it that the files are in.
        revision: branch, tag or commit; the following are, like it, for a Hub repository only.
        cache_dir: where downloads are kept; by default where huggingface_hub keeps them (HF_HOME).
        force_download: fetch every file again that is asked for.
        local_files_only: make no request; HF_HUB_OFFLINE=1 does the same.
        token: a string, or True for the stored one, or False for none.
        proxies: refused for a Hub repository, see below.
        lock: a lock file (`autoload lock`) that says which commit and content is meant; by default the one that the
            environment variable AUTOLOAD_LOCK names; False is none.
        purpose: what is loaded. Loads of different purposes, one soon after the other, share one answer of the Hub.

    Raises:
        NoSuchDirectory: `name_or_path` is a path and there is nothing.
        FileError: `name_or_path` is a file, or cannot be looked at.
        RepositoryNotFound: it is neither a path nor a valid repository name.
        RevisionNotFound: `revision` cannot be the name of one.
        LockError: the lock file has no such repository; later, a file is not what it says.
        ArgumentError: an argument of the wrong kind, or `proxies`: releases of huggingface_hub since 1.0 have no proxies per
            call, they take them from HTTPS_PROXY.
    """
    try:
        name = os.fspath(name_or_path)
    except TypeError:
        name = b""
    if not isinstance(name, str):
        text = f"expected the name of a Hub repository or a directory, got {name_or_path!r}"
        raise ArgumentError(text, name="pretrained_model_name_or_path")
    subfolder = _subfolder(subfolder)
    if not name:
        raise NoSuchDirectory(f"{name!r}: expected the name of a Hub repository or a directory.", path=name)
    path = os.path.expanduser(name).rstrip("/") or "/"
    with reading(path, "path"):
        mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        return _under_lock(lock, name, None, subfolder, lambda _: DirectoryFiles(path, subfolder), directory=True)
    if mode is not None:
        text = f"{path}: this is a file, expected a directory. Pass {os.path.dirname(path) or '.'}."
        raise FileError(text, path=path)
    looks_local = not isinstance(name_or_path, str) or name[0] in "./~\\" or name.count("/") > 1
    if looks_local or not re.fullmatch(REPO_ID, name):
        full = os.path.abspath(path)
        hint = _siblings(full)
        if "://" in name:
            hint = f" Pass the name of the repository alone, like {'/'.join(name.rstrip('/').split('/')[3:5])!r}."
        raise NoSuchDirectory(f"{full}: no such directory.{hint}", path=full)
    if "--" in name or ".." in name or name.endswith(".git") or not re.fullmatch(VALID_ID, name):
        text = f"{name}: not a local directory and not a valid name of a repository (such as 'org/model')."
        raise RepositoryNotFound(text, repo_id=name, revision=revision)
    if revision is not None and not (isinstance(revision, str) and re.fullmatch(REVISION, revision)):
        text = f"{name}: {revision!r} cannot be a branch, tag or commit."
        raise RevisionNotFound(text, repo_id=name, revision=revision)
    if proxies:
        text = "proxies cannot be given per call. Set the environment variables HTTPS_PROXY and HTTP_PROXY."
        raise ArgumentError(text, name="proxies")
    from autoload.repository import HubFiles

    def files_at(revision: str | None) -> Files:
        return HubFiles(
            name,
            revision=revision,
            subfolder=subfolder,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            purpose=purpose,
        )

    return _under_lock(lock, name, revision, subfolder, files_at, directory=False)


def _under_lock(
    lock: Any, name: str, revision: str | None, subfolder: str, opened: Callable[[str | None], Files], directory: bool
) -> Files:
    """The files, checked against a lock file where one is to be obeyed."""
    if lock is False or (lock is None and not os.environ.get("AUTOLOAD_LOCK")):
        return opened(revision)
    from autoload.lock import locked

    return locked(lock, name, revision, subfolder, opened, directory)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Parsed JSON file.

    Raises:
        CorruptFile: not UTF-8, not JSON, nested too deeply, or a git-lfs pointer; with line and column.
    """
    with reading(path, "JSON file"):
        with open(path, "rb") as f:
            text = f.read()
        if text.startswith(LFS_POINTER):
            text = f"{path}: this is a git-lfs pointer, not the file."
            raise CorruptFile(text, path=str(path), remedy="Run `git lfs pull`.")
        content = json.loads(text.decode("utf-8"))
        if b"\\ud" in text or b"\\uD" in text:  # half of a surrogate pair is no text, and nothing can be done with it
            json.dumps(content, ensure_ascii=False).encode("utf-8")
        return content


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    import hashlib

    total = hashlib.sha256()
    with reading(path), open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def confined(name: str, where: str) -> str:
    """`name`, or an error when it would lead out of the model's own directory."""
    sound = isinstance(name, str) and not os.path.splitdrive(name)[0] and not {"\\", "\0"} & set(name)
    if sound and name[:1] != "/" and ".." not in name.split("/"):
        with suppress(UnicodeEncodeError):  # a lone surrogate is no name of a file
            os.fsencode(name)
            return name
    text = f"{where}: {_short(name)} leads out of this directory, expected a name inside it."
    raise CorruptFile(text, path=str(name), remedy="Correct it, or do not use this repository.")


def _unusable(path: str, kind: str) -> FileError:
    remedy = "Restore the file, or remove this in its place."
    return FileError(f"{path}: this is {kind}, expected a file.", path=path, remedy=remedy)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _raise(error: OSError) -> None:
    raise error


def _mode(path: str) -> int | None:
    """The mode of what lies at a path; None where nothing can."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # a null character
        return None
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _subfolder(subfolder: str) -> str:
    """The folder as a clean relative name; unlike a name in a file, a wrong one is the caller's mistake."""
    try:
        return confined(os.fspath(subfolder or "").strip("/"), "subfolder")
    except (TypeError, CorruptFile):
        text = f"subfolder is {subfolder!r}, expected the name of a folder inside the model."
        raise ArgumentError(text, name="subfolder") from None


def _siblings(path: str) -> str:
    """A hint that names a directory with a similar name, if there is one."""
    parent, name = os.path.split(path)
    try:
        names = [entry.name for entry in os.scandir(parent or ".") if entry.is_dir()]
    except FileNotFoundError:
        return f" Its parent {parent} does not exist either."
    except OSError:
        return ""
    close = nearest(name, names, 1)
    return f" Did you mean {os.path.join(parent, close[0])}?" if close else ""
