import itertools
import threading

import pytest

from vsa.runtime.batches import prefetch


def test_prefetch_keeps_order_and_works_ahead():
    made = []
    second = threading.Event()

    def items():
        for item in range(3):
            made.append(item)
            if item == 1:
                second.set()
            yield item

    stream = prefetch(items())
    assert next(stream) == 0
    assert second.wait(5), "the next item is made while the first is in use"
    assert list(itertools.chain([0], stream)) == [0, 1, 2]


def test_prefetch_passes_errors_on():
    def items():
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(prefetch(items()))
