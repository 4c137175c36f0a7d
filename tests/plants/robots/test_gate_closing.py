"""A gate at its end, and a twist that takes effect late."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from torch import Tensor

from gate_helpers import EYE, Driver, V, wait_for
from siame_se3.plants.robots.gate import Gate
from siame_se3.plants.robots.interfaces import WATCHDOG


@pytest.mark.parametrize("where", ["stop", "join", "call"])
def test_ctrl_c_while_it_closes_skips_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    gate = Gate(driver, EYE)
    gate.release()

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    if where == "stop":
        monkeypatch.setattr(gate, "stop", interrupted)
    elif where == "join":
        monkeypatch.setattr(gate._watchdog, "join", interrupted)
    else:  # the driver's own call is under way: it is not cut short

        def close() -> None:
            time.sleep(0.2)
            driver._called("close")

        monkeypatch.setattr(driver, "close", close)
        monkeypatch.setattr("siame_se3.plants.robots.threads._Call", waiting_is_interrupted(close))
    with pytest.raises(KeyboardInterrupt):
        gate.close()
    assert len(driver.named("close")) == 1
    gate.close()
    assert len(driver.named("close")) == 1


def waiting_is_interrupted(of: Callable[[], None]) -> type:
    from siame_se3.plants.robots import threads

    class Call(threads._Call):  # type: ignore[misc]  # it is replaced by this one
        def __init__(self, function: Callable[[], object]) -> None:
            super().__init__(function)
            if function is of:
                self.ended = Interrupted()  # type: ignore[assignment]

    class Interrupted:
        def get(self, timeout: float) -> None:
            raise KeyboardInterrupt

        def put(self, item: None) -> None:
            pass

    return Call


def test_a_twist_that_takes_effect_after_the_watchdogs_stop_is_stopped(gates: Callable[..., Gate]) -> None:
    """Its call began in time, and came back later: the stop had been before it."""

    class Slow(Driver):
        def move(self, twist: Tensor) -> None:
            time.sleep(1.6 * WATCHDOG)
            super().move(twist)

    driver = Slow()
    gate = gates(driver, late=60.0, answer=2.0)
    for _ in range(20):  # a machine that stalls for the length of a watchdog sends nothing
        if gate.move(V):
            break
        gate.release()
    (_, moved, _) = driver.named("move")[-1]
    wait_for(lambda: driver.named("stop")[-1][1] > moved)
