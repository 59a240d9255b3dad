"""Inside a SoundFont: its presets' names, and samples in Ogg Vorbis (.sf3) unpacked for synthesizers (.sf2)."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

HEADER = struct.Struct("<20sIIIIIBbHH")  # of a sample: name, start, end, loop, rate, key, correction, link, type
VORBIS = 0x10  # flag of a sample's type
GAP = 46  # samples of silence that the format asks for after each sample


def unpack(data: bytes) -> bytes:
    """Return a SoundFont with plain samples; one that has them already as it is."""
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError("no SoundFont by its first bytes")
    place, _ = _find(data, b"sdta", b"smpl")
    heads, length = _find(data, b"pdta", b"shdr")
    table = [HEADER.unpack_from(data, heads + i) for i in range(0, length - HEADER.size, HEADER.size)]
    if not any(head[9] & VORBIS for head in table):
        return data
    parts, rows, end = [], [], 0
    for name, start, stop, loop, loop_end, *rest, kind in table:
        if kind & VORBIS:
            try:
                audio, _ = soundfile.read(io.BytesIO(data[place + start : place + stop]), dtype="int16", always_2d=True)
            except soundfile.LibsndfileError as error:
                label = name.rstrip(bytes(1)).decode("latin1")
                raise ValueError(f"sample {label!r} cannot be decoded ({error})") from None
            audio, shift = audio[:, 0], end  # loops are counted from the sample's own start
        else:
            audio, shift = np.frombuffer(data, "<i2", stop - start, place + 2 * start), end - start
        rows.append(HEADER.pack(name, end, end + len(audio), loop + shift, loop_end + shift, *rest, kind & ~VORBIS))
        parts += [audio.astype("<i2").tobytes(), bytes(2 * GAP)]
        end += len(audio) + GAP
    rows.append(data[heads + length - HEADER.size : heads + length])
    return _rebuild(data, {b"smpl": b"".join(parts), b"shdr": b"".join(rows)})


def presets(data: bytes) -> dict[tuple[int, int], str]:
    """Return the name of each preset by bank and program, both counted from 0; drums are bank 128."""
    place, size = _find(data, b"pdta", b"phdr")
    rows = [data[i : i + 38] for i in range(place, place + size - 38, 38)]
    found = [(struct.unpack_from("<HH", row, 20), row[:20].split(b"\0")[0].decode("latin1")) for row in rows]
    return {(bank, program): name for (program, bank), name in found}


def _chunks(data: bytes, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Return name, place and size of the chunks between two places."""
    found = []
    while start + 8 <= end:
        name, size = data[start : start + 4], struct.unpack_from("<I", data, start + 4)[0]
        found.append((name, start + 8, size))
        start += 8 + size + size % 2
    return found


def _find(data: bytes, group: bytes, name: bytes) -> tuple[int, int]:
    """Return place and size of a chunk inside a list."""
    for kind, place, size in _chunks(data, 12, len(data)):
        if kind == b"LIST" and data[place : place + 4] == group:
            for inner, start, length in _chunks(data, place + 4, place + size):
                if inner == name:
                    return start, length
    raise ValueError(f"no SoundFont: it has no {name.decode()} chunk")


def _rebuild(data: bytes, new: dict[bytes, bytes]) -> bytes:
    """Return a SoundFont with some of its chunks exchanged."""
    lists = []
    for kind, place, size in _chunks(data, 12, len(data)):
        inside = _chunks(data, place + 4, place + size)
        parts = [_chunk(name, new.get(name, data[start : start + length])) for name, start, length in inside]
        lists.append(_chunk(kind, data[place : place + 4] + b"".join(parts)))
    return _chunk(b"RIFF", b"sfbk" + b"".join(lists))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
