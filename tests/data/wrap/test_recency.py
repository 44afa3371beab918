"""The order of use is that of a list that is kept in order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.wrap.recency import Recency


@given(st.data())
def test_oldest_are_those_of_a_list_in_order(data: st.DataObject) -> None:
    num = data.draw(st.integers(1, 40))
    recency, order = Recency(num), list(range(num))
    recency.touch(np.arange(num))
    for _ in range(data.draw(st.integers(0, 30))):
        used = data.draw(st.lists(st.integers(0, num - 1), unique=True, max_size=num))
        recency.touch(np.array(used, np.int64))
        order = [slot for slot in order if slot not in used] + used
        old = data.draw(st.integers(0, num))
        slots = recency.oldest(old)
        assert slots.tolist() == order[:old]
        recency.touch(slots)
        order = order[old:] + order[:old]
