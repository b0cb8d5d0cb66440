"""Opening what FFmpeg reads, through any PyAV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer


def open_container(
    url: str, timeout: float | tuple[float, float] | None, options: dict[str, str] | None = None
) -> InputContainer:
    """A file or stream, open to read.

    Args:
        timeout: seconds to wait for a connection and for what is read, in one or each; None for
            ever.
        options: of FFmpeg's protocols and formats.

    Raises:
        av.FFmpegError, OSError: it cannot be opened.
    """
    import av

    arguments: dict[str, Any] = {}
    if int(av.__version__.partition(".")[0]) < 19:
        # To which titles in another encoding than UTF-8 are an error.
        arguments["metadata_errors"] = "replace"
    container: InputContainer = av.open(url, "r", timeout=timeout, options=options, **arguments)
    return container
