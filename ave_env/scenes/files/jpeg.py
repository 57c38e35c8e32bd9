"""What the segments of a JPEG say, and whether its data can be trusted.

JPEG has no checksums: decoders paint something for nearly any bytes. Damage is known by its traces:
what libjpeg warns of, headers that no encoder writes, and long runs of zeros where an unfinished
download or a bad sector left a hole. Damage without a trace, such as one flipped bit, is not found.

Source: ITU-T T.81, annexes B (segments) and C (Huffman tables).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

START, END = b"\xff\xd8\xff", b"\xff\xd9"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers SOF0 .. SOF15
_SEQUENTIAL = frozenset((0xC0, 0xC1))  # with Huffman codes, as baseline
_HUFFMAN_TABLES, _SCAN, _QUANTISATION_TABLES, _APP1 = 0xC4, 0xDA, 0xDB, 0xE1

_HOLE = 32  # zero bytes in a row that no picture gives rise to; 51,000 photos have 5 at most
_PADDING = 16  # bytes before the end that some encoders leave


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the first scan.

    Attributes:
        size: Height and width in pixels.
        ordinary: Whether it has 8 bits, one or three channels, and no EXIF data, by which it may be
            rotated.
        scan: Offset of the first scan.
        damage: What no encoder writes; None where there is no such thing.
        zeros_are_flat: Whether a run of zeros in the scans may stand for a flat picture.
    """

    size: tuple[int, int]
    ordinary: bool
    scan: int
    damage: str | None
    zeros_are_flat: bool


def read_header(data: bytes) -> JpegHeader | None:
    """Reads a JPEG's segments up to the first scan; None if they make no sense."""
    size, channels, sequential, ordinary = None, 0, False, True
    damage, end_of_block_first = None, True
    for marker, position, segment in _segments(data):
        if marker in _FRAMES:
            size = (int.from_bytes(segment[1:3]), int.from_bytes(segment[3:5]))
            channels, sequential = segment[5], marker in _SEQUENTIAL
            ordinary &= segment[0] == 8 and channels in (1, 3) and 0 not in size
        elif marker == _APP1 and segment.startswith(b"Exif"):
            ordinary = False
        elif marker == _QUANTISATION_TABLES and _divides_by_zero(segment):
            damage = "a quantisation table divides by 0"
        elif marker == _HUFFMAN_TABLES:
            for kind, symbols in _huffman_tables(segment):
                if len(set(symbols)) < len(symbols):
                    damage = "a Huffman table has a symbol twice"
                # The first symbol has the code of zeros; symbol 0 ends a block.
                end_of_block_first &= not kind or symbols[:1] == b"\0"
        elif marker == _SCAN:
            whole = sequential and segment[0] == channels
            flat = end_of_block_first or not whole
            return JpegHeader(size, ordinary, position, damage, flat) if size else None
    return None


def find_damage(data: bytes) -> str | None:
    """Says what is wrong with a JPEG that decoders may well paint.

    Every code of its scans is read, at the eighth of the size, which is several times as fast as
    decoding it.

    Args:
        data: The whole file.

    Returns:
        What was found, for a message; None where nothing was.
    """
    header = read_header(data)
    if header is not None:
        if header.damage:
            return header.damage
        if not header.zeros_are_flat and (hole := data.find(bytes(_HOLE), header.scan)) >= 0:
            # What follows the end of the image is no part of it.
            end = data.rfind(END)
            if hole < end:
                return f"zeros in the place of data, from byte {hole:,}"
    warning = _libjpeg_warning(data)
    return None if warning is None or _is_padding(data, warning) else warning


def _libjpeg_warning(data: bytes) -> str | None:
    """The first thing that libjpeg warns of; None also where it cannot read this kind of JPEG."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(
            data, colorspace="GRAY", strict=True, min_height=1, min_width=1, min_factor=1
        )
    except ValueError as error:
        message = str(error)
        marks = ("Corrupt JPEG data", "Premature end", "Inconsistent progression")
        return message if message.startswith(marks) else None
    return None


def _is_padding(data: bytes, warning: str) -> bool:
    """Whether libjpeg complains of nothing but a few bytes between the image and its end."""
    words = warning.split()
    if not warning.endswith("extraneous bytes before marker 0xd9") or not words[3].isdigit():
        return False
    count = int(words[3])
    end = data.rfind(END)
    return count <= _PADDING and data[end - count : end] in (bytes(count), b"\xff" * count)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields marker, offset and content of each segment, as long as they follow each other."""
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding between segments
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        yield marker, position, data[position + 4 : max(position + 2 + length, position + 10)]
        position += 2 + length


def _divides_by_zero(segment: bytes) -> bool:
    position = 0
    while position < len(segment):
        width = 2 if segment[position] >> 4 else 1  # bytes per value
        table = segment[position + 1 : position + 1 + 64 * width]
        values = [int.from_bytes(table[i : i + width]) for i in range(0, len(table), width)]
        if 0 in values:
            return True
        position += 1 + 64 * width
    return False


def _huffman_tables(segment: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the kind (0 = of DC, 1 = of AC) and the symbols of each table, shortest code first."""
    position = 0
    while position + 17 <= len(segment):
        count = sum(segment[position + 1 : position + 17])
        begin = position + 17
        yield segment[position] >> 4, segment[begin : begin + count]
        position = begin + count
