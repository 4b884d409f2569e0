"""Commands of people on an appliance whose state repo is on a forge: what they read, commit, sign, and are told."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from controller.git.signatures import signatures
from controller.host.sim import create
from controller.store import Event
from tests import keygen
from tests.cli import Said, Shell, container, document, hold, piece
from tests.far import far
from tests.forge import TOKEN
from tests.keygen import Key
from tests.pushers import ALICE, ALICE_SIGNS, BOB_SIGNS, POLICY, REQUIRED, TENANTS, tenant

DEV = "owner: alice\nworkspace: {quota: 5G}\nmodules: [workspace]\n"
STRANGER = Key("somebody else signs")


class Office(Shell):
    """A shell on an appliance whose settings name the forge."""

    home = None

    def on_forge(self, home, *more: str) -> Office:
        self.home = home
        create(self.sim)
        self.config = self.directory / "config.toml"
        lines = [f'repository = "{home.forge.url()}"', "[remote]", f'token = "{home.token}"', f'ca = "{home.forge.ca}"']
        self.config.write_text("\n".join([*lines, *more, ""]))
        return self

    def run(self, *words: str, stdin: str = "", options: bool = True) -> Said:
        given = ["--config", str(self.config), "--host", f"sim:{self.sim}"] if options else []
        return super().run(*given, *words, stdin=stdin, options=False)


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


@pytest.fixture
def office(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", f"{keygen.install(tmp_path / 'bin')}:{os.environ['PATH']}")
    return Office(tmp_path, capsys, monkeypatch).on_forge(home)


def with_key(office, key: Key) -> None:
    place = office.directory / "signing"
    place.write_text(key.private)
    place.chmod(0o600)
    office.config.write_text(f'{office.config.read_text()}sign_with = "{place}"\n')


class TestCommands:
    def test_decisions_are_pushed(self, home, office):
        office.publish(document(container("web"), holds=[hold()], trash=[piece()]))
        office.good("approve", "abc1", "--yes", "--no-wait", "-m", "she asked for it")
        office.good("restart", "web", "--no-wait")
        office.good("trash", "purge", "web", "--yes", "--no-wait")
        found = [commit.trailers for commit in home.there.log(str(home.there.head()))][:3]
        assert found == [
            (("Voxnix-Purge", "web-1234-20260301T120000Z"),),
            (("Voxnix-Restart", "uid-web"),),
            (("Voxnix-Approve", "abc123def456"),),
        ]
        assert home.there.show(str(home.there.head())).author == "Alice"

    def test_history_goes_back_there(self, home, office):
        first = home.commit({"state/dev.yaml": DEV}, "add dev")
        second = home.commit({"state/dev.yaml": DEV.replace("5G", "9G")}, "more")
        assert "quota 5G → 9G" in office.good("history", "dev").out
        assert second[:10] in office.good("blame", "dev").out
        office.good("undo", "--no-wait")
        assert home.there.read(str(home.there.head()), ["state/dev.yaml"]) == {"state/dev.yaml": DEV.encode()}
        office.good("rollback", "dev", second, "--no-wait")
        assert b"9G" in home.there.read(str(home.there.head()), ["state/dev.yaml"])["state/dev.yaml"]
        assert "add dev" in office.good("history", "dev").out
        office.good("validate", "--revision", first)

    def test_a_rewritten_history_is_accepted_by_its_id(self, home, office):
        sha = home.commit({"state/dev.yaml": DEV})
        office.store.close()
        office.good("accept-rewrite", sha[:10], "-m", "we began anew", "--yes")
        with office.store as store:
            assert sha in store.rewrites()

    def test_a_forge_that_is_away_can_still_be_read_and_not_be_written_to(self, home, office):
        home.commit({"state/dev.yaml": DEV}, "add dev")
        office.good("history", "dev")
        with home.forge.away():
            said = office.good("history", "dev")
            assert "add dev" in said.out
            assert "this is as it was seen last" in said.err
            said = office.run("undo", "--no-wait")
            assert said.code == 1
            assert "could not be fetched" in said.err
        assert TOKEN not in said.err

    def test_a_push_that_is_not_taken_is_told_with_why(self, home, office):
        home.commit({"state/dev.yaml": DEV})
        home.forge.read_only = True
        said = office.run("undo", "--no-wait")
        assert said.code == 1
        assert "was refused" in said.err
        assert "the right to write to this repository" in said.err

    def test_a_token_that_others_can_read_is_not_used(self, home, office):
        home.set_token(TOKEN, 0o644)
        said = office.run("history")
        assert said.code == 1
        assert f"chmod 600 {home.token}" in said.err
        assert home.forge.asked == []


class TestSigned:
    @pytest.fixture(autouse=True)
    def required(self, home):
        home.commit({**TENANTS, POLICY: REQUIRED, "state/dev.yaml": DEV}, "begin")
        return home

    def refused(self, home, office, *words):
        head = home.there.head()
        said = office.run("undo", "--no-wait")
        assert said.code == 1
        for word in words:
            assert word in said.err
        assert home.there.head() == head

    def test_an_admins_key_signs(self, home, office):
        home.commit({"state/dev.yaml": DEV.replace("5G", "9G")}, "more")
        with_key(office, ALICE_SIGNS)
        office.good("undo", "--no-wait")
        sha = str(home.there.head())
        assert signatures(home.there, [sha])[sha].key == ALICE_SIGNS.blob

    def test_without_a_key_nothing_is_pushed(self, home, office):
        self.refused(home, office, "asks for an identity", "`sign_with` in [remote]")

    def test_with_a_key_that_is_nobodys_nothing_is_pushed(self, home, office):
        with_key(office, STRANGER)
        self.refused(home, office, "is no tenant's", "signing_keys", " ".join(STRANGER.public.split(" ")[:2]))

    def test_with_a_members_key_nothing_is_pushed(self, home, office):
        with_key(office, BOB_SIGNS)
        self.refused(home, office, "that of bob, who is no admin")

    def test_keys_are_those_of_the_commit_that_is_gone_on_from(self, home, office):
        home.commit({"state/tenants/alice.yaml": tenant("Alice", ALICE, STRANGER, role="admin")})
        with_key(office, ALICE_SIGNS)
        self.refused(home, office, "is no tenant's")
        with_key_instead(office, STRANGER)
        office.good("undo", "--no-wait")


def with_key_instead(office, key: Key) -> None:
    (office.directory / "signing").write_text(key.private)


class TestDoctor:
    def checks(self, office):
        found = office.run("doctor", "--json").json["checks"]
        return {check["what"]: check for check in found if check["what"].startswith("state repo")}

    def test_all_is_well(self, home, office):
        found = self.checks(office)
        assert {what: check["state"] for what, check in found.items()} == {
            "state repo access": "fine",
            "state repo": "fine",
            "state repo push": "fine",
            "state repo identity": "note",
        }
        assert str(home.there.head())[:10] in found["state repo"]["found"]
        assert "counts as root here" in found["state repo identity"]["found"]

    def test_who_signs_is_told(self, home, office):
        home.commit({**TENANTS, POLICY: REQUIRED}, "begin")
        assert "have no key to sign with" in self.checks(office)["state repo identity"]["found"]
        with_key(office, STRANGER)
        assert self.checks(office)["state repo identity"]["state"] == "fails"
        with_key_instead(office, ALICE_SIGNS)
        assert self.checks(office)["state repo identity"]["found"] == "commands sign as alice"

    def test_what_is_wrong_is_told_with_a_remedy(self, home, office):
        home.set_token(TOKEN, 0o640)
        found = self.checks(office)
        assert list(found) == ["state repo access"]
        assert found["state repo access"]["remedy"] == f"chmod 600 {home.token}"
        home.set_token("wrong")
        found = self.checks(office)
        assert found["state repo"]["state"] == "fails"
        assert "does the token" in found["state repo"]["remedy"]
        home.set_token(TOKEN)
        home.forge.read_only = True
        found = self.checks(office)
        assert found["state repo push"]["state"] == "fails"
        assert "the right to write" in found["state repo push"]["remedy"]
        with home.forge.away():
            assert self.checks(office)["state repo"]["state"] == "fails"

    def test_a_branch_that_is_not_there(self, home, office):
        home.there.git.run("update-ref", "-d", "refs/heads/main")
        found = self.checks(office)
        assert list(found) == ["state repo access", "state repo"]
        assert found["state repo"]["state"] == "fails"
        assert "has no branch main" in found["state repo"]["found"]


def test_what_needs_a_state_repo_here_says_so(home, office):
    office.publish(document(), [Event(datetime.now(UTC), "x", "y")])
    from controller.cli.session import Session

    session = Session({"config": str(office.config), "host": f"sim:{office.sim}"}, environment={})
    with pytest.raises(Exception, match="is on another machine, and this is for one on this machine"):
        _ = session.here
