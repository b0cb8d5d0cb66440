"""The picture of GStreamer's senders: a grey that swings up and down, one step each frame."""


def swing(number):
    """Return the grey level of a frame, 10 from those beside it; the same again after 46."""
    return 15 + 10 * min(number % 46, -number % 46)
