"""PURE: what the doctor finds, as a table: each fault with why it matters and what to do. The reference is made of it.

What a broker is found to be stands in `headwater.log.health`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from headwater.observability.findings import Finding, Severity


class Group(StrEnum):
    """What a fault is about, in the order in which things stand in the way of a search."""

    CONFIGURATION = "configuration"
    MACHINE = "machine"
    SOURCES = "sources"
    FILES = "files"
    LOG = "log"
    MODELS = "models"
    INDEXES = "indexes"
    STREAMS = "streams"


class Fault(NamedTuple):
    """One thing that can be wrong. `what`, `why` and `next` have places for the facts."""

    check: str
    group: Group
    severity: Severity
    what: str
    why: str
    next: str

    def found(self, subject: str, **facts: object) -> Finding:
        """Return the finding that it is wrong with `subject`. Every place needs its fact."""
        told = (text.format(**{"subject": subject, **facts}) for text in (self.what, self.why, self.next))
        return Finding(self.check, subject, self.severity, *told)


def _errors(group: Group, rows: str) -> dict[str, Fault]:
    return _table(group, Severity.ERROR, rows)


def _warnings(group: Group, rows: str) -> dict[str, Fault]:
    return _table(group, Severity.WARNING, rows)


def _table(group: Group, severity: Severity, rows: str) -> dict[str, Fault]:
    """Read paragraphs of four lines: the check's name, what, why, next."""
    faults = (Fault(lines[0], group, severity, *lines[1:]) for lines in map(str.splitlines, rows.strip().split("\n\n")))
    return {fault.check: fault for fault in faults}


FAULTS: dict[str, Fault] = {
    **_errors(
        Group.CONFIGURATION,
        """
configuration
{problem}
nothing runs before the file can be used
{cure}
""",
    ),
    **_warnings(
        Group.CONFIGURATION,
        """
lint
{problem}
a run would stumble over it, or quietly do something else
{cure}

secret-in-file
{path} stands in the file as it is
whoever gets the file, a backup or a commit of it has the secret
Write ${{env:NAME}} in its place, and set NAME where the worker runs

secret-open
{path} stands in the file as it is, and others on this machine may read the file (mode {mode})
everybody who has an account here can use the secret
`chmod 600 {file}`; better, write ${{env:NAME}} in its place, and set NAME where the worker runs

configuration-indexed
the configuration lies in the source folder, and `include` matches it
the file becomes a document: a search shows what stands in it, and what a secret in it is
Move it out of the folder, or leave it out with `exclude`

account-unused
no stream names this account
its limits, its price and its budget hold nobody back
Set `embed: {{account: {subject}}}` in the streams that it is for, or remove it

account-none
the stream's model belongs to no account, though there are some
its tokens are in no budget, and its cost is not told
Set `embed: {{account: {known}}}` in its recipe

freshness-rescan
changes shall be searchable within {freshness}, and the folder is looked through every {rescan}
nothing else finds a change while `watch` is off, so it is later than promised
Set `rescan` to less than {freshness}, or `freshness` to more than {rescan}
""",
    ),
    **_errors(
        Group.MACHINE,
        """
sqlite-old
this Python comes with SQLite {version}; 3.37 or later is needed
no log, index or cache can be opened
Use a newer Python

sqlite-threads
this Python's SQLite was built without threads (THREADSAFE=0)
Headwater uses a connection a thread
Use another build of Python
""",
    ),
    **_warnings(
        Group.MACHINE,
        """
open-files
a process may open {limit} files, and the streams want about {wanted}
connections and files fail one after the other when the limit is reached
Raise it where the worker starts: `ulimit -n {wanted}`, or `LimitNOFILE={wanted}` in its unit

temp-folder
it is named as the folder for temporary files ({variable}), and it cannot be written to
large queries of SQLite and the reading of documents may fail
Make it, or set {variable} to a folder that can be written to

watches
the source folders hold {folders} folders, and a user may watch {limit}
changes in those beyond the limit are seen only at the next look through the folder (`rescan`)
Raise it: `sysctl fs.inotify.max_user_watches={wanted}`
""",
    ),
    **_errors(
        Group.SOURCES,
        """
source-missing
there is no such folder
a first run fails without it, and a later one waits for it
Make it, mount it, or mend `source.folder` of {stream}

source-kind
it is no folder
nothing can be scanned
Let `source.folder` of {stream} name a folder

source-denied
it may not be read ({cause})
nothing can be scanned; what was indexed before stays as it is
Let the worker's user read it and enter it
""",
    ),
    **_warnings(
        Group.SOURCES,
        """
source-empty
the folder is empty
an empty folder has no documents: those that were there before are deleted
Put files into it; if it is a mount point, mount it before a worker runs

include-nothing
`include` ({include}) matches nothing of its {files}
nothing is indexed; what was indexed before is deleted
Let `include` of {stream} match what is there, such as {example}

include-case
`include` would match {files} in another case, such as {example}
patterns tell upper case from lower case, so that is not indexed
Add a pattern such as {pattern} to `include` of {stream}

exclude-all
nothing is left of it: `exclude` and ignore files ({ignoring}) leave {left} out
nothing is indexed; what was indexed before is deleted
Mend `exclude` of {stream}, or the ignore files

documents-extra
{parsed} of {looked} cannot be read without the parsers of the extra `documents`, such as {example}
each of them is a dead letter, so a search does not find what is in it
Install them where the worker runs: pip install 'headwater[documents]'

unreadable
{bad} of {looked} cannot be read: {reasons}
each of them is a dead letter, so a search does not find what is in it
Save them in a format that is read, or leave them out with `exclude` of {stream}

source-nested
{other} takes files of it for documents too, such as {example}
they are embedded and paid for twice
Leave out with `exclude` of one what is the other's, or make one stream of them

data-in-source
the {role} lies in the source folder of {stream}
every write changes the folder that is watched, and a wide `include` would take the file for a document
Let `{key}` name a file outside the folder

future-files
the times of {files} lie ahead of this machine's clock, such as that of {example}
freshness counts from a file's time, and an edit that goes back in time may pass unseen
Set the clock right (`timedatectl`); then `touch` the files

source-network
it lies on a network file system ({kind})
others' changes raise no notice here: they are seen at the next look through the folder
Set `rescan` of {stream} to what `freshness` asks for
""",
    ),
    **_errors(
        Group.FILES,
        """
folder-missing
the folder of the {role} does not exist
the file cannot be made
Make the folder {folder}, or mend `{key}`

folder-denied
nothing can be written to the folder of the {role}
SQLite keeps its write-ahead log beside the file
Let the worker's user write to {folder}

file-denied
the {role} may not be read or written
nothing can be kept
Let the worker's user read and write {subject}

file-kind
the {role} is no file
it cannot be opened
Let `{key}` name a file

file-foreign
the {role} is no SQLite database
it cannot be opened
Check the path in `{key}`, or move the file away

file-corrupt
the {role} is damaged: {cause}
what it holds may be wrong, and reading it fails
{cure}

file-newer
the {role} was made by a newer Headwater (schema {found}; this one knows {known})
it cannot be opened
Use that version

lock
the worker's lock is no file that can be locked
no worker can start
Remove it while no worker runs: a worker makes it

log-missing
the index {index} was built from a log, and there is no log
a new log halts the stream: it is not the one that the index was built from
Bring the log back from where `log` named it before; or remove the index: it is built again from what the sources hold
""",
    ),
    **_warnings(
        Group.FILES,
        """
disk
{free} are left on its disk
a full disk stops the stream; nothing is lost, and nothing becomes searchable
Make room

network-disk
the {role} lies on a network file system ({kind})
locks there are not to be relied on, and two workers could write at once: the file may be damaged
Let `{key}` name a file on a local disk

data-open
others on this machine may read the {role} (mode {mode}), and not the documents of {stream}
the texts of the documents stand in it
`chmod 600 {subject}`

data-writable
everybody on this machine may write the {role} (mode {mode})
whoever writes it decides what a search finds
`chmod 600 {subject}`
""",
    ),
    **_errors(
        Group.MODELS,
        """
model-settings
{problem}
the model cannot be made, so nothing is embedded
{cure}

model-missing
{cause}
nothing is embedded
{cure}

model-address
{cause}
nothing is embedded
{cure}

model-key
{cause}
the service takes nothing from this account
{cure}

model-quota
{cause}
nothing is embedded until the account may spend again
{cure}

model-name
{cause}
nothing is embedded
{cure}

model-dimensions
{cause}
vectors of another size fit into no index
{cure}

model-away
{cause}
nothing is embedded until it answers: the stream waits, and loses nothing
{cure}

model-tls
{cause}
texts and the key go only to a service that can prove who it is
{cure}

model-proxy
{cause}, and the environment sends the call through a proxy ({variable})
nothing is embedded
Leave the proxy out for this host, as in `NO_PROXY={host}`, or mend {variable}

model-foreign
{cause}
a page is no vector: nothing is embedded
{cure}

model-redirect
{cause}
texts and the key go nowhere but where the configuration says
{cure}

model-refuses
{cause}
nothing is embedded
{cure}

model-truncates
texts of {longest} characters that end differently get the same vector (cosine {alike})
it cuts long texts and does not say so: what stands at their end is not found, and the stream halts
Lower `chunk: {{maximum: ...}}` of {stream}, or take a model that reads longer texts
""",
    ),
    **_warnings(
        Group.MODELS,
        """
key-blank
the key is blank, so it is asked without one
a service that wants a key refuses every text
Set the variable that `key` names, or leave `key` out

model-busy
{cause}
the account's limit is in use; the worker paces itself and goes on
Wait; if it stays so, set the account's limits under `accounts`

model-hash
`hash` knows no meaning: it is for tests and measuring
a search finds what has equal words at best
Set `embed: {{model: static}}`, or a better one, and a new `index` for {stream}

model-clear
it is asked over http://, which is not encrypted
the documents' texts can be read on the way
Set `url` to an address with https://

chunk-model
texts have up to {longest} characters, and the model takes {tokens} tokens, about {characters} characters
what is longer is {fate}
Set `chunk: {{{chunk}}}` or less in the recipe of {stream}
""",
    ),
    **_errors(
        Group.INDEXES,
        """
recipe-changed
{problem}
an index holds what one recipe made: a worker ends at once
{cure}

opening
{problem}
going on would break a guarantee: a worker halts at once
{cure}

model-drift
another model answers behind the name than the one that the index was built with (least cosine {alike})
vectors of two models cannot be compared: searches go wrong, and a worker halts
{cure}
""",
    ),
    **_warnings(
        Group.INDEXES,
        """
index-missing
changes were settled, and the index {index} holds nothing of this stream
a search finds nothing
`headwater run` builds it again from the log
""",
    ),
    **_warnings(
        Group.STREAMS,
        """
paused
it is paused: {reason}
nothing of it becomes searchable until a person resumes it
See to the reason, then `headwater resume {subject}`

dead-letters
{letters} could not be applied, the newest because: {reason}
each document's last good version stays searchable; the newest does not become so
`headwater dead list {subject}` names them; mend the cause, then `headwater dead retry {subject} --all`

not-running
no worker runs, with {changes} waiting
what waits is not searchable
`headwater run` serves them, and `headwater run --once` takes up what is there

lag
with {changes} waiting, the oldest is {age} old, and shall be searchable within {freshness}
the stream breaks its promise
See `headwater status {subject}`: a model that is away, a limit that is too low, or too little machine

budget-spent
its account {account} has spent its hard budget ({spent} of {limit} USD this {period})
nothing more is embedded until the next {period}; removals go on
Raise `budget: {{hard: ...}}` of the account, or wait

payload-absent
`{path}`, from which the payload field `{field}` is filled, is in none of the newest documents ({looked} looked at)
no hit of a document without it has the field; {fate}
Let `payload: {{{field}: ...}}` of {subject} name a field that the documents have, or remove it
""",
    ),
}


def fault(check: str) -> Fault:
    """Return a fault by its name."""
    return FAULTS[check]
