"""The picture of GStreamer's senders: a grey that swings up and down, one step each frame."""


def swing(number):
    """Return the grey level of a frame, 5 from those beside it; the same again after 80."""
    return 20 + 5 * min(number % 80, -number % 80)
