"""The complex frames of all notes of a library."""

from __future__ import annotations

import torch

ATTACK = 6  # frames (0.14 s at the usual hop) that keep their pace when a note is drawn out


def stretched(factors: torch.Tensor, frames: int) -> torch.Tensor:
    """Return which frame stands at each time, int64 [..., frames], all after the attack drawn out by factors."""
    time = torch.arange(frames)
    later = ATTACK + ((time - ATTACK) / factors[..., None]).round().long()
    return torch.where(time < ATTACK, time, later)


def _move(window: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return frames [batch, frames, bins, 2], each moved upwards by its number of bins; what comes in is 0."""
    place = torch.arange(window.shape[2], device=window.device) - up[:, None]
    inside = (place >= 0) & (place < window.shape[2])
    index = place.clamp(0, window.shape[2] - 1)[:, None, :, None].expand_as(window)
    return window.gather(2, index) * inside[:, None, :, None]


class NoteFrames:
    """The complex frames of all notes of a library."""

    def __init__(self, values: torch.Tensor, count: torch.Tensor, gain: torch.Tensor, lead: int) -> None:
        self.values, self.count, self.gain, self.lead = values, count, gain, lead
        self.first = count.cumsum(0) - count
        self._copies: dict[torch.device, NoteFrames] = {}

    def on(self, device: torch.device) -> NoteFrames:
        """Return these frames on a device; they are copied there once."""
        if device.type == "cpu":
            return self
        if device not in self._copies:
            self._copies[device] = NoteFrames(self.values.to(device), self.count, self.gain, self.lead)
        return self._copies[device]

    def window(self, rows: torch.Tensor, starts: torch.Tensor, frames: int) -> torch.Tensor:
        """Return float16 [rows, frames, bins, 2]: each note from its own start, zeros where it has nothing."""
        device, tail = self.values.device, self.values.shape[1:]
        if self.lead == 0 and bool((self.count == frames).all()):  # as cut to the window: whole rows
            return self.values.view(-1, frames, *tail)[rows.to(device)]
        place = starts[:, None] + self.lead + torch.arange(frames)
        inside = (place >= 0) & (place < self.count[rows, None])
        place = self.first[rows, None] + torch.where(inside, place, 0)
        part = self.values[place.flatten().to(device)].view(len(rows), frames, *tail)
        return part * inside.to(device)[..., None, None]
