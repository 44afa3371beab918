"""Whether a dataset draws random numbers: kept samples would have the same draw for ever."""

from __future__ import annotations

from chirpid.data.general import generators
from chirpid.data.general.columns import Layout
from chirpid.data.general.protocols import MapDataset
from chirpid.data.tensors.making import make
from chirpid.data.tensors.packing import packed
from chirpid.data.wrap.filling import form_of
from chirpid.errors import ConfigError

_SAMPLES = 2


def refuse_draws(dataset: MapDataset, layout: Layout, what: str) -> None:
    """Refuse a dataset that draws random numbers as it makes its first samples.

    The generators of `random`, numpy and torch are left as they were. One that the dataset holds
    itself is noticed where it makes the same sample differ.

    Args:
        what: would keep them, for the message.
    Raises:
        ConfigError: it does.
    """
    num_rows = min(_SAMPLES, len(dataset))
    with generators.put_back():
        before = generators.states()
        first = _bits(dataset, layout, num_rows)
        drawn = before.drawn(generators.states())
        if not drawn and first != _bits(dataset, layout, num_rows):
            drawn = ["a generator of its own"]
    if drawn:
        raise ConfigError(
            f"{what} would keep one draw of every sample for ever: the dataset draws random "
            f"numbers from {', '.join(drawn)}. Draw after loading, use mode='lazy', or pass "
            "freeze=True if one draw is what you want."
        )


def form_unmoved(dataset: MapDataset) -> Layout:
    """Return what each sample is, with the generators left as they were.

    Raises:
        DataError: there is no sample, or it holds what is no number.
    """
    with generators.put_back():
        return form_of(dataset)[0]


def _bits(dataset: MapDataset, layout: Layout, num_rows: int) -> bytes:
    out = layout.empty(num_rows)
    make(dataset, layout, 0, num_rows, out)
    return packed(layout, out).tobytes()
