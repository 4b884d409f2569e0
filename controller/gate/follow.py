"""After a push: what the controller makes of it, told line by line for a few seconds. It only reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.cli.client import Away, Client
from controller.errors import VoxnixError
from controller.gate.telling import harmless

STEP = 0.1
"""Seconds between two looks."""
SETTLED = ("ready", "held", "paused", "frozen", "degraded")
"""Phases in which there is nothing more to see for now."""
GONE = "gone"
MOST = 12
"""Containers that are told of one by one; of more, how many are in which phase."""
Say = Callable[[Sequence[str]], None]


class Follower:
    """Tells what becomes of commit `new`, and of the containers `names`, by what the controller at `path` publishes."""

    def __init__(self, path: Path, new: str, names: Collection[str], say: Say) -> None:
        self._client = Client(path, timeout=5.0)
        self._new = new
        self._names = sorted(names)
        self._say = say
        self._told: dict[str, str] = {}

    def follow(self, seconds: float) -> None:
        """Tell until all is settled or the time is over."""
        end = time.monotonic() + seconds
        try:
            while not self._settled(self._client.get("/v1/status")):
                if time.monotonic() > end:
                    self._tell("", f"it goes on by itself after these {seconds:.0f} s: `voxnix status`")
                    return
                time.sleep(STEP)
        except Away as error:
            what = "no controller answers here" if error.hint == "" else error.what
            self._tell("", f"{what}: this takes effect once a controller has looked")
        except VoxnixError as error:
            self._tell("", f"the controller does not tell: {error}")

    def _settled(self, document: Mapping[str, Any]) -> bool:
        """Tell what is new in a status document; whether there is nothing more to wait for."""
        if self._new[:10] in str(document.get("refused") or ""):
            self._tell("", f"warning: the controller does not follow: {document['refused']}")
            return True
        if document.get("revision") != self._new:
            return False
        rows = {row["name"]: row for row in document["containers"]}
        phases = Counter(str(rows[name]["phase"]) if name in rows else GONE for name in self._names)
        if len(self._names) > MOST:
            self._tell("", ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items())))
        for name in self._names if len(self._names) <= MOST else ():
            row = rows.get(name)
            self._tell(name, f"{row['phase']}{_details(row)}" if row else GONE)
        return phases.keys() <= {*SETTLED, GONE}

    def _tell(self, name: str, words: str) -> None:
        if self._told.get(name) != words:
            self._told[name] = words
            self._say(list(harmless([f"{name}: {words}" if name else words])))


def _details(row: Mapping[str, Any]) -> str:
    """What there is to know of a container: where it can be reached, or what is wrong."""
    if row["phase"] == "ready":
        found = [str(row["machine"])] if row["machine"] not in ("", "running") else []
        found += [f"ssh root@{row['tailnet_name']}"] if row["tailnet_name"] else []
        found += [str(address) for address in row["addresses"] if not str(address).startswith("fe80")][:2]
        return "".join(f" · {word}" for word in found)
    wrong = [one["message"] for one in row["conditions"] if one["status"] == "False" and one["message"]]
    approve = f" (voxnix approve {row['hold']})" if row["hold"] else ""
    return f": {wrong[0]}{approve}" if wrong else approve
