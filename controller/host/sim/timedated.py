"""timedatectl of the simulated host."""

from __future__ import annotations

from controller.host.sim.command import Answer, Call, Refusal, options


async def timedatectl(call: Call) -> Answer:
    """The `timedatectl` command; it knows `show`."""
    found, words = options("timedatectl", call.args, "p:", ["property=", "value", "version"])
    if ("--version", "") in found:
        return Answer(out="systemd 257 (257.9)\n")
    if words != ["show"]:
        raise Refusal(f"Unknown command verb '{words[0]}'." if words else "")
    synchronised = "yes" if call.world.state.settings().clock_synchronised else "no"
    values = {"Timezone": "UTC", "LocalRTC": "no", "CanNTP": "yes", "NTP": "yes", "NTPSynchronized": synchronised}
    wanted = [value for option, value in found if option in ("-p", "--property")] or list(values)
    return Answer(out="".join(f"{key}={values[key]}\n" for key in wanted if key in values))
