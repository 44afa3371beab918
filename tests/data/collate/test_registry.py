"""Collators by name."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest
import torch

from chirpid.data.collate import CollatorRegistry, DefaultCollator, VisionCollator, collators
from chirpid.data.collate.builtin import built_in
from chirpid.errors import ConfigError


def summed(samples: list[Any], *, offset: int = 0) -> Any:
    return torch.tensor(sum(samples) + offset)


class Scaled:
    def __init__(self, factor: float, bias: float = 0.0) -> None:
        self.factor, self.bias = factor, bias

    def __call__(self, samples: list[Any]) -> Any:
        return torch.tensor(samples) * self.factor + self.bias


@pytest.fixture
def registry() -> CollatorRegistry:
    registry = CollatorRegistry()
    registry.register("summed")(summed)
    registry.register("scaled")(Scaled)
    return registry


def test_decorating_registers_and_changes_nothing() -> None:
    registry = CollatorRegistry()

    @registry.register("mine")
    def mine(samples: list[Any]) -> int:
        return len(samples)

    assert mine([1, 2]) == 2
    assert registry.make("mine") is mine
    assert registry.names() == ("mine",)
    assert "mine" in registry
    assert "yours" not in registry


def test_classes_take_settings_as_they_are_made(registry: CollatorRegistry) -> None:
    assert registry.make("scaled", factor=2, bias=1)([1.0, 2.0]).tolist() == [3, 5]


def test_functions_take_their_keywords_as_settings(registry: CollatorRegistry) -> None:
    assert registry.make("summed")([1, 2]).item() == 3
    made = registry.make("summed", offset=4)
    assert pickle.loads(pickle.dumps(made))([1, 2]).item() == 7


def test_the_ones_that_are_built_in_are_there() -> None:
    assert set(built_in().names()) == {
        "default", "pad", "audio", "vision", "text", "language_model", "multimodal",
    }  # fmt: skip
    assert set(built_in().names()) <= set(collators.names())
    assert collators.make("vision", normalise="imagenet") == VisionCollator(normalise="imagenet")
    assert collators.make("default") == DefaultCollator()


def test_an_unknown_name_lists_what_is_registered(registry: CollatorRegistry) -> None:
    with pytest.raises(ConfigError) as error:
        registry.make("sumed")
    assert error.value.line() == (
        "config error: Unknown collator 'sumed'. Did you mean 'summed'? Registered: scaled, summed."
    )
    with pytest.raises(ConfigError, match="Registered: none"):
        CollatorRegistry().get("x")


def test_a_taken_name_is_kept_unless_it_is_to_be_replaced(registry: CollatorRegistry) -> None:
    with pytest.raises(ConfigError, match=r"'summed' is there already: .*test_registry\.summed"):
        registry.register("summed")(Scaled)
    assert registry.get("summed") is summed
    registry.register("summed", replace=True)(Scaled)
    assert registry.get("summed") is Scaled


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("scaled", {"factr": 2}, "has no setting 'factr'. Did you mean 'factor'? Settings: factor"),
        ("scaled", {}, "needs a setting 'factor', as in make('scaled', factor=...)."),
        ("summed", {"samples": []}, "has no setting 'samples'"),
    ],
)
def test_wrong_settings_are_named_before_any_batch(
    registry: CollatorRegistry, name: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        registry.make(name, **settings)
    assert told in str(error.value)


class NoCollator:
    """It lacks `__call__`."""


@pytest.mark.parametrize("entry", [NoCollator, NoCollator(), 5])
def test_what_cannot_collate_is_refused(registry: CollatorRegistry, entry: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be called with a list of samples"):
        registry.register("wrong")(entry)
    assert "wrong" not in registry


def test_a_decorator_without_its_name_is_explained(registry: CollatorRegistry) -> None:
    with pytest.raises(ConfigError, match="with the name in brackets"):
        registry.register(summed)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a name"):
        registry.register("")


def test_collators_that_are_made_already_can_be_registered(registry: CollatorRegistry) -> None:
    registry.register("imagenet")(VisionCollator(normalise="imagenet"))
    registry.register("later")(functools.partial(summed, offset=1))
    registry.register("stack")(torch.stack)
    assert registry.make("stack")([torch.ones(2)]).shape == (1, 2)
    assert registry.make("imagenet") == VisionCollator(normalise="imagenet")
    assert registry.make("later")([1]).item() == 2


def test_a_modality_that_is_not_registered_is_default_and_said_so() -> None:
    registry = CollatorRegistry()
    registry.register("default")(DefaultCollator)
    choice = registry.select("a text")
    assert choice.name == "default"
    assert "there is no collator 'text' here" in choice.why


def test_registries_know_nothing_of_each_other(registry: CollatorRegistry) -> None:
    assert "summed" not in built_in()
