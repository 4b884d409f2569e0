"""The audit log in words: what a commit changed, who set a field last, and what a commit led to. Pure.

It reads what strangers wrote, so nothing here raises for what a file or a note holds, and nothing is taken for more
than a claim. What it tells may hold any character: whoever shows it on a terminal cleans it first.
"""

from controller.audit.fields import Difference, differences, leaves
from controller.audit.note import Deed, Held, Note, read_note, render_note
from controller.audit.origin import Facts, Origin, Source, Version, origins
from controller.audit.words import FileChange, describe, read_state

__all__ = [
    "Deed",
    "Difference",
    "Facts",
    "FileChange",
    "Held",
    "Note",
    "Origin",
    "Source",
    "Version",
    "describe",
    "differences",
    "leaves",
    "origins",
    "read_note",
    "read_state",
    "render_note",
]
