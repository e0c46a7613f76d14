"""Providers by name: our own, and those of other packages."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from headwater.embedding.port import Embedder
from headwater.embedding.providers import registry
from headwater.embedding.providers.hash import HashEmbedder
from headwater.embedding.providers.options import ProviderOptions
from headwater.errors import Misconfigured, Unreachable


def bring(monkeypatch: pytest.MonkeyPatch, name: str, place: str) -> None:
    points = (EntryPoint(name, place, registry.GROUP),)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == registry.GROUP else ())


def third_party(options: ProviderOptions) -> Embedder:
    return HashEmbedder(dimensions=int(options.model))


NO_FACTORY = 1


@pytest.mark.parametrize("name", ["static", "hash"])
def test_models_that_need_no_service(name: str) -> None:
    assert registry.embedder(name).describe().name == name


def test_a_name_is_a_provider_and_a_model() -> None:
    made = registry.embedder("openai/org/text-embedding-3-small", ProviderOptions(model="", key="k", dimensions=3))
    assert made.describe().name == "openai/org/text-embedding-3-small"


def test_options_of_the_local_models() -> None:
    assert registry.embedder("hash", ProviderOptions(model="", dimensions=8)).describe().dimensions == 8
    for field, value in (("url", "http://h"), ("key", "k"), ("query_prefix", "q"), ("dimensions", 8), ("max_texts", 1)):
        with pytest.raises(Misconfigured, match="no such setting") as error:
            registry.embedder("static", ProviderOptions(model="", **{field: value}))  # type: ignore[arg-type]  # of any type
        assert error.value.path == field
    with pytest.raises(Misconfigured):
        registry.embedder("static/large")


def test_onnx_has_one_model_and_no_settings() -> None:
    assert registry.embedder("onnx/all-MiniLM-L6-v2").describe().name == "onnx/all-MiniLM-L6-v2"
    for name in ("onnx", "onnx/", "onnx/all-minilm-l6-v2"):
        with pytest.raises(Misconfigured, match="onnx/all-MiniLM-L6-v2, the only model") as error:
            registry.embedder(name)
        assert error.value.path == "model"
    for field, value in (("url", "http://h"), ("key", "k"), ("query_prefix", "q"), ("dimensions", 8), ("max_texts", 1)):
        with pytest.raises(Misconfigured, match="no such setting") as error:
            registry.embedder("onnx/all-MiniLM-L6-v2", ProviderOptions(model="", **{field: value}))  # type: ignore[arg-type]  # of any type
        assert error.value.path == field


def test_another_packages_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    bring(monkeypatch, "theirs", f"{__name__}:third_party")
    assert registry.embedder("theirs/16").describe().dimensions == 16


def test_a_built_in_provider_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    bring(monkeypatch, "hash", f"{__name__}:third_party")
    assert registry.embedder("hash").describe().dimensions == 256


def test_an_unknown_provider_is_told_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    bring(monkeypatch, "theirs", f"{__name__}:third_party")
    with pytest.raises(Misconfigured) as error:
        registry.embedder("openia/m")
    assert "ollama, onnx, openai, static, tei, theirs, voyage" in error.value.expected
    assert error.value.got == "an unknown provider", "it may have come from the environment"


@pytest.mark.parametrize("place", ["no_such_package:f", f"{__name__}:nothing", f"{__name__}:NO_FACTORY"])
def test_a_provider_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    bring(monkeypatch, "theirs", place)
    with pytest.raises(Unreachable, match="provider theirs"):
        registry.embedder("theirs/m")


def test_options_hide_their_key() -> None:
    options: Any = ProviderOptions(model="m", key="sk-secret", url="http://h")
    assert "sk-secret" not in f"{options!r} {options}"
