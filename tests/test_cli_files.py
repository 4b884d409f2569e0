"""`init`, `new`, `validate`, `schema`, `completion`, `secret`: files, made and checked."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest
import yaml

from controller.cli.app import COMMANDS
from controller.gate.hooks import missing
from controller.git import StateRepo
from controller.settings import share
from tests.cli import DEV, FILES, Shell, container, document, hold, piece


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch)


def test_init_makes_a_repo_whose_files_are_right_and_says_what_to_do_next(shell):
    said = shell.run("init", "new.git", options=False)
    assert said.code == 0
    repo = StateRepo(shell.directory / "new.git")
    assert set(repo.tree(repo.head())) == {
        *("state/defaults.yaml", "state/dev.yaml", "state/policy.yaml", "state/tenants/alice.yaml"),
    }
    assert f"git clone {shell.directory}/new.git {shell.directory}/new-work" in said.out
    assert f"voxnix --state {shell.directory}/new.git apply" in said.out
    assert shell.run("--state", "new.git", "validate", options=False).out == "4 files, no mistakes\n"


def test_init_with_the_whole_example_and_with_other_names(shell):
    shell.run("init", "example.git", "--example", options=False)
    repo = StateRepo(shell.directory / "example.git")
    assert len(repo.tree(repo.head())) == len(list(share("state").rglob("*.yaml"))) + 1
    shell.run("init", "other.git", "--tenant", "zoe", "--name", "Zoë: the #1", options=False)
    repo = StateRepo(shell.directory / "other.git")
    assert "Zoë: the #1" in repo.read(repo.head(), ["state/tenants/zoe.yaml"])["state/tenants/zoe.yaml"].decode()
    assert shell.run("--state", "other.git", "validate", options=False).code == 0


def test_init_puts_hooks_in_place_and_closes_the_repo(shell):
    assert shell.run("init", "new.git", options=False).code == 0
    assert missing(shell.directory / "new.git") == []
    repo = StateRepo(shell.directory / "new.git")
    assert repo.read(repo.head(), ["state/policy.yaml"])["state/policy.yaml"].endswith(b"\nidentity: required\n")


def test_init_refuses_what_is_there_and_what_cannot_be(shell):
    (shell.directory / "full").mkdir()
    (shell.directory / "full/file").touch()
    assert "not empty" in shell.run("init", "full", options=False).err
    assert "cannot be a tenant" in shell.run("init", "x", "--tenant", "Not This", options=False).err
    assert not (shell.directory / "x").exists()


def test_a_new_spec_is_valid_as_it_is_and_with_every_comment_taken_away(shell):
    shell.begin()
    spec = shell.good("new", "lab", "--owner", "alice", "--modules", "git,workspace,tailscale").out
    path = shell.directory / "state/lab.yaml"
    path.parent.mkdir()
    path.write_text(spec)
    assert shell.run("validate", str(path)).out == "1 file, no mistakes\n"
    field = re.compile(r"(?:# )?((?:  )?[a-z_]+:(?: .*)?)")
    path.write_text("".join(f"{found[1]}\n" for line in spec.splitlines() if (found := field.fullmatch(line))))
    said = shell.run("validate", str(path))
    assert said.out.endswith("1 file, no mistakes\n"), said.out


def test_new_writes_to_a_path_once(shell):
    shell.begin()
    assert shell.good("new", "lab", "--owner", "bob", "-o", ".").out.startswith("Wrote lab.yaml.")
    assert "is there already" in shell.run("new", "lab", "-o", ".").err
    assert shell.run("new", "lab", "--owner", "bob", "-o", ".", "--force").code == 0


def test_new_knows_names_modules_and_the_only_tenant(shell):
    shell.begin({"state/tenants/zoe.yaml": "name: Zoe\n"})
    assert "owner: zoe" in shell.good("new", "lab").out
    assert "cannot be the name" in shell.run("new", "Not-A-Name-At-All").err
    assert "is not for a container" in shell.run("new", "policy").err
    assert "did you mean git?" in shell.run("new", "lab", "--modules", "gti").err


def tree(shell, **files):
    for name, text in files.items():
        path = shell.directory / "tree/state" / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return shell.directory / "tree"


def test_validate_takes_a_file_a_folder_and_a_tree(shell):
    root = tree(shell, dev=DEV, tenants__alice=FILES["state/tenants/alice.yaml"])
    for path in (root, root / "state"):
        assert shell.run("validate", str(path), options=False).out == "2 files, no mistakes\n"
    for path in (root / "state/dev.yaml", root / "state/tenants/alice.yaml"):
        assert shell.run("validate", str(path), options=False).out == "1 file, no mistakes\n"
    os.chdir(root)
    assert shell.run("validate", options=False).out == "2 files, no mistakes\n"


def test_validate_shows_where_and_what_to_write_instead(shell):
    root = tree(shell, dev="owner: alice\nmodules: [gti]\n", tenants__alice="name: Alice\n")
    said = shell.run("validate", "tree", options=False)
    assert said.code == 1
    assert said.out.startswith("tree/state/dev.yaml:2:11: there is no module `gti`\n    modules: [gti]\n")
    assert "did you mean `git`?" in said.out
    assert said.out.endswith("2 files, 1 mistake\n")
    found = shell.run("--json", "validate", str(root), options=False).json
    assert found["problems"][0]["line"] == 2


def test_validate_sees_what_only_several_files_get_wrong(shell):
    tree(shell, dev="owner: nobody\n", tenants__alice="name: Alice\n")
    assert "there is no tenant `nobody`" in shell.run("validate", "tree", options=False).out


def test_validate_a_revision(shell):
    shell.begin()
    good = shell.commit({"state/dev.yaml": DEV})
    shell.commit({"state/dev.yaml": "owner: [\n"})
    assert shell.run("validate").code == 1
    assert shell.run("validate", "--revision", good).code == 0
    assert "there is no revision" in shell.run("validate", "--revision", "nope").err


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: \x1b[2J\n", b"\x00" * 100, b"{" * 5000, b"x" * 200_000])
def test_validate_survives_any_bytes(shell, data):
    root = tree(shell, dev="x")
    (root / "state/dev.yaml").write_bytes(data)
    said = shell.run("validate", str(root), options=False)
    assert said.code == 1
    assert "\x1b" not in said.out


def test_validate_without_anything_to_validate(shell):
    (shell.directory / "empty").mkdir()
    assert "is no `state` folder" in shell.run("validate", "empty", options=False).err
    assert "there is no missing" in shell.run("validate", "missing", options=False).err
    assert "no --state repo" in shell.run("validate", options=False).err


def test_schema_is_json(shell):
    assert json.loads(shell.run("schema", options=False).out).keys() == {"spec", "tenant", "policy", "defaults"}
    assert "owner" in json.loads(shell.run("schema", "spec", options=False).out)["properties"]


def test_init_brings_schemas_that_its_files_name(shell):
    shell.run("init", "new.git", "--example", options=False)
    repo = StateRepo(shell.directory / "new.git")
    tree = repo.tree(repo.head(), "state", "schema")
    texts = repo.read(repo.head(), list(tree))
    for path, text in texts.items():
        if path.startswith("state/"):
            named = re.match(rb"# yaml-language-server: \$schema=(\S+)\n", text)[1].decode()
            there = os.path.normpath(f"{os.path.dirname(path)}/{named}")
            kind = {"state/defaults.yaml": "defaults", "state/policy.yaml": "policy"}.get(
                path, "tenant" if "tenants" in path else "spec"
            )
            assert there == f"schema/{kind}.json"
            assert json.loads(texts[there])["title"] == f"voxnix {'container' if kind == 'spec' else kind}"
    assert shell.run("--state", "new.git", "validate", options=False).code == 0


def test_schemas_in_a_work_tree_are_brought_up_to_date(shell):
    root = tree(shell, dev=DEV, tenants__alice=FILES["state/tenants/alice.yaml"])
    said = shell.run("schema", "--write", str(root), options=False)
    assert said.code == 0
    assert said.out.count("wrote") == 4
    (root / "schema/spec.json").write_text("old")
    assert shell.run("--json", "schema", "--write", "tree", options=False).json == {
        "schema/spec.json": True,
        "schema/tenant.json": False,
        "schema/policy.json": False,
        "schema/defaults.json": False,
    }
    os.chdir(root)
    assert shell.run("schema", "--write", options=False).out.count("as it was") == 4
    assert shell.run("validate", options=False).out == "2 files, no mistakes\n"
    assert "holds no `state` folder" in shell.run("schema", "--write", "state", options=False).err


def test_a_new_spec_names_its_schema(shell):
    shell.begin()
    assert shell.good("new", "lab").out.startswith(
        "# yaml-language-server: $schema=../schema/spec.json\n# One container"
    )


def test_the_hook_for_pre_commit_is_the_command_that_there_is():
    (hook,) = yaml.safe_load((share("state").parent / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "voxnix validate"
    assert hook["pass_filenames"] is False
    pattern = re.compile(hook["files"])
    assert [
        path for path in ("state/dev.yaml", "state/tenants/a.yml", "x/state/a.yaml", "state/x") if pattern.search(path)
    ] == [
        "state/dev.yaml",
        "state/tenants/a.yml",
    ]


def test_secrets_come_from_stdin_and_are_never_shown(shell):
    shell.begin()
    said = shell.good("secret", "set", "token", "--tenant", "alice", "--share", "bob", stdin="hunter2\n\n")
    assert "hunter2" not in said.out + said.err
    stored = shell.sim / "root/var/lib/voxnix/secrets/alice/token"
    assert stored.read_bytes() == b"hunter2\n"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert shell.good("--json", "secret", "list").json == [{"tenant": "alice", "name": "token", "shared_with": ["bob"]}]
    assert shell.good("secret", "list", "--tenant", "bob").out == "No secrets are stored.\n"
    shell.good("secret", "rm", "alice/token")
    assert not stored.exists()


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("set", "token"), "x", "say whose: --tenant alice or bob"),
        (("set", "alice/token"), "", "the value is empty"),
        (("set", "alice/token"), "\n", "the value is empty"),
        (("set", "alcie/token"), "x", "did you mean alice?"),
        (("set", "alice/token", "--tenant", "bob"), "x", "does not go with"),
        (("set", "alice/../../etc"), "x", "there is no tenant"),
        (("set", "alice/Bad Name"), "x", "is not the name of a secret"),
        (("rm", "alice/token"), "", "has no secret token"),
    ],
)
def test_secrets_that_cannot_be(shell, words, stdin, said):
    shell.begin()
    answer = shell.run("secret", *words, stdin=stdin)
    assert answer.code == 1
    assert said in answer.err


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_scripts(shell, kind):
    assert "_VOXNIX_COMPLETE" in shell.run("completion", kind, options=False).out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("voxnix stat", "status"),
        ("voxnix status ", "dev"),
        ("voxnix approve abc", "abc123def456"),
        ("voxnix trash restore we", "web-1234-20260301T120000Z"),
    ],
)
def test_completion_offers_what_there_is(shell, monkeypatch, words, found):
    from click.shell_completion import BashComplete

    from controller.cli.app import cli

    shell.begin()
    shell.publish(document(container("dev"), holds=[hold()], trash=[piece()]))
    monkeypatch.setenv("VOXNIX_HOST", f"sim:{shell.sim}")
    complete = BashComplete(cli, {}, "voxnix", "_VOXNIX_COMPLETE")
    *before, last = words.split(" ")
    assert found in [item.value for item in complete.get_completions(before[1:], last)]


def test_completion_is_silent_where_nothing_is_known(shell, monkeypatch):
    from click.shell_completion import BashComplete

    from controller.cli.app import cli

    monkeypatch.setenv("VOXNIX_HOST", "nonsense")
    assert BashComplete(cli, {}, "voxnix", "_VOXNIX_COMPLETE").get_completions(["status"], "") == []


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(shell, command):
    said = shell.run(command, "--help", options=False)
    assert said.code == 0
    assert said.out.startswith(f"Usage: voxnix {command}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stauts",), "did you mean status?"),
        (("status", "--nope"), "No such option"),
        (("approve",), "Missing argument"),
        (("--host", "nowhere", "status"), "neither `nixos` nor `sim:DIR`"),
        (("--host", "sim:/nowhere", "plan"), ""),
        (("--config", "/nowhere", "status"), "is the path right?"),
        (("logs", "x", "-n", "0"), "is not in the range"),
        (("enter", "../x"), "cannot be the name"),
        (("new", "lab", "--owner", "bob", "-o", "/nowhere/lab.yaml"), "No such file"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_1(shell, words, said):
    answer = shell.run(*words, options=False)
    assert answer.code == 1
    assert said in answer.err
    assert answer.err
    assert "Traceback" not in answer.err


def test_errors_are_json_where_json_is_asked_for(shell):
    shell.begin()
    said = shell.run("--json", "status")
    assert said.code == 1
    assert json.loads(said.err)["hint"].startswith("`voxnix apply`")
