"""The reference of the doctor's findings in Markdown, made of the table of faults. Pure."""

from __future__ import annotations

from string import Formatter

from headwater.doctor.faults import FAULTS, Fault, Group

_HEAD = """\
# What the doctor finds

<!-- Generated from the table of faults. -->

`headwater doctor` looks at what stands between a configuration and a search, and changes nothing:
[how to find out what is wrong](../how-to/find-what-is-wrong.md). The groups stand in the order in which things get in
the way, and errors before warnings. An error keeps something from working; a warning will hurt some day. Words in
capitals stand for what was found.

What it finds of the brokers, topics and rights of a Kafka is told in the same form, under checks of their own:
`brokers`, `topics`, `retention`, `replicas`, `compaction`, `lag`, `rights`, `claims`. A look that fails is `look`.
"""


def reference() -> str:
    """Return a table of every fault, by groups."""
    return "\n".join([_HEAD, *(_group(group) for group in Group if _of(group))])


def _group(group: Group) -> str:
    rows = [
        f"| `{it.check}` | {it.severity.value} | {_shown(it.what)} | {_shown(it.why)} | {_shown(it.next)} |"
        for it in _of(group)
    ]
    head = f"## {group.value.capitalize()}"
    return "\n".join(
        [head, "", "| check | severity | what | why | next |", "| --- | --- | --- | --- | --- |", *rows, ""]
    )


def _of(group: Group) -> list[Fault]:
    return [it for it in FAULTS.values() if it.group is group]


def _shown(text: str) -> str:
    """Fill each place with its name in capitals."""
    names = {name for _, name, _, _ in Formatter().parse(text) if name}
    return text.format(**{name: name.upper() for name in names})
