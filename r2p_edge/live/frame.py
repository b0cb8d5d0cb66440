"""A frame of live video on its way to the clip buffer, and the interface of what gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol, TypeVar

from r2p_edge.frame import Image, Planes

_Picture = TypeVar("_Picture", bound="Image | Planes")


class LiveFrame(NamedTuple):
    """One frame of a stream.

    Attributes:
        time: seconds in the source's own clock.
        captured: the same moment in seconds of the monotonic clock, as far as that is known.
        size: height and width in pixels.
        picture: returns the pixels, uint8 (height, width, 3), or the planes; called only if a
            window needs them.
        color: channel order of the pixels.
        joined: True if the source ran on without interruption since the frame before.
        dropped: number of frames that were dropped since the frame before.
        decode_ms: milliseconds of decoding since the frame before.
    """

    time: float
    captured: float
    size: tuple[int, int]
    picture: Callable[[], Image | Planes]
    color: Literal["RGB", "BGR"] = "RGB"
    joined: bool = True
    dropped: int = 0
    decode_ms: float = 0.0

    def image(self) -> Image:
        """Return the pixels in RGB, uint8 (height, width, 3)."""
        picture = self.picture()
        if isinstance(picture, Planes):
            return picture.rgb()
        return picture if self.color == "RGB" else picture[:, :, ::-1]


class Capture(Protocol):
    """A source of frames in the order of their times.

    Attributes:
        name: name for messages.
        live: True if the source goes on whether or not its frames are read.
        timeout: seconds that a live source may take to give the next frame.
        lost: True while a live source that broke off, or never came, is opened again.
    """

    name: str
    live: bool
    timeout: float
    lost: bool

    @property
    def truncated(self) -> bool:
        """True if the source ended before the end that it declares."""
        ...

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames; a live source is opened again where it breaks off.

        Raises:
            VideoError: it is lost for good.
        """
        ...

    def stop(self) -> None:
        """Make `frames` end soon; from any thread."""
        ...

    def close(self) -> None:
        """Release the source; from the thread that reads it, or after it."""
        ...


def decoded(picture: _Picture) -> Callable[[], _Picture]:
    """Return the `picture` of a frame whose pixels are there already."""
    return lambda: picture
