"""How workers died: the nearest witness is believed."""

from __future__ import annotations

from psdbatch.cluster.deaths import Death, Deaths


def test_the_first_word_about_a_death_stays() -> None:
    deaths = Deaths()
    assert deaths.of("tcp://node:1") is None
    seen = Death("was killed by signal 9")
    deaths.report("tcp://node:1", seen)
    deaths.report("tcp://node:1", Death("its job ended", innocent=True))
    assert deaths.of("tcp://node:1") == seen
    assert deaths.of("tcp://node:2") is None
    assert not seen.innocent  # what is not certain is not said
