from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes import Input, Module
from hermes.module import Declaration, declare_all
from hermes.randomness import Stream, seeded

LAZY = """
import sys
import hermes.worker
import hermes.module
class Quiet(hermes.module.Module):
    pass
Quiet()._stream.restart()
print("numpy.random" in sys.modules)
Quiet().rng.random()
print("numpy.random" in sys.modules)
"""


class Noise(Module):
    def __init__(self) -> None:
        self.first = self.rng.random(3).tolist()

    def declare(self) -> Mapping[str, Declaration]:
        self.second = self.rng.random()
        return {"bias": Input(self.second)}


def stream(seed: int, name: str) -> Stream:
    with seeded(seed, name):
        return Stream("own")


def test_the_definition_by_hand() -> None:
    words = [7, *b"plant"]
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    assert stream(7, "plant").generator.random(5).tolist() == expected.random(5).tolist()


def test_the_numbers_are_the_same_ones_for_ever() -> None:
    assert stream(0, "plant").generator.integers(0, 2**63, 2).tolist() == [6201391723031625965, 2923148302276564814]


@given(st.integers(0, 2**32 - 1), st.text("ab\0", min_size=1, max_size=5), st.integers(0, 40))
def test_a_restart_returns_to_the_first_number_also_for_who_keeps_the_generator(
    seed: int, name: str, draws: int
) -> None:
    made = stream(seed, name)
    kept = made.generator
    numbers = [kept.standard_normal(), *kept.integers(0, 3, 3, dtype=np.uint8).tolist()]
    kept.random(draws, dtype=np.float32)
    made.restart()
    assert [kept.standard_normal(), *kept.integers(0, 3, 3, dtype=np.uint8).tolist()] == numbers
    assert made.generator is kept


def test_after_a_restart_the_same_children_are_spawned() -> None:
    made = stream(1, "a")
    first, second = ([child.random() for child in made.generator.spawn(2)] for _ in range(2))
    assert first != second
    made.restart()
    assert [child.random() for child in made.generator.spawn(2)] == first


@pytest.mark.parametrize("other", [(1, "a"), (0, "b"), (0, "aa"), (0, "A"), (2**32 - 1, "a")])
def test_another_seed_or_name_is_another_stream(other: tuple[int, str]) -> None:
    assert stream(0, "a").generator.random(4).tolist() != stream(*other).generator.random(4).tolist()


def test_a_module_has_its_numbers_from_its_constructor_on() -> None:
    with seeded(3, "noise"):
        module, twin = Noise(), Noise()
    expected = stream(3, "noise").generator.random(4).tolist()
    declare_all(module)
    assert [*module.first, module.second] == expected
    assert twin.first == expected[:3], "instances share no stream"


def test_without_a_worker_a_module_is_seeded_by_0_and_its_class() -> None:
    assert Noise().first == stream(0, "Noise").generator.random(3).tolist()
    with pytest.raises(RuntimeError), seeded(5, "x"):
        raise RuntimeError
    assert Noise().first == stream(0, "Noise").generator.random(3).tolist()


def test_an_author_may_have_a_generator_of_his_own_by_that_name() -> None:
    class Own(Module):
        def __init__(self) -> None:
            self.rng = np.random.default_rng(1)

    assert Own().rng.random() == np.random.default_rng(1).random()


def test_nobody_pays_for_numbers_that_nobody_draws() -> None:
    printed = subprocess.check_output([sys.executable, "-c", LAZY], text=True).split()
    assert printed == ["False", "True"] if int(np.__version__.split(".")[0]) >= 2 else printed[-1] == "True"
