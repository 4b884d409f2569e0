"""A state repo behind HTTPS: opened by a token that nobody else gets to see, written to by compare-and-swap."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from dataclasses import replace

import pytest

from controller.errors import BadInput, Blocked, Transient
from controller.git.access import Access
from controller.git.address import address
from controller.git.remote import Remote
from tests.far import ALICE, far
from tests.forge import TOKEN

DEV = {"state/dev.yaml": b"owner: alice\n"}


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


def no_trace_of_the_token(directory, *words):
    """In none of these texts, and in no file but its own."""
    pair = base64.b64encode(f"git:{TOKEN}".encode()).decode()
    for secret in (TOKEN, pair):
        assert not [text for text in words if secret in text]
        files = [file for file in directory.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
        assert [file.name for file in files] in ([], ["token"])


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "protocol", "host", "port"),
        [
            ("/srv/state.git", "file", "", ""),
            ("./state.git", "file", "", ""),
            ("state.git", "file", "", ""),
            ("ssh://git@forge.example.org/home/state.git", "ssh", "forge.example.org", ""),
            ("ssh://forge.example.org:2222/home/state.git", "ssh", "forge.example.org", ":2222"),
            ("ssh://git@[::1]:22/state.git", "ssh", "[::1]", ":22"),
            ("git@forge.example.org:home/state.git", "ssh", "forge.example.org", ""),
            ("forge:state.git", "ssh", "forge", ""),
            ("https://forge.example.org/home/state.git", "https", "forge.example.org", ""),
            ("https://forge.example.org:8443/home/state.git", "https", "forge.example.org", ":8443"),
        ],
    )
    def test_ways_to_a_state_repo(self, text, protocol, host, port):
        found = address(text)
        assert (found.protocol, found.host, found.port) == (protocol, host, port)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-oProxyCommand=x:state",
            "ssh://-oProxyCommand=touch/x",
            "git@-oProxyCommand=x:state",
            "ext::sh -c id",
            "git://example.org/x",
            "http://example.org/x",
            "file:///srv/state.git",
            "https://example.org",
            "https://example.org/x?token=1",
            "https://example.org/x y",
            "ssh://git:pass@example.org/x",
            "ssh://example.org/x\ny",
        ],
    )
    def test_no_ways_to_a_state_repo(self, text):
        with pytest.raises(BadInput, match="is not a state repo"):
            address(text)

    @pytest.mark.parametrize("text", ["https://bob:s3cret@example.org/x", "https://s3cret@example.org/x"])
    def test_a_password_in_an_address_is_refused_and_not_said_again(self, text):
        with pytest.raises(BadInput, match="holds a name or a password") as found:
            address(text)
        assert "s3cret" not in str(found.value)
        assert "[remote]" in found.value.hint


class TestToken:
    def test_opens_the_repository_and_leaves_no_trace(self, home):
        remote = home.remote()
        assert remote.head() == home.there.head()
        sha = remote.commit(DEV, "one", ALICE)
        assert home.there.head() == sha
        assert home.there.read(sha, list(DEV)) == DEV
        no_trace_of_the_token(home.directory)
        assert "remote" not in (remote.path / "config").read_text()

    def test_is_in_no_argument_and_no_variable_of_any_process(self, home, tmp_path, monkeypatch):
        """Every program that git starts writes down what it was told, and what its parents were."""
        seen, place = tmp_path / "seen", tmp_path / "bin"
        place.mkdir()
        for name in ("git", "sh", "cat"):
            real = shutil.which(name)
            program = place / name
            program.write_text(
                f"#!{sys.executable} -IS\nimport os, sys\npid = os.getpid()\nfound = b''\nwhile pid > 1:\n"
                "    for part in ('cmdline', 'environ'):\n"
                "        try: found += open(f'/proc/{pid}/{part}', 'rb').read() + b'\\n'\n"
                "        except OSError: pass\n"
                "    pid = int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1])\n"
                f"open({str(seen)!r}, 'ab').write(found)\nos.execv({real!r}, [{real!r}, *sys.argv[1:]])\n"
            )
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        home.remote().commit(DEV, "one", ALICE)
        written = seen.read_bytes()
        assert b"credential.https://127.0.0.1" in written
        assert b"/cat\0" in written
        assert str(home.token).encode() in written
        assert TOKEN.encode() not in written

    def test_goes_to_the_host_of_the_address_alone(self, home):
        elsewhere: list[str] = []

        def redirect(handler):
            elsewhere.append(handler.headers.get("Authorization", ""))
            handler.say(302, b"", Location=f"https://localhost:{home.forge.port}{handler.path}")
            return True

        home.forge.instead = redirect
        with pytest.raises(Transient, match="could not be fetched") as found:
            home.remote().head()
        assert elsewhere == [""]
        assert "credentials go nowhere else" in found.value.hint

    def test_a_wrong_one_is_told(self, home, caplog):
        caplog.set_level("DEBUG")
        home.set_token("wr0ng-t0ken")
        with pytest.raises(Transient, match="Authentication failed") as found:
            home.remote().head()
        assert str(home.token) in found.value.hint
        assert "wr0ng-t0ken" not in f"{found.value}{caplog.text}"

    def test_none_at_all_is_told(self, home):
        home.access = Access(ca=home.forge.ca)
        with pytest.raises(Transient, match="could not read Username") as found:
            home.remote().head()
        assert "none is set" in found.value.hint

    @pytest.mark.parametrize(
        ("text", "mode", "words"),
        [
            (TOKEN, 0o644, r"can be read by others \(mode 0644\)"),
            (TOKEN, 0o640, r"can be read by others \(mode 0640\)"),
            ("", 0o600, "holds no token"),
            ("two words", 0o600, "holds no token"),
            ("two\nlines", 0o600, "holds no token"),
        ],
    )
    def test_a_file_that_is_not_as_it_should_be_is_refused_before_anybody_is_asked(self, home, text, mode, words):
        home.set_token(text, mode)
        with pytest.raises(Blocked, match=words) as found:
            home.remote().head()
        assert found.value.hint
        assert home.forge.asked == []

    def test_a_file_that_is_not_there_or_no_file_is_refused(self, home):
        home.token.unlink()
        with pytest.raises(Blocked, match="there is no token at"):
            home.remote().head()
        home.token.mkdir()
        with pytest.raises(Blocked, match="not a plain file"):
            home.remote().head()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_somebody_else_is_refused(self, home):
        os.chown(home.token, 12345, 12345)
        with pytest.raises(Blocked, match="belongs to somebody else than root"):
            home.remote().head()

    def test_a_link_to_a_private_file_will_do(self, home):
        home.token.rename(home.directory / "kept")
        home.token.symlink_to(home.directory / "kept")
        assert home.remote().head() == home.there.head()


class TestServer:
    def test_one_that_nobody_vouches_for_is_not_believed(self, home):
        home.access = replace(home.access, ca=None)
        with pytest.raises(Transient, match="certificate") as found:
            home.remote().head()
        assert "`ca` in [remote]" in found.value.hint
        assert home.forge.asked == []

    def test_a_ca_that_others_can_change_is_refused(self, home):
        home.forge.ca.chmod(0o666)
        with pytest.raises(Blocked, match="can be changed by others"):
            home.remote().head()

    def test_a_repository_that_is_not_there(self, home):
        remote = Remote(home.directory / "copy.git", home.forge.url("other.git"), access=home.access)
        with pytest.raises(Transient, match="not found") as found:
            remote.head()
        assert "is the address right" in found.value.hint

    def test_one_that_is_away_and_back(self, home):
        remote = home.remote()
        first = remote.head()
        with home.forge.away(), pytest.raises(Transient, match="could not be fetched") as found:
            remote.head()
        assert "is the network up" in found.value.hint
        assert remote.fetched() == first
        sha = home.commit({"state/dev.yaml": "owner: bob\n"})
        assert remote.head() == sha

    def test_nothing_of_the_callers_own_settings_counts(self, home, tmp_path, monkeypatch):
        (tmp_path / ".gitconfig").write_text("[http]\n\tsslVerify = false\n\tproxy = http://127.0.0.1:1\n")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
        for key in ("HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(key, str(tmp_path))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
        assert home.remote().head() == home.there.head()


class TestBranch:
    def test_one_that_is_not_there_yet_and_one_that_is_gone(self, home):
        git = home.there.git
        remote = home.remote(branch="other")
        assert remote.head() is None
        git.run("update-ref", "refs/heads/other", str(home.there.head()))
        assert remote.head() == home.there.head()
        git.run("update-ref", "-d", "refs/heads/other")
        with pytest.raises(Blocked, match="has no branch other any more"):
            remote.head()

    def test_a_forced_one_is_fetched_and_a_commit_goes_on_from_it(self, home):
        remote = home.remote()
        first = remote.commit(DEV, "one", ALICE)
        older = home.there.show(first).parents[0]
        home.there.git.run("update-ref", "refs/heads/main", older)
        assert remote.head() == older
        second = remote.commit({"state/a.yaml": b"owner: bob\n"}, "two", ALICE)
        assert home.there.show(second).parents == (older,)

    def test_names_of_people_mean_what_was_fetched(self, home):
        remote = home.remote()
        first = remote.head()
        second = remote.commit(DEV, "one", ALICE)
        remote.head()
        assert [remote.resolve(name) for name in ("HEAD", "main", "main~1", "HEAD^")] == [second, second, first, first]
