"""A followed branch: what was seen of it answers at once, and is fetched the more rarely the longer it is away."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.git.following import FIRST, LONGEST, Followed, Rhythm, pause
from tests.far import far

DEV = "owner: alice\nmodules: [git]\n"


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def followed(home):
    return Followed(
        home.directory / "mirror.git", home.forge.url(), access=home.access, rhythm=Rhythm(60.0, lambda: 0.5, Clock())
    )


class TestPause:
    def test_is_the_usual_one_while_all_is_well_and_grows_while_it_is_not(self):
        assert pause(60, 0, 0.5) == 60
        assert [pause(60, failures, 0.5) for failures in range(1, 10)] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
        assert pause(3600, 500, 0.5) == 900

    @given(
        poll=st.floats(5, 86_400),
        failures=st.integers(0, 10_000),
        jitter=st.floats(0, 1),
    )
    def test_is_a_fifth_longer_or_shorter_at_most(self, poll, failures, jitter):
        usual = pause(poll, failures, 0.5)
        assert 0.79 * usual <= pause(poll, failures, jitter) <= 1.21 * usual
        assert usual == poll if not failures else FIRST <= usual <= LONGEST


class TestFollowed:
    def test_answers_at_once_from_what_it_saw(self, home, followed):
        first = followed.fetch()
        assert first == home.there.head()
        asked = len(home.forge.asked)
        second = home.commit({"state/dev.yaml": DEV})
        assert followed.fetch() == first
        assert len(home.forge.asked) == asked
        assert followed.refresh()
        assert followed.fetch() == second
        assert not followed.refresh()

    def test_keeps_what_it_saw_while_the_forge_is_away_and_says_since_when_and_why(self, home, followed):
        first = followed.fetch()
        with home.forge.away():
            assert followed.refresh()
            trouble = followed.trouble
            assert followed.fetch() == first
            assert not followed.refresh()
            assert followed.trouble == trouble
            assert followed.pause() == 10
        assert "could not be fetched" in trouble
        assert "connect to 127.0.0.1" in trouble
        assert trouble.endswith("So since 2026-03-01 12:01 UTC; the revision accepted last stands")
        assert followed.refresh()
        assert followed.trouble == ""
        assert followed.pause() == 60

    def test_tries_at_once_until_it_has_seen_it_once_and_no_longer_than_some_seconds(self, home, followed):
        with home.forge.away():
            for _ in range(2):
                with pytest.raises(Exception, match="could not be fetched"):
                    followed.fetch()
            followed._spent = 5.0
            before = followed.pause()
            with pytest.raises(Exception, match="could not be fetched"):
                followed.fetch()
            assert followed.pause() == before
        with pytest.raises(Exception, match="could not be fetched"):
            followed.fetch()
        followed.refresh()
        assert followed.fetch() == home.there.head()

    def test_a_pass_that_tries_itself_waits_less_long_where_there_is_a_copy(self, home, followed):
        followed.fetch()
        assert followed.patience == 60
        again = Followed(followed.path, home.forge.url(), access=home.access)
        again.fetch()
        assert again.patience == 20
        again.refresh()
        assert again.patience == 60

    def test_a_copy_that_is_damaged_is_made_anew(self, home, followed):
        first = followed.fetch()
        followed.start_over()
        assert not followed.path.exists()
        assert followed.fetch() == first

    def test_tidies_not_while_something_comes_in(self, home, followed):
        followed.fetch()
        entered = threading.Event()

        def tidy():
            followed.tidy(str(home.there.head()))
            entered.set()

        thread = threading.Thread(target=tidy)
        with followed.alone():
            thread.start()
            assert not entered.wait(0.2)
        assert entered.wait(30)
        thread.join()
