"""Read a file while another process still writes it."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import IO

# How long to wait before a file's size is read again.
_POLL_SECONDS = 0.005


class Growing:
    """A mapped file to which another process appends: each read waits until the process has written what is read.

    A read returns less than what was asked for only where the process has ended.
    """

    def __init__(self, file: IO[bytes], has_ended: Callable[[], bool]) -> None:
        self._file, self._has_ended = file, has_ended
        self._map: mmap.mmap | None = None
        self._size = self._at = 0
        self._mapping = threading.Lock()
        # Set where the file is not read any more: threads must not wait for the rest.
        self.stopped = False

    def until(self, end: int) -> mmap.mmap | bytes:
        """Return the mapped file once it has bytes up to `end`, or all that it will have."""
        while self._size < end and not self.stopped:
            # In this order: what was written before the end is in the size.
            ended = self._has_ended()
            size = os.fstat(self._file.fileno()).st_size
            if size >= end or (ended and size > self._size):
                self._extend(size)
            elif ended:
                break
            else:
                time.sleep(_POLL_SECONDS)
        return b"" if self._map is None else self._map

    def _extend(self, size: int) -> None:
        with self._mapping:
            if size > self._size:
                # The earlier map is closed when the last thread that reads it has finished.
                self._map = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
                self._size = size

    def __getitem__(self, part: slice) -> bytes:
        """Return a part."""
        mapped = self._map if part.stop <= self._size and self._map else self.until(part.stop)
        return mapped[part]

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """Return the first place of some bytes in a part, or -1."""
        return self.until(end).find(wanted, start, end)

    def read(self, size: int) -> bytes:
        """Read the next bytes."""
        content = self[self._at : self._at + size]
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = 0, /) -> None:
        """Set the position, relative to the start or to the present one."""
        self._at = offset + (self._at if whence else 0)

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def madvise(self, option: int, start: int, length: int) -> None:
        """Advise the kernel about the use of a part."""
        mapped = self.until(0)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(option, start, length)
