"""The picture of GStreamer's senders: a grey that swings up and down, one step each frame."""


def swing(number):
    """Return the grey level of a frame, 4 from those beside it; the same again after 100."""
    return 20 + 4 * min(number % 100, -number % 100)
