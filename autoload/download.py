"""Requests to a Hub: the files of a commit, and the bytes of a file; retried, bounded, checked.

They go through the HTTP client of huggingface_hub (requests before its release 1.0, httpx since), so that its settings
hold: endpoint, token, time limits, certificates, proxies. Its own download function is not used, because it does not
check what it gets, uses names sent by the server as paths, and waits as long as a server tells it to.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers, get_session

from autoload.errors import (
    ArgumentError,
    AutoloadError,
    CorruptFile,
    FileError,
    GatedRepository,
    HubError,
    HubUnreachable,
    MissingFile,
    RateLimited,
    RepositoryNotFound,
    RevisionNotFound,
)
from autoload.hubcache import COMMIT, Entry, HubCache, Listing, Part, adopt, storing, turn

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 5  # requests in a row that bring nothing
FIRST_WAIT = 0.5  # seconds before the second one, then twice as long each time
LONGEST_WAIT = 30.0  # seconds; a Hub that asks for more is reported instead
PROGRESS = 1 << 16  # bytes; a request that brought as many does not count as a failure
LONGEST_LISTING = 64 << 20  # bytes, and seconds below: a list of files is small
LISTING_TIME = 60.0
MOST_FILES = 50_000  # the Hub may cut longer lists of files short
XET_FROM = 16 << 20  # bytes from which Xet is worth a request to learn about it


class Remote:
    """A repository as its server sees it. `where` is what to call it in messages."""

    def __init__(self, repo_id: str, where: str, revision: str, token: str | bool | None):
        self.repo_id, self.where, self.revision, self.token = repo_id, where, revision, token
        self.endpoint: str = constants.ENDPOINT
        self.facts: dict[str, Any] = {"repo_id": repo_id, "revision": revision}
        try:
            if isinstance(token, str) and not re.fullmatch(r"[!-~]+", token):
                raise ValueError("it has characters that no token has")
            self.headers = build_hf_headers(token=token, user_agent={"autoload": _version()})
        except Exception as e:  # a bad one, or token=True where none is stored
            reason = " ".join(str(e).split())[:200]
            text = f"token cannot be used: {reason}. Pass token='hf_...', or run `hf auth login`."
            raise ArgumentError(text, name="token") from e

    def listing(self, tries: int = TRIES) -> Listing:
        """Which commit the revision is now, and its files.

        Raises:
            RepositoryNotFound, GatedRepository, RevisionNotFound, RateLimited, HubUnreachable, HubError.
        """
        url = f"{constants.ENDPOINT}/api/models/{self.repo_id}/revision/{quote(self.revision, safe='')}?blobs=true"
        body = patiently(partial(self._small, url, "the list of files"), tries)
        try:
            info = json.loads(body)
            commit, siblings = info["sha"], info["siblings"]
            files = {str(row["rfilename"]): _entry(row) for row in siblings}
            if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(self.revision) and commit != self.revision):
                raise ValueError(f"it calls {self.revision!r} commit {commit!r}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            reason = " ".join(f"{type(e).__name__}: {e}".split())[:120]
            text = f"{self.where}: {constants.ENDPOINT} does not answer like a Hub ({reason}). Check HF_ENDPOINT."
            raise HubError(text, **self.facts) from e
        return Listing(commit, files, len(files) < MOST_FILES)

    def entry(self, commit: str, name: str) -> Entry | None:
        """Size and hash of one file that the listing does not tell about; None when it is absent."""
        try:
            facts = patiently(partial(self._metadata, commit, name))
        except MissingFile:
            return None
        entry = Entry.of(facts.size, facts.etag)
        if entry is None:
            text = (
                f"{self.where}: {constants.ENDPOINT} names {name} {facts.etag!r} (size {facts.size}), expected a sha1 or "
                "sha256 and a size. Check HF_ENDPOINT."
            )
            raise HubError(text, **self.facts)
        return entry

    def fetch(self, cache: HubCache, commit: str, name: str, entry: Entry, force: bool = False) -> None:
        """Bring one file into the cache: it gets its name there when it is complete and its hash is right.

        Raises:
            CorruptFile: the content is not what its hash says.
            FileError: no space, no permission; or as for `listing`.
        """
        blob, lock = cache.blob(entry), cache.lock(entry)
        with storing(blob):
            blob.parent.mkdir(parents=True, exist_ok=True)
            lock.parent.mkdir(parents=True, exist_ok=True)
        with turn(lock, blob):
            if not force and cache.holds(entry):
                return  # by another process, or for another commit
            path = blob.with_name(f"{blob.name}.{uuid.uuid4().hex[:8]}.incomplete")
            try:
                if not self._by_xet(commit, name, entry, path):
                    adopt(blob, path)
                    self._by_http(commit, name, entry, path)
                with storing(blob):
                    os.replace(path, blob)
            except (HubUnreachable, KeyboardInterrupt):
                with suppress(OSError):  # the next attempt goes on from here
                    if path.stat().st_size:
                        os.replace(path, blob.with_name(f"{blob.name}.incomplete"))
                raise
            finally:
                with suppress(OSError):
                    path.unlink()

    def first(self, commit: str, name: str, count: int) -> bytes:
        """The first bytes of a file, without the rest of it."""
        body = bytearray()
        wanted = {"Range": f"bytes=0-{count - 1}"}
        with self._answer(self._url(commit, name), name, constants.HF_HUB_DOWNLOAD_TIMEOUT, wanted) as (_, chunks):
            for chunk in chunks():  # a server that does not know of ranges sends all, and is left
                body += chunk
                if len(body) >= count:
                    break
        return bytes(body[:count])

    def _url(self, commit: str, name: str) -> str:
        return f"{constants.ENDPOINT}/{self.repo_id}/resolve/{commit}/{quote(name)}"

    def _by_http(self, commit: str, name: str, entry: Entry, path: Path) -> None:
        with Part(path, entry) as part, _bar(name, entry, part.size) as show:
            pieces = part.size > 0
            patiently(partial(self._stream, commit, name, part, show), progress=lambda: part.most)
            if part.digest() != entry.digest and (pieces or part.resumed):
                part.restart()  # the piece that was there first may be the wrong one: once more, from the start
                patiently(partial(self._stream, commit, name, part, show), progress=lambda: part.most)
            if part.digest() == entry.digest:
                return part.close()
        text = (
            f"{path.with_name(entry.digest)}: {self.where} sent a wrong {name}: hash {part.digest()}, expected "
            f"{entry.digest}. It was removed."
        )
        remedy = "Load again with force_download=True, and if that fails too, tell the owner."
        raise CorruptFile(text, path=name, expected=entry.digest, found=part.digest(), remedy=remedy)

    def _stream(self, commit: str, name: str, part: Part, show: Callable[[int], Any]) -> None:
        """One request for what is still missing of a file."""
        if part.size == part.entry.size and part.size:
            return
        url, timeout = self._url(commit, name), constants.HF_HUB_DOWNLOAD_TIMEOUT
        with self._answer(url, name, timeout, part.range_headers()) as (answer, chunks):
            if not part.continues(answer):
                show(-part.size)
                part.restart()
                if answer.status_code == 206:
                    raise self._unreachable(name, "sent another part than the one asked for")
            part.validator = answer.headers.get("ETag")
            for chunk in chunks():
                part.write(chunk)
                show(len(chunk))
                if part.size > part.entry.size:
                    text = f"{self.where}: {name} came with more than its {part.entry.size} bytes. It was removed."
                    remedy = "Load again; if that fails too, check HF_ENDPOINT."
                    raise CorruptFile(text, path=name, expected=part.entry.size, found=part.size, remedy=remedy)
        if part.size < part.entry.size:
            raise self._unreachable(name, f"ended after {part.size} of {part.entry.size} bytes")

    def _by_xet(self, commit: str, name: str, entry: Entry, path: Path) -> bool:
        """Fetch a large file over Xet, which checks content by itself; False where that is not offered or fails."""
        disabled = getattr(constants, "HF_HUB_DISABLE_XET", False) or find_spec("hf_xet") is None
        if disabled or not entry.large or entry.size < XET_FROM:
            return False
        from huggingface_hub.file_download import xet_get

        try:
            facts = self._metadata(commit, name)
            if getattr(facts, "xet_file_data", None) is None:
                return False
            xet_get(
                incomplete_path=path,
                xet_file_data=facts.xet_file_data,
                headers=dict(self.headers),
                expected_size=entry.size,
                displayed_filename=name,
            )
            if path.stat().st_size == entry.size:
                return True
            reason = f"it brought {path.stat().st_size} of {entry.size} bytes"
        except Exception as e:
            reason = f"{type(e).__name__}: {e}"
        log.warning("%s: %s over Xet failed (%s); taking it over plain HTTP.", self.where, name, reason)
        path.unlink(missing_ok=True)
        return False

    def _metadata(self, commit: str, name: str) -> Any:
        from huggingface_hub.file_download import get_hf_file_metadata

        try:
            timeout = constants.HF_HUB_ETAG_TIMEOUT
            return get_hf_file_metadata(self._url(commit, name), token=self.token, timeout=timeout)
        except Exception as e:
            response = getattr(e, "response", None)
            raise (self._unreachable(name, e) if response is None else self._refusal(response, name)) from e

    def _small(self, url: str, what: str) -> bytes:
        """The whole answer to a request, if it comes in reasonable size and time."""
        end, body = time.monotonic() + LISTING_TIME, bytearray()
        with self._answer(url, what, constants.HF_HUB_ETAG_TIMEOUT, {}) as (_, chunks):
            for chunk in chunks():
                body += chunk
                if len(body) > LONGEST_LISTING or time.monotonic() > end:
                    raise self._unreachable(what, f"sent {len(body)} bytes and did not end")
        return bytes(body)

    @contextmanager
    def _answer(
        self, url: str, what: str, timeout: float, headers: dict[str, str]
    ) -> Iterator[tuple[Any, Callable[[], Iterator[bytes]]]]:
        """A GET request: the response and a function that gives its body in chunks."""
        headers = {**self.headers, "Accept-Encoding": "identity", **headers}
        with ExitStack() as stack:
            try:
                session: Any = get_session()
                if callable(getattr(session, "stream", None)):  # httpx
                    request = session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)
                    response = stack.enter_context(request)
                    chunks = response.iter_bytes
                else:  # requests
                    response = stack.enter_context(session.get(url, headers=headers, timeout=timeout, stream=True))
                    chunks = partial(response.iter_content, PROGRESS)
                if response.status_code >= 400:
                    raise self._refusal(response, what)
                yield response, chunks
            except AutoloadError:
                raise
            except Exception as e:  # of requests, urllib3, httpx, ssl or the system: the classes share no base
                raise self._unreachable(what, e) from e

    def _unreachable(self, what: str, cause: Exception | str) -> HubUnreachable:
        detail = cause if isinstance(cause, str) else f"could not be reached ({type(cause).__name__}: {_root(cause)})"
        detail = " ".join(detail.split())[:300]
        text = f"{self.where}: {constants.ENDPOINT} {detail} when asked for {what}. Check the connection and try again; there is no local directory of that name either."
        return HubUnreachable(text, endpoint=constants.ENDPOINT, **self.facts)

    def _refusal(self, response: Any, what: str) -> FileError:
        """The error for an answer of 400 or more."""
        endpoint, facts, headers = constants.ENDPOINT, self.facts, response.headers
        status, code = response.status_code, headers.get("X-Error-Code")
        said = " ".join(headers.get("X-Error-Message", "").split())[:200]
        login = "pass token=... or run `hf auth login`"
        if code == "EntryNotFound":
            text = f"{self.where}: {endpoint} has no {what} in it."
            return MissingFile(text, where=self.where, names=[what], present=[])
        if code == "GatedRepo":
            text = (
                f"{self.repo_id}: this repository is gated. Ask for access at {endpoint}/{self.repo_id}, then {login}."
            )
            return GatedRepository(text, **facts)
        if code == "RevisionNotFound":
            text = f"{self.repo_id}: {self.revision!r} is not a branch, tag or commit of this repository."
            return RevisionNotFound(f"{text} Its branches and tags are listed at {endpoint}/{self.repo_id}.", **facts)
        if code == "RepoNotFound" or (status == 401 and "Invalid credentials" not in said):
            text = f"{self.repo_id}: not a local directory and not a repository on {endpoint}. Check the name; "
            return RepositoryNotFound(f"{text}for a private repository {login}.", **facts)
        answered = f"{endpoint} answered {status}{f' ({said})' if said else ''} when asked for {what}"
        if status == 429:
            seconds = _asked_wait(headers)
            when = "later" if seconds is None else f"after {seconds:g} s"
            text = f"{self.where}: {answered}: too many requests. Try again {when}."
            return RateLimited(text, status=429, retry_after=seconds, endpoint=endpoint, **facts)
        if status == 408 or status >= 500:
            text = f"{self.where}: {answered}. Try again later."
            return HubUnreachable(text, status=status, retry_after=_asked_wait(headers), endpoint=endpoint, **facts)
        remedy = f"Check the token: {login}." if status in (401, 403) else "Check HF_ENDPOINT."
        return HubError(f"{self.where}: {answered}. {remedy}", status=status, **facts)


def patiently(action: Callable[[], T], tries: int = TRIES, progress: Callable[[], int] = lambda: 0) -> T:
    """Repeat `action` while it fails for a reason that may pass: so often, with pauses, unless it makes progress."""
    failures = 0
    while True:
        before = progress()
        try:
            return action()
        except HubUnreachable as e:
            failures = 1 if progress() - before >= PROGRESS else failures + 1
            asked = getattr(e, "retry_after", None)
            wait = FIRST_WAIT * 2 ** (failures - 1) if asked is None else asked
            if failures >= tries or wait > LONGEST_WAIT:
                raise
            log.info("%s Trying again in %g s.", e, wait)
            time.sleep(wait)


@contextmanager
def _bar(name: str, entry: Entry, done: int) -> Iterator[Callable[[int], Any]]:
    """The progress bar of huggingface_hub, and its switch to turn it off; none for a small file."""
    if entry.size < 10 * PROGRESS:
        yield lambda _: None
        return
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread that outlives the download

    with Bar(total=entry.size, initial=done, unit="B", unit_scale=True, desc=name[-40:], disable=None) as bar:
        yield bar.update


def _version() -> str:
    try:
        return version("autoload")
    except PackageNotFoundError:  # run from a checkout
        return "0"


def _root(cause: BaseException) -> BaseException:
    """What lies beneath an error of an HTTP client, whose own text repeats the address three times."""
    deeper = cause.__cause__ or getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
    return _root(deeper) if isinstance(deeper, BaseException) else cause


def _entry(row: dict[str, Any]) -> Entry | None:
    large = row.get("lfs")
    return Entry.of(large.get("size"), large.get("sha256")) if large else Entry.of(row.get("size"), row.get("blobId"))


def _asked_wait(headers: Any) -> float | None:
    """Seconds that the server wants us to wait, if it says so."""
    after = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", after):
        return float(after)
    if after:
        with suppress(ValueError, TypeError):
            return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    spent = re.search(r"\br=0;t=(\d+)", headers.get("RateLimit", "").replace(" ", ""))
    return float(spent[1]) if spent else None
