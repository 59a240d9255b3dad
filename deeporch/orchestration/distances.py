"""How far one sound is from another: distances by name, on energies that add up, thousands at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from ..util.audio import read_sound
from ..util.checks import check_choice
from ..util.compiled import librosa
from .spectra import EDGES, Bands, Resolutions, Spectrum

SAMPLE_RATE = 44_100
FLOOR, DEEP = 1e-6, 1e-8  # of decibel distances: −60 dB below the loudest band; of `combined` −80
TINY = 1e-20
DEFAULT = "combined"
ASPECTS = (20.0, 200.0, 12.0, 30.0)  # of level and cepstrum (dB), centroid (semitones), flatness (dB): as much as one
SAME_NOTES = (5.75, 51.0, 4.8, 4.1)  # so far apart, or less, are the same notes in two recordings, nine times of ten
RUMBLE = 60.0  # Hz below which centroid and flatness take no account of anything
LIMIT, BEYOND = 0.8, 4.0  # of the nearest single note's differences; what each counts that is far beyond that
GROUP = 12  # bands of a third of an octave, in `partials`
NEAR = 2  # so many groups to each side are what a band stands out from

Compare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Distance:
    """A named distance."""

    name: str
    energy: Bands | Resolutions | Spectrum
    compare: Compare
    view: Callable[[torch.Tensor], torch.Tensor] = torch.clone
    note_cost: float = 0.0
    about: str = ""
    rough: Sequence[tuple[int, Compare]] = ()
    represent: Callable[[torch.Tensor], torch.Tensor] | None = None
    aspects: Compare | None = None  # [..., aspects]: what `limited` limits; of the first the least is the nearest

    def __call__(self, target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
        """Return the distance of sounds [batch, samples] from a target [samples], at 44.1 kHz, as float32 [batch]."""
        samples = max(len(target), sounds.shape[1])
        energy = self.energy.exact if isinstance(self.energy, Spectrum) else self.energy
        both = [torch.nn.functional.pad(x, (0, samples - x.shape[1])) for x in (target[None], sounds)]
        target, sounds = (self.seen(self.view(energy(x, samples / SAMPLE_RATE))) for x in both)
        return self.compare(target[0], sounds)

    def limited(self, target: torch.Tensor, singles: Sequence[torch.Tensor]) -> Distance:
        """Return the distance that grows faster where a sound differs as much as the nearest of the single notes."""
        if self.aspects is None:
            return self
        apart = torch.cat([self.aspects(target, part) for part in singles])
        same = (torch.tensor(SAME_NOTES) / torch.tensor(ASPECTS)).to(apart.device)
        limit = torch.maximum(LIMIT * apart[apart[:, 0].argmin()], same)
        return replace(self, compare=partial(self.compare, limit=limit))

    def seen(self, views: torch.Tensor) -> torch.Tensor:
        """Return what `compare` takes of views [candidates, ...]."""
        return views if self.represent is None else self.represent(views)


def asymmetric(target: torch.Tensor, sounds: torch.Tensor, *, missing: float, excess: float) -> torch.Tensor:
    """Return 1000 × (missing × Σ of what the sound lacks + excess × Σ of what it has too much)."""
    target, sounds = (x.clamp(min=0).sqrt().flatten(-2) for x in (target, sounds))
    n = 2 * max(target.shape[-1] - 1, 1)
    target, sounds = (x / x.amax(-1, keepdim=True).clamp(min=TINY) for x in (target, sounds))
    lacking = (target - sounds).clamp(min=0).sum(-1)
    difference = target.sum(-1) - sounds.sum(-1)  # what is lacking less what is too much
    return 1000 / n * (missing * lacking + excess * (lacking - difference))


def angle(target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return one minus the cosine of the angle between vectors [bands] and [..., bands]."""
    scale = torch.linalg.vector_norm(target, dim=-1) * torch.linalg.vector_norm(sounds, dim=-1)
    return 1 - (sounds @ target) / scale.clamp(min=TINY)


def cosine(target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return one minus the cosine of the angle between magnitude spectra."""
    return angle(*(x.clamp(min=0).sqrt().flatten(-2) for x in (target, sounds)))


def decibels(energy: torch.Tensor, floor: float = FLOOR) -> torch.Tensor:
    """Return levels in dB below the loudest of all slots and bands, none lower than the floor."""
    top = energy.amax((-2, -1), keepdim=True).clamp(min=TINY)
    return (energy / top).clamp(min=floor).log10().mul(10)


def log_spectral(target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return the root mean square difference of the levels, in dB."""
    return (decibels(target) - decibels(sounds)).square().mean((-2, -1)).sqrt()


def level_difference(target: torch.Tensor, sounds: torch.Tensor, floor: float = FLOOR) -> torch.Tensor:
    """Return the mean absolute difference of the levels, in dB."""
    return (decibels(target, floor) - decibels(sounds, floor)).abs().mean((-2, -1))


def framewise(target: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of the levels of each slot in turn, in dB, averaged over time."""
    lengths = torch.tensor(np.diff(EDGES)[: target.shape[-2]], dtype=torch.float32, device=target.device)
    target, sounds = (decibels(x / lengths[:, None]) for x in (target, sounds))
    return (target - sounds).abs().mean(-1) @ (lengths / lengths.sum())


def partials(target: torch.Tensor, sounds: torch.Tensor, **options: int) -> torch.Tensor:
    """Return the angle between what stands out of two sounds' spectra: 0 is the same, 1 has nothing in common."""
    return angle(relief(target, **options), relief(sounds, **options))


def relief(energy: torch.Tensor, *, group: int = GROUP, roots: int = 3, around: bool = True) -> torch.Tensor:
    """Return how bands [..., slots, bands] stand out from those around them, compressed, as vectors [..., both]."""
    for _ in range(roots):
        energy = energy.clamp(min=0).sqrt()
    groups = energy.unflatten(-1, (-1, group))
    if not around:
        return groups.flatten(-3)
    means = groups.mean(-1)
    near = torch.nn.functional.avg_pool1d(means.flatten(0, -2)[:, None], 2 * NEAR + 1, 1, NEAR, count_include_pad=False)
    return (groups - near.view(*means.shape, 1)).flatten(-3)


def attack_and_rest(energy: torch.Tensor) -> torch.Tensor:
    """Return the energy of the first tenth of a second, and of the rest if there is one: [..., 1 or 2, bands]."""
    return torch.stack([part.sum(-2) for part in energy.tensor_split((1,), dim=-2) if part.shape[-2]], -2)


def partials_and_colour(energy: torch.Tensor) -> torch.Tensor:
    """Return the attack and the rest of the fine bands, and beside them the first second and the rest of the others."""
    fine, colour = energy[..., :_WIDE], energy[..., _WIDE:]
    fine = torch.nn.functional.pad(fine, (0, 0, 0, max(0, 2 - fine.shape[-2])))  # a rest, if only of silence
    second = EDGES.index(1.0)
    colour = torch.stack([colour[..., :second, :].sum(-2), colour[..., second:, :].sum(-2)], -2)
    return torch.cat([attack_and_rest(fine), colour], -1)


def whole(energy: torch.Tensor) -> torch.Tensor:
    """Return the energy of the whole sound, [..., 1, bands]."""
    return energy.sum(-2, keepdim=True)


def average(views: torch.Tensor, bands: int) -> torch.Tensor:
    """Return the means of so many neighbouring bands each, [..., slots, fewer bands]."""
    return torch.nn.functional.avg_pool1d(views, bands, ceil_mode=True)


def roughly(compare: Compare) -> tuple[tuple[int, Compare], ...]:
    """Return comparisons of means of 16 and of 4 bands."""
    return (16, compare), (4, compare)


def first_second(target: torch.Tensor, sounds: torch.Tensor, *, bands: int) -> torch.Tensor:
    """Return how far sounds of `combined`'s views are in the first second, as shares of `ASPECTS`: [..., 4].

    The mean difference of the mel bands' levels, the distance of their first 19 cepstral coefficients, and how far
    their centroids and their flatnesses are.
    """
    target, sounds = (x[..., 0, bands:] for x in (target, sounds))
    hertz, width, basis = (x.to(target.device) for x in _mel_bands(target.shape[-1]))
    tops = [x.amax(-1, keepdim=True).clamp(min=TINY) for x in (target, sounds)]
    target, sounds = (x / top for x, top in zip((target, sounds), tops, strict=True))
    levels, others = (x.clamp(min=DEEP).log10().mul(10) for x in (target, sounds))
    difference = others - levels
    powers = [(x @ width).clamp(min=TINY) for x in (target, sounds)]
    centroids = [(x @ (width * hertz) / power) for x, power in zip((target, sounds), powers, strict=True)]
    flatness = (difference @ width / width.sum() - 10 * (powers[1] / powers[0]).log10()).abs()
    brightness = (12 * (centroids[1].clamp(min=1) / centroids[0].clamp(min=1)).log2()).abs()
    parts = difference.abs().mean(-1), (difference @ basis).norm(dim=-1), brightness, flatness
    return torch.stack([part / scale for part, scale in zip(parts, ASPECTS, strict=True)], -1)


@lru_cache
def _mel_bands(bands: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the middle and the width of mel bands (or of averages of some) in Hz, and the basis of their cepstrum."""
    edges = torch.from_numpy(librosa.mel_frequencies(_MEL.count + 2, fmin=0, fmax=SAMPLE_RATE / 2)).float()
    width = (edges[2:] - edges[:-2]) * (edges[1:-1] > RUMBLE)
    means = [average(x[None, None], -(-_MEL.count // bands))[0, 0] for x in (edges[1:-1], width)]
    angles = math.pi * (torch.arange(bands)[:, None] + 0.5) * torch.arange(1, 20) / bands
    return means[0], means[1], math.sqrt(2 / bands) * angles.cos()


def combined(
    target: torch.Tensor, sounds: torch.Tensor, *, bands: int, group: int = GROUP,
    limit: float | torch.Tensor = math.inf,
) -> torch.Tensor:  # fmt: skip
    """Return partials × (1 + beyond) + (loudness + level) / 2; the first `bands` of the views are the fine ones.

    partials: the angle between what stands out of the fine bands. loudness: the angle between the fourth roots of the
    mel bands' energies. level: the first of `first_second`. beyond: the sum of BEYOND × 2x / (1 + 2x), x being by how
    much each of `first_second` is beyond the limit; as a factor it weighs little where the partials are the target's.
    """
    (fine, colour), (fines, colours) = (x.tensor_split((bands,), -1) for x in (target, sounds))
    loudness = angle(*(relief(x, group=1, roots=2, around=False) for x in (colour, colours)))
    apart = first_second(target, sounds, bands=bands)
    beyond = 2 * (apart - limit).clamp(min=0)
    factor = 1 + BEYOND * (beyond / (1 + beyond)).sum(-1)
    return partials(fine, fines, group=group) * factor + (loudness + apart[..., 0]) / 2


_EXCESS, _MISSING = partial(asymmetric, missing=0.5, excess=10.0), partial(asymmetric, missing=10.0, excess=0.5)
_LOG, _MEL = Bands(), Bands("mel", n_fft=2048, hop=1024)
_BOTH, _WIDE = Resolutions((_LOG, _MEL)), _LOG.filters.shape[0]
_PARTIALS = tuple((n, partial(partials, group=GROUP // n)) for n in (GROUP, 4))
_COMBINED = tuple((n, partial(combined, bands=_WIDE // n, group=GROUP // n)) for n in (GROUP, 4))
_ALL = (
    Distance(
        DEFAULT, _BOTH, partial(combined, bands=_WIDE), partials_and_colour, 0.01,
        "what stands out, loudness and level (default)", _COMBINED, aspects=partial(first_second, bands=_WIDE),
    ),
    Distance("partials", _LOG, partials, attack_and_rest, 0.01, "what stands out of the spectrum", _PARTIALS),
    Distance("asymmetric_excess", Spectrum(), _EXCESS, about="the follow-up's", rough=roughly(_EXCESS)),
    Distance("asymmetric_missing", Spectrum(), _MISSING, about="Orchidea's", rough=roughly(_MISSING)),
    Distance("cosine", Spectrum(), cosine, about="angle between magnitude spectra", rough=roughly(cosine)),
    Distance("log_spectral", _LOG, log_spectral, whole, 0.0, "RMS of 36 bands an octave, in dB", roughly(log_spectral)),
    Distance("mel", _MEL, level_difference, whole, about="mean difference in dB, 128 mel bands"),
    Distance("framewise", _MEL, framewise, about="the same, slot by slot in time", rough=roughly(framewise)),
)  # fmt: skip
DISTANCES: dict[str, Distance] = {each.name: each for each in _ALL}


def get_distance(name: str | Distance) -> Distance:
    """Return a distance by its name; one of your own is passed through."""
    return name if isinstance(name, Distance) else DISTANCES[check_choice(name, DISTANCES, "distance")]


def distance(
    target: str | Path | np.ndarray | torch.Tensor,
    sound: str | Path | np.ndarray | torch.Tensor,
    sample_rate: int | None = None,
    *,
    name: str | Distance = DEFAULT,
) -> float:
    """Return the distance of a sound from a target."""
    measure = get_distance(name)
    sounds = [read_sound(each, sample_rate, SAMPLE_RATE) for each in (target, sound)]
    return float(measure(sounds[0], sounds[1][None])[0])
