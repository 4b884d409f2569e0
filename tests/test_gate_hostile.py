"""Pushes by people who mean harm: what git would read as settings, what they set in their environment, and clients
that are no git.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess

import pytest

from tests import keygen
from tests.loose import FILE
from tests.pushers import ALICE, BOB, STRANGER
from tests.pushing import MAIN, Ground, Way, told

pytestmark = pytest.mark.push

WEB = {"files": {"state/web.yaml": "owner: bob\nmodules: [git, workspace]\npower: stopped\n"}}
DEV = {"files": {"state/dev.yaml": None}}


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VOXNIX_STATE", "VOXNIX_HOST", "VOXNIX_CONFIG", "VOXNIX_KEY", "SUDO_USER"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", f"{keygen.install(directory / 'programs')}:{os.environ['PATH']}")
        with Ground(directory).open() as found:
            yield found


@pytest.fixture
def ground(standing):
    yield standing
    standing.restore()


@pytest.fixture
def trap(ground, tmp_path):
    """A program that leaves a mark when it is run."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    yield program
    assert not (tmp_path / "ran").exists()


def noted(ground: Ground) -> list[dict[str, object]]:
    """What the receive log has of pushes since the beginning."""
    place = "voxnix/received.jsonl"
    lines = (ground.path / place).read_bytes().removeprefix(ground.before[place]).splitlines()
    return [json.loads(line) for line in lines]


class TestSettingsInTheTree:
    @pytest.mark.parametrize("way", [Way.DOOR, Way.SERVE])
    def test_nothing_in_a_tree_is_run(self, ground, trap, way):
        files = {
            ".gitattributes": "* filter=evil diff=evil merge=evil textconv=evil ident export-subst\n",
            "state/.gitattributes": "* -text working-tree-encoding=UTF-16 filter=evil\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = {trap}\n\tclean = {trap}\n[core]\n\tfsmonitor = {trap}\n',
            "config": f"[core]\n\tfsmonitor = {trap}\n\thooksPath = hooks\n",
            "hooks/pre-receive": {"mode": "100755", "text": f"#!/bin/sh\n{trap}\n"},
            ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = none\n',
            ".mailmap": "Alice <alice@example.org> <x@example.org>\n",
            "x": {"module": "1" * 40},
            **WEB["files"],
        }
        done = ground.push("alice", [f"{ground.make({'files': files})['tip']}:{MAIN}"], way)
        assert done.taken, done.told
        assert "~ web  stopped" in done.told
        assert noted(ground)[0]["key"] == ALICE.fingerprint

    def test_attributes_do_not_make_a_change_of_anothers_invisible(self, ground, trap):
        files = {".gitattributes": "state/dev.yaml -diff binary\n", **DEV["files"]}
        done = ground.push("bob", [f"{ground.make({'files': files})['tip']}:{MAIN}"])
        assert not done.taken
        assert "`dev` belongs to alice" in done.told

    def test_a_submodule_that_runs_a_program_when_updated_is_not_taken(self, ground, trap):
        text = f'[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n\tupdate = !{trap}\n'
        done = ground.push("alice", [f"{ground.make({'files': {'.gitmodules': text}})['tip']}:{MAIN}"])
        assert not done.taken
        assert "gitmodulesUpdate" in done.told
        assert ground.changed() == []


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            ["no-wait"],
            ["wait=0"],
            ["wait=-1", "wait=99999999", "wait=1e9", "wait=٣", "wait="],
            ["$(touch ran)", "`touch ran`", "; touch ran", "--upload-pack=touch ran"],
            ["x" * 60_000],
            [f"o{number}" for number in range(200)],
        ],
        ids=["no-wait", "none", "odd numbers", "commands", "long", "many"],
    )
    def test_push_options_change_nothing_but_the_wait(self, ground, trap, options):
        words = [word for option in options for word in ("-o", option)]
        done = ground.push("bob", [f"{ground.make(WEB)['tip']}:{MAIN}"], words=words)
        assert done.taken, done.told
        assert "Traceback" not in done.told
        done = ground.push("bob", [f"{ground.make(DEV)['tip']}:{MAIN}"], words=["--force", *words])
        assert not done.taken

    @pytest.mark.parametrize("option", ["a\x1b[2Jb", "a\tb"])
    def test_options_with_control_characters_are_harmless(self, ground, option):
        done = ground.push("bob", [f"{ground.make(WEB)['tip']}:{MAIN}"], words=["-o", option])
        assert done.taken
        assert "\x1b" not in done.told


HOSTILE = {
    "VOXNIX_KEY": ALICE.fingerprint,
    "VOXNIX_CONFIG": "/nowhere/config.toml",
    "VOXNIX_STATE": "/nowhere",
    "VOXNIX_HOST": "sim:/nowhere",
    "GIT_OBJECT_DIRECTORY": "/nowhere",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.fsmonitor",
    "PYTHONPATH": "/nowhere",
    "SSH_ORIGINAL_COMMAND": "sh",
}


class TestEnvironment:
    @pytest.mark.parametrize("way", [Way.DOOR, Way.SERVE])
    def test_past_a_key_nothing_of_the_pushers_counts(self, ground, trap, way):
        hostile = {**HOSTILE, "GIT_CONFIG_VALUE_0": str(trap), "GIT_EXTERNAL_DIFF": str(trap)}
        del hostile["GIT_OBJECT_DIRECTORY"]  # it would keep the client itself from working
        made = ground.make(DEV)["tip"]
        done = ground.push("bob", [f"{made}:{MAIN}"], way, variables=hostile)
        assert not done.taken
        assert "`dev` belongs to alice; bob, a member, may not change it" in done.told
        assert ground.changed() == []

    def test_to_the_path_a_key_in_the_environment_gives_no_more_than_it_has(self, ground):
        made = ground.make(DEV)["tip"]
        for key, words in ((BOB, "`dev` belongs to alice"), (STRANGER, "which is no tenant's")):
            done = ground.push("root", [f"{made}:{MAIN}"], variables={"VOXNIX_KEY": key.fingerprint})
            assert not done.taken
            assert words in done.told

    def test_to_the_path_a_key_that_is_none_is_refused(self, ground):
        done = ground.push("root", [f"{ground.make(WEB)['tip']}:{MAIN}"], variables={"VOXNIX_KEY": "alice"})
        assert not done.taken
        assert "VOXNIX_KEY is no fingerprint of a key" in done.told
        assert ground.changed() == []

    def test_to_the_path_gits_variables_are_harmless(self, ground, trap):
        hostile = {
            "GIT_EXTERNAL_DIFF": str(trap),
            "GIT_PAGER": str(trap),
            "GIT_EDITOR": str(trap),
            "GIT_ASKPASS": str(trap),
            "GIT_PUSH_OPTION_COUNT": "many",
            "GIT_REPLACE_REF_BASE": "refs/heads/",
            "SUDO_USER": "\x1b[2Jalice",
        }
        done = ground.push("root", [f"{ground.make(DEV)['tip']}:{MAIN}"], Way.ALONE, variables=hostile)
        assert done.taken, done.told
        (entry,) = noted(ground)
        assert "key" not in entry
        assert "\x1b" not in str(entry["by"])

    def test_to_the_path_another_quarantine_is_not_read(self, ground, tmp_path):
        hostile = {"GIT_QUARANTINE_PATH": str(tmp_path)}
        done = ground.push("root", [f"{ground.make(WEB)['tip']}:{MAIN}"], variables=hostile)
        assert not done.taken
        assert ground.repo.head() == ground.base


class Client:
    """Somebody who speaks git's protocol by hand, to the path, as root or with a key."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    def pack(self, *oids: str) -> bytes:
        git = ["git", f"--git-dir={self.ground.clone.path}", "pack-objects", "--stdout", "-q"]
        return subprocess.run(git, input="\n".join(oids).encode(), capture_output=True, check=True).stdout

    def send(self, updates: list[tuple[str, str, str]], pack: bytes, key: str = "") -> str:
        """Everything that `git receive-pack` answers."""
        lines = b""
        for number, (old, new, ref) in enumerate(updates):
            words = f"{old} {new} {ref}".encode() + (b"\0report-status" if not number else b"")
            lines += f"{len(words) + 4:04x}".encode() + words
        done = subprocess.run(
            ["git", "receive-pack", str(self.ground.path)],
            input=lines + b"0000" + pack,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **({"VOXNIX_KEY": key} if key else {})},
            capture_output=True,
            check=False,
        )
        return done.stdout.decode("utf-8", "replace") + told(done.stderr)


@pytest.fixture
def client(ground):
    return Client(ground)


class TestByHand:
    def test_one_branch_moved_twice_in_one_push(self, ground, client):
        made = ground.make({"commits": [WEB, DEV]})
        pack = client.pack(*objects(ground, made["c0"], WEB), *objects(ground, made["c1"], {}))
        updates = [(ground.base, made["c0"], MAIN), (made["c0"], made["c1"], MAIN)]
        said = client.send(updates, pack, BOB.fingerprint)
        assert "this push would move the same branch twice" in said
        assert ground.changed() == []

    def test_a_push_whose_old_side_is_made_up(self, ground, client):
        made = ground.make({"commits": [WEB, {"files": {"README.md": "x"}}]})
        pack = client.pack(
            *objects(ground, made["c0"], WEB), *objects(ground, made["c1"], {"files": {"README.md": "x"}})
        )
        said = client.send([(made["c0"], made["c1"], MAIN)], pack, BOB.fingerprint)
        assert "ok refs/heads/main" not in said
        assert ground.repo.head() == ground.base

    def test_a_branch_that_is_there_made_anew(self, ground, client):
        made = ground.make(WEB)["tip"]
        said = client.send([("0" * 40, made, MAIN)], client.pack(*objects(ground, made, WEB)), BOB.fingerprint)
        assert "ok refs/heads/main" not in said
        assert ground.changed() == []

    def test_commits_without_what_they_name(self, ground, client):
        clone = ground.clone
        absent = clone.commit(clone.tree(ground.files[ground.base]), ["1" * 40])
        said = client.send([(ground.base, absent, MAIN)], client.pack(absent))
        assert "ng refs/heads/main" in said
        tree = clone.entries([(FILE, b"a", "2" * 40)])
        empty = clone.commit(tree, [ground.base])
        said = client.send([(ground.base, empty, MAIN)], client.pack(tree, empty))
        assert "ng refs/heads/main" in said
        assert ground.changed() == []

    @pytest.mark.parametrize(
        "spoil",
        [lambda pack: pack[:-30], lambda pack: pack[:40] + b"\0\0\0\0" + pack[44:], lambda _: b"PACK", lambda _: b""],
        ids=["cut off", "altered", "a head", "nothing"],
    )
    def test_a_pack_that_is_none(self, ground, client, spoil):
        made = ground.make(WEB)["tip"]
        said = client.send([(ground.base, made, MAIN)], spoil(client.pack(*objects(ground, made, WEB))))
        assert "ok refs/heads/main" not in said
        assert ground.changed() == []

    @pytest.mark.parametrize(
        "ref", ["HEAD", "refs/heads/../../config", "refs/heads/main.lock", "../x", "refs/heads/a b"]
    )
    def test_refs_that_cannot_be(self, ground, client, ref):
        made = ground.make(WEB)["tip"]
        said = client.send([("0" * 40, made, ref)], client.pack(*objects(ground, made, WEB)))
        assert f"ok {ref}" not in said
        assert ("funny refname" in said) or ("only the state branch may be pushed here" in said)
        assert ground.changed() == []

    def test_words_that_a_terminal_might_obey(self, ground, client):
        made = ground.make(WEB)["tip"]
        said = client.send([("0" * 40, made, "refs/heads/\u202ea\u200b")], client.pack(*objects(ground, made, WEB)))
        assert "\u202e" not in said.partition("only the state branch")[0].rpartition("error:")[2]
        assert "only the state branch may be pushed here" in said
        assert ground.changed() == []


def objects(ground: Ground, commit: str, case) -> list[str]:
    """The objects that a commit of a case brings."""
    git = ["git", f"--git-dir={ground.clone.path}", "rev-list", "--objects", "--no-object-names", commit, f"^{commit}~"]
    return subprocess.run(git, capture_output=True, check=True, text=True).stdout.split()
