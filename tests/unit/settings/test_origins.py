"""Where each value comes from. `reading.py` checks of all files that what is shown loads again and holds no secret."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from headwater.settings.loading import read, scalar
from headwater.settings.nodes import Mapping, Parsing, Scalar
from headwater.settings.origins import HIDDEN, Value, nested, values, without_login, yaml
from tests.unit.settings.reading import read as read_as_shown

FULL = """\
log:
  url: kafka://broker:9093
  instance: ${env:HOST}
  security: {protocol: sasl_ssl, mechanism: PLAIN, username: me, password: "${env:PASSWORD}"}
streams:
  orders:
    topic: shop.orders
    recipe:
      embed: {model: openai/x, key: "sk-in-the-file", url: 'https://${env:HOST}/v1'}
      payload: {title: title}
"""


def found(folder: Path, text: str, **environment: str) -> dict[str, Value]:
    path = folder / "headwater.yaml"
    path.write_text(text)
    settings, root = read(path, environment)
    return {".".join(it.path): it for it in values(settings, root, environment)}


def test_each_value_has_its_origin(tmp_path: Path) -> None:
    all_ = found(tmp_path, FULL, HOST="w1", PASSWORD="hunter2")
    file = Path("h.yaml")
    assert (all_["log.url"].value, all_["log.url"].origin(file)) == ("kafka://broker:9093", "h.yaml:2")
    assert (all_["log.instance"].value, all_["log.instance"].origin(file)) == ("w1", "${env:HOST}, h.yaml:3")
    assert all_["log.prefix"].origin(file) == "default"
    assert (all_["streams.orders.topic.name"].value, all_["streams.orders.topic.name"].origin(file)) == (
        "shop.orders",
        "h.yaml:7",
    )
    assert all_["streams.orders.recipe.payload.title.from"].origin(file) == "h.yaml:10"
    assert all_["streams.orders.index"].origin(file) == "default"
    assert all_["log.keep"].value == "all"
    assert "cache" not in " ".join(all_)


def test_secrets_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    all_ = found(tmp_path, FULL, HOST="w1", PASSWORD="hunter2")
    assert all_["log.security.password"].value == HIDDEN
    assert all_["log.security.password"].origin(Path("f")) == "${env:PASSWORD}, f:4"
    assert all_["streams.orders.recipe.embed.key"].value == HIDDEN
    assert "hunter2" not in repr(all_)
    assert "sk-in-the-file" not in repr(all_)


def test_numbers_and_truths_of_the_environment_are_no_texts(tmp_path: Path) -> None:
    text = (
        "streams: {a: {freshness: '${env:T}s', source: {folder: x, watch: '${env:B}'}, recipe: "
        "{chunk: {size: '${env:N}00'}, embed: {model: openai/x, revision: '${env:N}'}}}}\n"
        "accounts: {w: {price: '${env:F}'}}"
    )
    all_ = found(tmp_path, text, T="5", B="true", N="3", F="0.5")
    shown = {name: all_[f"streams.a.{name}"].value for name in ("freshness", "source.watch", "recipe.chunk.size")}
    assert shown == {"freshness": "5s", "source.watch": True, "recipe.chunk.size": 300}
    assert all_["streams.a.recipe.embed.revision"].value == "3"
    assert all_["accounts.w.price"].value == 0.5
    read_as_shown(tmp_path, text, T="5", B="true", N="3", F="0.5")


def test_a_login_in_a_url_would_be_hidden() -> None:
    assert without_login("https://me:hunter2@host/x") == f"https://{HIDDEN}@host/x"


def test_nested_is_the_shape_of_the_file(tmp_path: Path) -> None:
    shape = nested(list(found(tmp_path, "streams: {a: {recipe: {chunk: {size: 500}}}}").values()))
    assert shape["streams"]["a"]["recipe"]["chunk"] == {"size": 500, "overlap": 0}  # type: ignore[index]  # a mapping of mappings


@example("${env:X}")
@example("$${")
@example("true")
@example(".5")
@example("./docs")
@example("12")
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_comes_back(text: str) -> None:
    root = Parsing("f").read(f"a: {yaml(text)} # default\nb: [{yaml([text, 'x'])}]\n")
    assert isinstance(root, Mapping)
    node = root.entries["a"][1]
    assert isinstance(node, Scalar)
    assert scalar(node, {}) == text
