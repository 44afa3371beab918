"""The birds of the demo set. None exists; some are alike on purpose."""

from __future__ import annotations

from chirpid.data.sources.birdsong import Note, Phrase, Species

_HOLLOW = (0.25, 0.08)
_REEDY = (0.7, 0.5, 0.35, 0.2, 0.1)


def _trill(duration_s: float, gap_s: float, *path_hz: float) -> Note:
    return Note(duration_s, path_hz, gap_s, overtones=(0.12,))


def _whistle(duration_s: float, *path_hz: float, gap_s: float = 0.09) -> Note:
    return Note(duration_s, path_hz, gap_s, overtones=(0.06,))


SPECIES: tuple[Species, ...] = (
    Species(  # falling trill
        "Amber Trillfinch",
        (Phrase((_trill(0.055, 0.03, 5200, 3800),), (10, 18)),),
    ),
    Species(  # rising trill: the same band and rate as the amber one
        "Copper Trillfinch",
        (Phrase((_trill(0.055, 0.035, 3700, 5000),), (9, 16)),),
    ),
    Species(  # three clear whistles
        "Glass Whistler",
        (
            Phrase(
                (
                    _whistle(0.38, 3250, 3200),
                    _whistle(0.30, 4000, 3950),
                    _whistle(0.42, 3550, 3450),
                )
            ),
        ),
        (0.7, 1.8),
    ),
    Species(  # the same three pitches, slurred
        "Marsh Whistler",
        (Phrase((_whistle(0.5, 3900, 3300), _whistle(0.55, 3300, 3900, 3500)), (1, 2)),),
        (0.7, 1.8),
    ),
    Species(
        "Dusk Hooter",
        (
            Phrase((Note(0.16, (500, 560), 0.12, _HOLLOW),), (2, 2)),
            Phrase((Note(0.55, (560, 600, 480), 0.3, _HOLLOW, 6.0, 0.015),)),
        ),
        (0.8, 1.8),
    ),
    Species(
        "Thicket Warbler",
        (
            Phrase(
                (
                    _whistle(0.10, 2800, 4600, gap_s=0.03),
                    _whistle(0.12, 6200, 3900, gap_s=0.03),
                    _whistle(0.14, 3600, 5400, 4200, gap_s=0.04),
                    _whistle(0.09, 5200, 5900, gap_s=0.03),
                    _whistle(0.12, 4400, 2900, 3800, gap_s=0.04),
                ),
                (2, 3),
                shuffled=True,
            ),
        ),
    ),
    Species(
        "Reed Buzzer",
        (
            Phrase((Note(0.09, (6100, 5600), 0.05),), (2, 3)),
            Phrase((Note(0.7, (5000, 5200), 0.1, flutter_hz=95.0),)),
        ),
    ),
    Species(
        "Velvet Churr",
        (Phrase((Note(2.2, (1500, 1700, 1600), 0.2, (0.3,), flutter_hz=26.0),)),),
        (0.4, 1.0),
    ),
    Species(
        "Spiral Tinker",
        (Phrase((_trill(0.07, 0.12, 2600, 2900),), (9, 14), pitch_step=1.06, gap_step=0.88),),
    ),
    Species(
        "Rusty Creaker",
        (Phrase((Note(0.45, (780, 1150, 900), 0.18, _REEDY, breath=0.03),), (1, 3)),),
        (0.6, 1.6),
    ),
    Species(
        "Silver Chipper",
        (Phrase((_trill(0.035, 0.38, 7400, 4300),), (3, 6)),),
        (0.4, 1.2),
    ),
    Species(
        "Cloud Piper",
        (Phrase((_whistle(0.18, 2300, 2350), _whistle(0.30, 2900, 2850, gap_s=0.25)), (1, 3)),),
    ),
    Species(
        "Tin Cicadabird",
        (Phrase((Note(1.4, (7600, 7900), 0.15, flutter_hz=48.0),)),),
        (0.5, 1.2),
    ),
    Species(
        "Meadow Laugher",
        (
            Phrase(
                (Note(0.11, (1900, 2300, 1500), 0.07, (0.4, 0.2)),),
                (6, 10),
                pitch_step=0.965,
                gap_step=1.06,
            ),
        ),
    ),
    Species(
        "Fern Siren",
        (Phrase((_whistle(1.5, 2100, 4400, 2300),)),),
        (0.6, 1.4),
    ),
    Species(
        "Hollow Knocker",
        (Phrase((Note(0.03, (1250, 1000), 0.045, (0.5, 0.3), breath=0.1),), (8, 14)),),
        (0.8, 1.8),
    ),
    Species(
        "Brook Tinkler",
        (
            Phrase(
                (_trill(0.04, 0.03, 6600, 7000), _trill(0.05, 0.05, 5400, 5000)),
                (5, 9),
            ),
        ),
    ),
    Species(
        "Moss Hooter",  # near the dusk hooter: one even hoot, slightly higher
        (Phrase((Note(0.42, (640, 690, 650), 0.5, _HOLLOW),), (2, 4)),),
        (0.8, 1.6),
    ),
    Species(
        "Cinder Rasp",
        (Phrase((Note(0.3, (2600, 2200), 0.1, (0.6, 0.4, 0.3), breath=0.08),), (2, 4)),),
    ),
    Species(
        "Quicksilver Warbler",  # near the thicket warbler: narrower, with a closing trill
        (
            Phrase(
                (
                    _whistle(0.10, 3900, 5100, gap_s=0.03),
                    _whistle(0.11, 5300, 4200, gap_s=0.03),
                    _whistle(0.10, 4500, 4900, 4300, gap_s=0.04),
                ),
                (1, 2),
                shuffled=True,
            ),
            Phrase((_trill(0.03, 0.02, 5600, 5000),), (7, 11)),
        ),
    ),
    Species(
        "Harbour Mewer",
        (Phrase((Note(0.8, (1300, 1750, 1200), 0.25, (0.5, 0.3, 0.1)),), (1, 2)),),
        (0.7, 1.6),
    ),
    Species(
        "Thorn Ticker",
        (Phrase((Note(0.02, (5200, 3000), 0.09, (0.3,), breath=0.15),), (5, 12)),),
    ),
    Species(
        "Opal Flute",
        (
            Phrase(
                (
                    _whistle(0.25, 1500, 1520),
                    _whistle(0.22, 2000, 1980),
                    _whistle(0.20, 1750, 1760),
                    Note(0.35, (2500, 2450), 0.1, (0.05,), 28.0, 0.05),
                )
            ),
        ),
        (0.7, 1.6),
    ),
    Species(
        "Ember Sweeper",
        (Phrase((_whistle(0.22, 8200, 2400, gap_s=0.14),), (2, 5)),),
    ),
)
