"""A store that notes what it is asked, so that a test can tell what something costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from seedbed.storage import ObjectLimit, Storage
from seedbed.storage.object_limits import DOCUMENT


@dataclass(kw_only=True)
class CountingStorage:
    """The storage inside, and each request of it and of its children."""

    inside: Storage
    requests: list[str] = field(default_factory=list)
    """`read runs/ab/result.json`, in the order of asking; paths begin at the storage that was counted first."""
    at: str = ""
    before: Callable[[str], object] = lambda _request: None
    """Called with each request before it is answered: what others do meanwhile."""

    @property
    def url(self) -> str:
        return self.inside.url

    def read(self, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        self._note("read", path)
        return self.inside.read(path, limit)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        self._note("read", path)
        return self.inside.read_range(path, start, length)

    def exists(self, path: str) -> bool:
        self._note("exists", path)
        return self.inside.exists(path)

    def size(self, path: str) -> int:
        self._note("size", path)
        return self.inside.size(path)

    def list(self, prefix: str = "") -> list[str]:
        self._note("list", prefix)
        return self.inside.list(prefix)

    def create(self, path: str, data: bytes) -> bool:
        self._note("create", path)
        return self.inside.create(path, data)

    def put(self, path: str, data: bytes) -> None:
        self._note("put", path)
        self.inside.put(path, data)

    def delete(self, path: str) -> None:
        self._note("delete", path)
        self.inside.delete(path)

    def child(self, path: str) -> CountingStorage:
        return CountingStorage(
            inside=self.inside.child(path),
            requests=self.requests,
            at=f"{self.at}{path.strip('/')}/",
            before=self.before,
        )

    def _note(self, verb: str, path: str) -> None:
        self.requests.append(f"{verb} {self.at}{path}".rstrip("/"))
        self.before(self.requests[-1])
