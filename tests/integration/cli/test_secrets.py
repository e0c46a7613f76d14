"""A secret that stands in the configuration in a form that is an error: no verb repeats it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headwater.cli import main

SECRET = "hunter2PLANTED"
KEY = "streams: {a: {recipe: {embed: {model: openai/x, key: %s}}}}"
LOG = "log: %s\nstreams: {a: {}}"

FORMS = [
    # What YAML takes for something else than a text.
    KEY % "!SECRET",
    KEY % "!SECRET!x",
    KEY % "*SECRET",
    KEY % "&SECRET",
    KEY % "&SECRET *SECRET",
    KEY % "{SECRET}",
    KEY % "{{SECRET}}",
    KEY % "{SECRET: {x: !t y}}",
    KEY % "{SECRET: 1, SECRET: 2}",
    KEY % "[SECRET]",
    KEY % "[{SECRET: !t y}]",
    KEY % '"\\SECRET"',
    KEY % "@SECRET",
    KEY % "%SECRET",
    KEY % "`SECRET",
    KEY % "a: SECRET",
    KEY % "${SECRET}",
    KEY % "'${env:NAME:-SECRET}'",
    # Where the section stands that the secret belongs in, or beside its key.
    LOG.replace("%s", "sqlite:///x") + "\naccounts: {work: SECRET}",
    "streams: {a: {recipe: {embed: SECRET}}}",
    "streams: {a: {recipe: {embed: 4711}}}",
    "streams: {a: {recipe: {embed: {modl: x, key: {x: SECRET}}}}}",
    "streams: {a: {recipe: {embed: {model: {SECRET: !t x}}}}}",
    "streams: {a: {recipe: {embed: {model: openai/x, api_key: {SECRET: ~}}}}}",
    "streams: {a: {recipe: {embed: [{SECRET: ~}]}}}",
    LOG % "{url: 'kafka://h', security: SECRET}",
    LOG % "{url: 'kafka://h', registry: {url: 'https://h', username: u, password: {SECRET: ~}}}",
    "SECRET",
    # In a longer text.
    LOG % "kafka://u:SECRET@h",
    LOG % "kafka://h?sasl.password=SECRET",
    LOG % "'kafka://h;password=SECRET'",
    LOG % "{url: 'kafka://h', security: {protocol: sasl_ssl, mechanism: 'PLAIN username=u password=\"SECRET\"'}}",
    "streams: {a: {index: 'host=h password=SECRET'}}",
    "streams: {a: {index: 'Password: SECRET'}}",
    'streams: {a: {index: \'{"api-key": "SECRET"}\'}}',
    "streams: {a: {index: 'Authorization: Bearer SECRET'}}",
    "streams: {a: {index: 'https://h/MY_TOKEN=SECRET'}}",
]
VERBS = (["lint"], ["lint", "--json"], ["config", "show", "--origin"], ["status", "--json"])


@pytest.mark.parametrize("form", FORMS)
def test_no_verb_repeats_it(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    secret = "4711" if "4711" in form else SECRET
    (tmp_path / "headwater.yaml").write_text(form.replace("SECRET", SECRET))
    monkeypatch.chdir(tmp_path)
    for verb in VERBS:
        monkeypatch.setattr(sys, "argv", ["headwater", *verb])
        with pytest.raises(SystemExit) as ended:
            main()
        told = b"".join(capfdbinary.readouterr())
        assert ended.value.code == 3, told
        assert told
        assert secret.encode() not in told
