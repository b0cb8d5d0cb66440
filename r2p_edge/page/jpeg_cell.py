"""The newest picture of a source, as a JPEG file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor

from r2p_edge.frame import Image, Planes
from r2p_edge.pictures.encoding import reduced_jpeg_of


class JpegCell:
    """A picture that becomes a JPEG file once, when somebody asks for it.

    Args:
        longest: greatest number of pixels of its longer side.
        encoder: runs the encodings. In the short lives of viewers' threads, FFmpeg's memory would
            be spread over as many of the C library's arenas, which keep it.
        count: is called after each encoding.
    """

    def __init__(self, longest: int, encoder: Executor, count: Callable[[], None]) -> None:
        self._longest, self._encoder, self._count = longest, encoder, count
        self._encoding, self._lock = threading.Lock(), threading.Lock()
        self._picture: Image | Planes | None = None
        self._jpeg: bytes | None = None

    def put(self, picture: Image | Planes) -> None:
        """Replace the picture; an encoding that goes on holds nothing up."""
        with self._lock:
            self._picture, self._jpeg = picture, None

    def get(self) -> bytes | None:
        """Return the picture as a JPEG file; None if there is none yet.

        Raises:
            VideoError: FFmpeg cannot encode it.
        """
        with self._encoding:
            with self._lock:
                picture, jpeg = self._picture, self._jpeg
            if picture is None:
                return jpeg
            jpeg = self._encoder.submit(reduced_jpeg_of, picture, self._longest).result()
            self._count()
            with self._lock:
                if self._picture is picture:  # whose full size is large
                    self._picture, self._jpeg = None, jpeg
            return jpeg
