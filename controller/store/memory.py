"""The planner's memory: inventory, backoff, debts, removals, adoptions, suspension, and the clock's last reading."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from controller.store.database import Database

if TYPE_CHECKING:
    from controller.plan.clock import Instant
    from controller.plan.memory import Adoption, Backoff, Debt, Entry, Memory, Suspension

DESTROYS_KEPT = timedelta(days=1)
DECISIONS_KEPT = timedelta(days=60)


class Remembered(Database):
    """Small verbs, each one transaction; what a power cut must not undo is on the disk when the verb returns."""

    _kept: tuple[int, Memory] | None = None

    def memory(self, *, clock_steady: bool = True) -> Memory:
        """All that the planner is told, as one value; read again only if somebody has written to it since."""
        from dataclasses import replace

        with self._lock:
            version = self.seen()
            if self._depth:
                memory = self._read()
            elif self._kept is not None and self._kept[0] == version:
                memory = self._kept[1]
            else:
                memory = self._read()
                self._kept = (version, memory)
        return memory if clock_steady else replace(memory, clock_steady=False)

    def put_entry(self, entry: Entry) -> None:
        """Add a container to the inventory, or change what is known of it."""
        removing = iso(entry.removing)
        values = (entry.uid, entry.name, entry.owner, entry.system, entry.node_id, entry.power, removing)
        self._remember("REPLACE INTO inventory VALUES (?, ?, ?, ?, ?, ?, ?)", *values, durable=True)

    def drop_entry(self, uid: str) -> None:
        """Take a container out of the inventory: it has been wholly removed."""
        self._remember("DELETE FROM inventory WHERE uid = ?", uid)

    def failed(self, lane: str, backoff: Backoff) -> None:
        """A lane failed: when it is tried again, and why."""
        self._remember(
            "REPLACE INTO backoff VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            lane,
            backoff.attempts,
            iso(backoff.next_at),
            backoff.message,
            backoff.revision,
            backoff.step,
            backoff.hint,
            backoff.blocked,
            backoff.roll_out,
        )

    def succeeded(self, lane: str) -> None:
        """A lane went through, or there is nothing to do for it any more: its backoff is forgotten."""
        with self.transaction():
            if self.query("SELECT 1 FROM backoff WHERE lane = ?", lane):
                self._remember("DELETE FROM backoff WHERE lane = ?", lane)

    def note_debt(self, debt: Debt) -> None:
        """A device could not be deleted; one that is noted already keeps its date."""
        values = (debt.node_id, debt.uid, debt.name, iso(debt.since))
        self._remember("INSERT OR IGNORE INTO debts VALUES (?, ?, ?, ?)", *values, durable=True)

    def forget_debt(self, node_id: str) -> None:
        """The device is gone."""
        self._remember("DELETE FROM debts WHERE node_id = ?", node_id)

    def destroying(self, uid: str, at: datetime) -> None:
        """A removal begins, which counts against the limit of removals an hour; one begun before keeps its date."""
        with self.transaction(durable=True):
            self._remember("INSERT OR IGNORE INTO destroys VALUES (?, ?)", uid, iso(at))
            self._remember("DELETE FROM destroys WHERE at < ?", iso(at - DESTROYS_KEPT))
            self._remember("UPDATE inventory SET removing = ? WHERE uid = ? AND removing IS NULL", iso(at), uid)

    def decided(self, commit: str) -> None:
        """A decision has been carried out, or cannot be any more: it never runs again."""
        self._remember("UPDATE decisions SET done = 1 WHERE sha = ?", commit, durable=True)

    def adopt(self, adoption: Adoption) -> None:
        """Root agrees that a foreign container becomes ours."""
        values = (adoption.name, adoption.system_path, adoption.by, iso(adoption.at))
        self._remember("REPLACE INTO adoptions VALUES (?, ?, ?, ?)", *values, durable=True)

    def adopted(self, name: str) -> None:
        """The adoption is done, or called off."""
        self._remember("DELETE FROM adoptions WHERE name = ?", name)

    def suspend(self, suspension: Suspension) -> None:
        """Hands off everything, until `resume`."""
        value = {"by": suspension.by, "at": iso(suspension.at), "reason": suspension.reason}
        self._set("suspended", json.dumps(value), durable=True)

    def resume(self) -> None:
        """Work goes on."""
        self._remember("DELETE FROM meta WHERE key = 'suspended'", durable=True)

    @property
    def rebuilt(self) -> str:
        """The moment at which a lost store was made again from the host's marks; "" once an admin has approved."""
        return self._get("rebuilt") or ""

    @rebuilt.setter
    def rebuilt(self, value: str) -> None:
        self._set("rebuilt", value, durable=True)

    @property
    def appliance(self) -> str | None:
        """This appliance's id, once it has one."""
        return self._get("appliance")

    @appliance.setter
    def appliance(self, value: str) -> None:
        self._set("appliance", value, durable=True)

    @property
    def last_pass(self) -> Instant | None:
        """When the last pass ran, by both clocks."""
        from controller.plan.clock import Instant

        text = self._get("last_pass")
        if text is None:
            return None
        wall, uptime, boot, doubt_until = json.loads(text)
        return Instant(datetime.fromisoformat(wall), float(uptime), str(boot), float(doubt_until))

    def passed(self, instant: Instant) -> None:
        """A pass ran now.

        In the first pass of a boot, the pauses of containers that went down without having failed are over: they went
        down with the host.
        """
        last = self.last_pass
        if last and last.boot != instant.boot:
            self._remember("DELETE FROM backoff WHERE message = ''")
        self._put("last_pass", json.dumps([iso(instant.wall), instant.uptime, instant.boot, instant.doubt_until]))

    def _read(self) -> Memory:
        """The tables as values."""
        from controller.plan.memory import Adoption, Backoff, Debt, Entry, Memory, Suspension

        at = datetime.fromisoformat
        ask = self.query
        suspended = json.loads(self._get("suspended") or "null")
        return Memory(
            inventory={
                uid: Entry(uid, name, owner, system, node, power, at(removing) if removing else None)
                for uid, name, owner, system, node, power, removing in ask("SELECT * FROM inventory ORDER BY uid")
            },
            backoff={
                lane: Backoff(attempts, at(then), message, revision, step, hint, bool(blocked), roll_out)
                for lane, attempts, then, message, revision, step, hint, blocked, roll_out in ask(
                    "SELECT * FROM backoff ORDER BY lane"
                )
            },
            debts={
                node: Debt(uid, name, node, at(since))
                for node, uid, name, since in ask("SELECT * FROM debts ORDER BY node_id")
            },
            decided=frozenset(sha for (sha,) in ask("SELECT sha FROM decisions WHERE done")),
            destroys={uid: at(then) for uid, then in ask("SELECT * FROM destroys ORDER BY uid")},
            adopted={
                name: Adoption(name, path, by, at(then))
                for name, path, by, then in ask("SELECT * FROM adoptions ORDER BY name")
            },
            suspended=Suspension(suspended["by"], at(suspended["at"]), suspended["reason"]) if suspended else None,
            rebuilt=self.rebuilt,
        )

    def _remember(self, sql: str, *parameters: object, durable: bool = False) -> None:
        """Write one row of what `memory` tells."""
        with self.transaction(durable=durable):
            self.write(sql, *parameters)
            self._kept = None

    def _get(self, key: str) -> str | None:
        rows = self.query("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def _put(self, key: str, value: str) -> None:
        self.write("REPLACE INTO meta VALUES (?, ?)", key, value)

    def _set(self, key: str, value: str, *, durable: bool = False) -> None:
        """As `_put`, for what `memory` tells."""
        self._remember("REPLACE INTO meta VALUES (?, ?)", key, value, durable=durable)


def iso(at: datetime | None) -> str | None:
    """An instant as text that sorts by time; raises `ValueError` for one without a zone."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")
