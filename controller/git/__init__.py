"""Everything that touches git: refs read as files, objects read in batches, commits made by compare-and-swap.

The only package that starts git. It never reads or writes a work tree, never runs a hook or a configured
command, and never trusts what it fetched: whether a revision counts is for `controller.desired` to say.
"""

from controller.git.commits import Blob, Commit, Touched, trailers
from controller.git.mirror import Mirror
from controller.git.objects import Objects
from controller.git.process import GitFailed
from controller.git.refs import read_ref, valid_branch
from controller.git.repo import StateRepo, caller
from controller.git.writing import Author

__all__ = [
    "Author",
    "Blob",
    "Commit",
    "GitFailed",
    "Mirror",
    "Objects",
    "StateRepo",
    "Touched",
    "caller",
    "read_ref",
    "trailers",
    "valid_branch",
]
