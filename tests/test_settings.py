"""Settings: options over environment over file, and every mistake told with where it is and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadInput
from controller.remote import access
from controller.settings import RemoteSettings, Settings, load

SSH = "git@forge.example.org:home/state.git"
HTTPS = "https://forge.example.org/home/state.git"
KEYS = 'key = "/k/deploy"\nknown_hosts = "/k/known"\n'


def loaded(tmp_path: Path, text: str, options: dict[str, str] | None = None, **environment: str) -> Settings:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load({"config": str(file), **(options or {})}, environment)


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ('state = "/srv/state.git"', None),
        ('repository = "/srv/state.git"', None),
        (f'repository = "{SSH}"\n[remote]\n{KEYS}', RemoteSettings(key="/k/deploy", known_hosts="/k/known")),
        (
            f'repository = "{SSH}"\n[remote]\n{KEYS}sign_with = "/k/sign"\npoll = 30',
            RemoteSettings(key="/k/deploy", known_hosts="/k/known", sign_with="/k/sign", poll=30),
        ),
        (f'state = "{HTTPS}"', None),
        (
            f'repository = "{HTTPS}"\n[remote]\ntoken = "/k/token"\nuser = "voxnix"\nca = "/k/ca.pem"',
            RemoteSettings(token="/k/token", user="voxnix", ca="/k/ca.pem"),
        ),
    ],
)
def test_a_state_repo_here_or_on_another_machine(tmp_path, text, remote):
    found = loaded(tmp_path, text)
    assert found.repository in (SSH, HTTPS, "/srv/state.git")
    assert found.remote == remote


def test_files_of_credentials_are_those_of_the_settings(tmp_path):
    found = access(loaded(tmp_path, f'repository = "{SSH}"\n[remote]\n{KEYS}'))
    assert (found.key, found.known_hosts, found.token) == (Path("/k/deploy"), Path("/k/known"), None)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (f'repository = "{SSH}"', "no remote.key opens it", "ssh-keygen -t ed25519"),
        (f'repository = "{SSH}"\n[remote]\nkey = "/k/deploy"', "remote.known_hosts is missing", "ssh-keyscan forge.ex"),
        (
            'repository = "ssh://git@forge:2222/s.git"\n[remote]\nkey = "/k/deploy"',
            "could tell forge from somebody",
            "ssh-keyscan -p 2222 forge",
        ),
        (f'repository = "{SSH}"\n[remote]\n{KEYS}token = "/k/t"', "remote.token is of no use", "key and known_hosts"),
        (f'repository = "{SSH}"\n[remote]\n{KEYS}ca = "/k/ca"', "remote.ca is of no use", "key and known_hosts"),
        (f'repository = "{HTTPS}"\n[remote]\n{KEYS}', "remote.key is of no use", "token, user and ca"),
        (f'repository = "{HTTPS}"\n[remote]\nknown_hosts = "/k"', "remote.known_hosts is of no use", "token, user"),
        ('repository = "/srv/state.git"\n[remote]\ntoken = "/k/t"', "is on this one", "take [remote] away"),
        ('[remote]\ntoken = "/k/t"', "nothing says into which", "repository ="),
        (f'repository = "{HTTPS}"\nstate = "/srv"', "two words for one thing", "keep one"),
        (f'repository = "{HTTPS}"\nremote = "x"', "[remote] must be a table", ""),
        (f'repository = "{HTTPS}"\n[remote]\ntokn = "/k/t"', "unknown key remote.tokn", "token"),
        (f'repository = "{HTTPS}"\n[remote]\ntoken = "k/t"', "is not an absolute path", "letters"),
        (f'repository = "{HTTPS}"\n[remote]\ntoken = "/k/a b"', "is not an absolute path", "letters"),
        (f'repository = "{HTTPS}"\n[remote]\ntoken = "/k/$(id)"', "is not an absolute path", "letters"),
        (f'repository = "{SSH}"\n[remote]\nkey = "/k/%d"\nknown_hosts = "/k"', "is not an absolute path", "letters"),
        (f'repository = "{HTTPS}"\n[remote]\nuser = "a b"', "is not the name of an account", ""),
        (f'repository = "{HTTPS}"\n[remote]\npoll = 1', "is not between 5 and 86400 seconds", ""),
        (f'repository = "{HTTPS}"\n[remote]\npoll = "x"', "remote.poll must be a number", ""),
        ('repository = "https://bob:s3cret@forge/s.git"', "holds a name or a password", "`token` and `user`"),
        ('repository = "http://forge/s.git"', "is not a state repo", "https://"),
        ('repository = "ext::sh -c id"', "is not a state repo", "https://"),
    ],
)
def test_what_cannot_be_is_told_with_where_and_what_to_do(tmp_path, text, what, hint):
    with pytest.raises(BadInput) as found:
        loaded(tmp_path, text)
    assert what in found.value.what
    assert str(tmp_path / "config.toml") in found.value.what
    assert hint in found.value.hint
    assert "s3cret" not in str(found.value)


def test_what_opens_one_address_is_not_used_for_another(tmp_path):
    text = f'repository = "{HTTPS}"\n[remote]\ntoken = "/k/token"'
    other = "https://evil.example.org/state.git"
    for found in (loaded(tmp_path, text, {"state": other}), loaded(tmp_path, text, VOXNIX_STATE=other)):
        assert (found.repository, found.remote) == (other, None)
    assert loaded(tmp_path, text, {"state": "/srv/state.git"}).remote is None
    assert loaded(tmp_path, text, {"state": HTTPS}).remote is not None
    with pytest.raises(BadInput, match=r"^--state or VOXNIX_STATE: .*is on another machine, and no remote\.key"):
        loaded(tmp_path, text, {"state": SSH})
