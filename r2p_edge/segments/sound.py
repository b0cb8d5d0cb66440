"""The sound of a video, packet by packet, for a film of the same pictures."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from r2p_edge.video.decoding import cause_of

if TYPE_CHECKING:
    from av import CodecContext, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

_AGAIN = "aac"  # the codec of sound that a film's container cannot hold as it is
_IN_MP4 = {"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}
"""Codecs that players read in MP4, which by its definition may hold others too, such as PCM."""

_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Usual layout of so many channels: AVI, for one, says nothing but their number."""

_RATES = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
"""Samples a second that AAC has (ISO/IEC 14496-3, table 1.18)."""

_PAUSE = 0.1  # seconds without sound that are no inaccuracy of times

_log = logging.getLogger(__name__)


class Sound:
    """Copies the sound of a file into a film, in step with its pictures.

    Packets are copied as they are; those of a codec that the film's container cannot hold are
    decoded and encoded again as AAC. What cannot be read or decoded is left out, and a warning
    says so.

    Args:
        source: the file; read from its start to its end.
        film: gets a stream for each of the source's streams of sound.
        shift: seconds that are taken from all times.
        name: name of the file, for the log.
    """

    def __init__(
        self, source: InputContainer, film: OutputContainer, shift: float, name: str
    ) -> None:
        self._film, self._shift, self._name = film, shift, name
        self._tracks = dict(self._opened(source.streams.audio))
        self._packets = self._read(source)
        self._next: Packet[AudioStream] | None = None
        self._over = not self._tracks

    def _opened(self, streams: Any) -> Iterator[tuple[int, _Copied | _Encoded]]:
        held = self._film.supported_codecs
        if self._film.format.name == "mp4":
            held &= _IN_MP4
        for stream in streams:
            context: CodecContext | None = stream.codec_context  # None without a decoder
            if context is None:
                _log.warning("%s has sound of an unknown codec, which is left out", self._name)
            elif context.codec.canonical_name in held:
                yield stream.index, _Copied(stream, self._film, self._shift)
            else:
                yield stream.index, _Encoded(stream, self._film, self._shift)

    def _read(self, source: InputContainer) -> Iterator[Packet[AudioStream]]:
        import av

        streams = [stream for stream in source.streams.audio if stream.index in self._tracks]
        try:
            for packet in source.demux(streams):
                if packet.size and packet.dts is not None:
                    yield cast("Packet[AudioStream]", packet)
        except av.FFmpegError as error:
            _log.warning("the sound of %s ends early (%s)", self._name, cause_of(error))

    def copy(self, until: float) -> None:
        """Copy what is heard up to a moment of the film, in seconds; infinite for all the rest."""
        while not self._over:
            packet, self._next = self._next or next(self._packets, None), None
            if packet is None:
                self._over = True
                for track in self._tracks.values():
                    track.finish()
                return
            assert packet.dts is not None
            if float(packet.dts * packet.time_base) - self._shift > until:
                self._next = packet
                return
            self._tracks[packet.stream.index].add(packet)


class _Copied:
    """A stream of sound whose packets are copied."""

    def __init__(self, stream: AudioStream, film: OutputContainer, shift: float) -> None:
        self._film, self._shift = film, shift
        self._stream = film.add_stream_from_template(stream)
        self._stream.metadata.update(stream.metadata)

    def add(self, packet: Packet[AudioStream]) -> None:
        shift = round(self._shift / packet.time_base)
        assert packet.dts is not None
        packet.dts -= shift
        if packet.pts is not None:
            packet.pts -= shift
        packet.stream = self._stream
        self._film.mux(packet)

    def finish(self) -> None:
        pass


class _Encoded:
    """A stream of sound that is decoded and encoded again."""

    def __init__(self, stream: AudioStream, film: OutputContainer, shift: float) -> None:
        from av.audio.resampler import AudioResampler

        self._film, self._shift = film, shift
        rate = stream.rate if stream.rate in _RATES else 48000
        self._stream = cast("AudioStream", film.add_stream(_AGAIN, rate=rate))
        layout = _LAYOUTS[min(stream.channels, len(_LAYOUTS)) - 1]
        self._stream.layout = layout
        context = self._stream.codec_context
        context.open()
        self._resampler = AudioResampler("fltp", layout, rate, context.frame_size)
        self._rate, self._heard = stream.rate, -1  # samples so far

    def add(self, packet: Packet[AudioStream]) -> None:
        import av

        frames: list[Any] = []
        with contextlib.suppress(av.FFmpegError):  # a damaged packet is silence
            frames = packet.decode()
        for frame in frames:
            # Counted, as times may stand twice or go back, but for a pause.
            moment = round(((frame.time or 0.0) - self._shift) * self._rate)
            if self._heard < 0 or moment > self._heard + self._rate * _PAUSE:
                self._heard = max(moment, 0)
            frame.pts, frame.time_base = self._heard, Fraction(1, self._rate)
            self._heard += frame.samples
            self._encode(frame)

    def _encode(self, frame: Any) -> None:
        for piece in self._resampler.resample(frame):
            self._film.mux(self._stream.encode(piece))

    def finish(self) -> None:
        self._encode(None)
        self._film.mux(self._stream.encode(None))
