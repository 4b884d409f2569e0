"""Decisions: commits that say what they are about; and what root records on the host."""

from __future__ import annotations

import pytest

from controller.git import trailers
from tests.cli import DEV, Shell, container, document, hold, piece


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def last(shell):
    return shell.repo.show(shell.repo.head())


def test_approve_commits_exactly_the_hold_and_says_what_it_is(shell):
    shell.publish(document(container("web"), holds=[hold()]))
    said = shell.good("approve", "abc1", "--yes", "--reason", "Bob has left")
    assert "this would remove the last container" in said.out
    assert "move data bob/web to the trash" in said.out
    assert "no controller runs: `voxnix apply` carries it out" in said.out
    assert last(shell).subject == "approve removal of web"
    assert "Bob has left" in last(shell).message
    assert trailers(last(shell).message) == (("Voxnix-Approve", "abc123def456"),)
    assert last(shell).changes == ()


def test_a_hold_may_be_named_by_what_it_is_about(shell):
    shell.publish(document(container("web"), holds=[hold()]))
    shell.good("approve", "web", "--yes")
    assert trailers(last(shell).message) == (("Voxnix-Approve", "abc123def456"),)


def test_nothing_is_approved_when_nobody_can_confirm(shell):
    shell.publish(document(container("web"), holds=[hold()]))
    head = shell.repo.head()
    said = shell.run("approve", "abc123def456")
    assert said.code == 1
    assert "--yes" in said.err
    assert shell.repo.head() == head


@pytest.mark.parametrize(
    ("word", "holds", "words"),
    [
        ("abd123def456", [hold()], "did you mean abc123def456?"),
        ("abc", [hold(), hold("abcfff")], "say which: abc123def456, abcfff"),
        ("abc", [], "nothing waits for a word"),
    ],
)
def test_a_hold_that_is_not_one(shell, word, holds, words):
    shell.publish(document(container("web"), holds=holds))
    said = shell.run("approve", word, "--yes")
    assert said.code == 1
    assert words in said.err


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        ({"action": "DestroyTrash", "dataset": "tank/trash/x"}, "approve purge of web"),
        ({"action": "TrustStore", "token": "t"}, "approve going on with the rebuilt web"),
        ({"action": "Stop", "name": "web"}, "approve changes to web"),
    ],
)
def test_subjects_say_what_is_approved(shell, action, subject):
    steps = [{**action, "reason": "so", "cause": "routine"}]
    shell.publish(document(container("web"), holds=[hold(steps=steps)]))
    shell.good("approve", "abc123def456", "--yes")
    assert last(shell).subject == subject


def test_restart_names_the_container_by_its_uid(shell):
    shell.publish(document(container("dev")))
    assert shell.good("--json", "restart", "dev").json["controller"] is False
    assert last(shell).subject == "restart dev"
    assert trailers(last(shell).message) == (("Voxnix-Restart", "uid-dev"),)


def test_what_was_never_made_cannot_be_restarted(shell):
    shell.publish(document(container("dev", uid="")))
    assert "nothing to restart" in shell.run("restart", "dev").err
    assert "did you mean dev?" in shell.run("restart", "dve").err


def test_trash_is_listed(shell):
    shell.publish(document(trash=[piece()]))
    assert "web-1234-20260301T120000Z  web   bob" in shell.good("trash", "list").out
    shell.publish(document())
    assert shell.good("trash", "list").out == "The trash is empty.\n"


def test_restore_brings_the_last_spec_along(shell):
    shell.commit({"state/web.yaml": "owner: bob\n"})
    shell.commit({"state/web.yaml": None})
    shell.publish(document(trash=[piece()]))
    assert "with its last spec" in shell.good("trash", "restore", "web-1234").out
    assert shell.repo.read(shell.repo.head(), ["state/web.yaml"]) == {"state/web.yaml": b"owner: bob\n"}
    assert trailers(last(shell).message) == (("Voxnix-Restore", "web-1234-20260301T120000Z"),)


def test_restore_under_another_name(shell):
    shell.commit({"state/web.yaml": "name: web\nowner: bob\n"})
    shell.commit({"state/web.yaml": None})
    shell.publish(document(trash=[piece()]))
    shell.good("trash", "restore", "web", "--as", "shop")
    assert shell.repo.read(shell.repo.head(), ["state/shop.yaml"])["state/shop.yaml"] == b"name: shop\nowner: bob\n"
    assert trailers(last(shell).message) == (("Voxnix-Restore", "web-1234-20260301T120000Z as shop"),)


def test_restore_leaves_a_spec_that_is_there_alone(shell):
    shell.commit({"state/web.yaml": DEV})
    shell.publish(document(trash=[piece()]))
    shell.good("trash", "restore", "web")
    assert last(shell).changes == ()


def test_restore_without_any_spec_in_history(shell):
    shell.publish(document(trash=[piece()]))
    said = shell.run("trash", "restore", "web")
    assert said.code == 1
    assert "voxnix new web" in said.err


def test_purge_asks_for_one_piece_and_says_that_it_is_held(shell):
    shell.publish(document(trash=[piece(), piece("web-9999-20260302T120000Z")]))
    assert "say which" in shell.run("trash", "purge", "web", "--yes").err
    assert "there is no dev in the trash" in shell.run("trash", "purge", "dev", "--yes").err
    assert "It is held" in shell.good("trash", "purge", "web-9", "--yes").out
    assert trailers(last(shell).message) == (("Voxnix-Purge", "web-9999-20260302T120000Z"),)


def test_suspend_and_resume_are_recorded_with_who_and_why(shell):
    assert shell.run("suspend").code == 1
    shell.good("suspend", "--reason", "moving\x1b house")
    with shell.store as store:
        suspended = store.memory().suspended
        assert suspended is not None
        assert (suspended.by, suspended.reason) == ("alice", "moving\\x1b house")
        assert store.events()[-1].cause == "by alice"
    shell.good("resume")
    with shell.store as store:
        assert store.memory().suspended is None


def test_a_rewritten_history_is_accepted_by_its_commit(shell):
    head = shell.repo.head()
    assert "nobody is there to confirm" in shell.run("accept-rewrite", "HEAD", "-m", "x").err
    shell.good("accept-rewrite", "HEAD", "-m", "a secret was in it", "--yes")
    with shell.store as store:
        assert head in store.rewrites()
