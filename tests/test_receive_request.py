"""What may be asked for over SSH, and that nothing else is understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadInput
from controller.receive import Request, Service, read_request

REPO = "/srv/state.git"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("git-receive-pack '/srv/state.git'", Request(Service.PUSH)),
        ("git-upload-pack '/srv/state.git'", Request(Service.FETCH)),
        ("git-upload-pack /srv/state.git", Request(Service.FETCH)),
        ("git-upload-pack '/srv/state.git/'", Request(Service.FETCH)),
        ("git-upload-pack '/srv//./state.git'", Request(Service.FETCH)),
        ("git-upload-pack '/srv/state'", Request(Service.FETCH)),
        ("git-upload-pack 'state.git'", Request(Service.FETCH)),
        ("git-upload-pack '/state.git'", Request(Service.FETCH)),
        ("git-upload-pack '~/state'", Request(Service.FETCH)),
        ("status", Request(Service.STATUS)),
        ("status web", Request(Service.STATUS, "web")),
        ("logs web", Request(Service.LOGS, "web")),
        ("enter web", Request(Service.ENTER, "web")),
    ],
)
def test_what_is_answered(words, expected):
    assert read_request(words, REPO) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "gives no shell"),
        ("  ", "gives no shell"),
        ("sh", "cannot be asked for here"),
        ("scp -t /etc", "cannot be asked for here"),
        ("/usr/bin/git-receive-pack '/srv/state.git'", "cannot be asked for here"),
        ("git receive-pack '/srv/state.git'", "cannot be asked for here"),
        ("git-upload-archive '/srv/state.git'", "cannot be asked for here"),
        ("git-receive-pack", "takes 1 words, not 0"),
        ("git-receive-pack '/srv/state.git' x", "takes 1 words, not 2"),
        ("git-upload-pack --timeout=1 '/srv/state.git'", "takes 1 words, not 2"),
        ("git-upload-pack --upload-pack=sh", "no repository"),
        ("git-receive-pack '/srv/other.git'", "no repository '/srv/other.git' here"),
        ("git-receive-pack '/etc/state.git'", "no repository"),
        ("git-receive-pack '/srv/../srv/state.git'", "no repository"),
        ("git-receive-pack '../state.git'", "no repository"),
        ("git-receive-pack '/srv/state.git/hooks'", "no repository"),
        ("git-receive-pack '/'", "no repository"),
        ("git-receive-pack ''", "no repository"),
        ("git-receive-pack '~other/state.git'", "no repository"),
        ("git-receive-pack 'ext::sh -c id'", "no repository"),
        ("git-receive-pack '/srv/state.git\n'", "control characters"),
        ("git-receive-pack '/srv/st\u0430te.git'", "no repository"),
        ("git-receive-pack '/srv/state.git", "cannot be read"),
        ("git-receive-pack '/srv/state.git'; id", "takes 1 words"),
        ("git-receive-pack $(id)", "no repository"),
        ("status web db", "0 or 1 words"),
        ("status --json", "cannot be the name"),
        ("logs", "takes 1 words, not 0"),
        ("logs -f", "cannot be the name"),
        ("logs ../web", "cannot be the name"),
        ("logs WEB", "cannot be the name"),
        ("enter web sh", "takes 1 words, not 2"),
        ("status " + "x" * 5000, "too long"),
        ("status \x1b[2J", "control characters"),
    ],
)
def test_what_is_not(words, said):
    with pytest.raises(BadInput) as caught:
        read_request(words, REPO)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text(max_size=80) | st.builds("{} {}".format, st.sampled_from(list(Service)), st.text(max_size=40)))
def test_any_words_are_a_request_or_bad_input(words):
    try:
        found = read_request(words, REPO)
    except BadInput:
        return
    assert found.service in Service
    assert found.git or found.name == "" or found.name.isascii()
