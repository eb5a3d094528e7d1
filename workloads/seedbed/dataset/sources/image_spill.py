"""Bytes of images in one unnamed temporary file, for formats whose rows cannot be read one by one.

Pass 2 of a build reads rows in the order of their ids, which is no order of the source: from compressed
column chunks each row would cost a whole chunk. So their images are copied once, to the local disk.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field

from seedbed.dataset.disk_spill import temporary_folder_errors
from seedbed.storage import ShortRead

_BUFFER_BYTES = 1 << 20


class ImageSpill:
    """A growing file of images; removed with the object, or with the process."""

    def __init__(self) -> None:
        with temporary_folder_errors():
            self._file = tempfile.TemporaryFile(prefix="seedbed-images-", buffering=_BUFFER_BYTES)  # noqa: SIM115
        self.bytes = 0

    def add(self, image: bytes) -> int:
        """Append an image and return where it starts."""
        start = self.bytes
        with temporary_folder_errors():
            self._file.write(image)
        self.bytes += len(image)
        return start

    def finish(self) -> SpilledImages:
        """Return the reader; nothing can be added after."""
        with temporary_folder_errors():
            self._file.flush()
        # other processes of this user reach a file without a name through the process that has it open
        return SpilledImages(path=f"/proc/{os.getpid()}/fd/{self._file.fileno()}", keeper=self._file)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpilledImages:
    """Reads images of a spill; picklable, for processes of this machine while the build runs."""

    path: str
    keeper: object = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, (self.path,))

    def read_range(self, start: int, length: int) -> bytes:
        """Return the bytes of one image."""
        with temporary_folder_errors():
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = _pread_all(handle, start, length)
            finally:
                os.close(handle)
        if len(data) < length:
            raise ShortRead("the temporary folder", start, length, len(data))
        return data


def _reopen(path: str) -> SpilledImages:
    return SpilledImages(path=path)


def _pread_all(handle: int, start: int, length: int) -> bytes:
    data = os.pread(handle, length, start)
    if len(data) == length or not data:
        return data
    return data + _pread_all(handle, start + len(data), length - len(data))
