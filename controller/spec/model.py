"""What a state file may say: one container (`ContainerSpec`), one person (`Tenant`), and the parts of both.

Pure, frozen values: sizes are bytes, times carry a zone, lists are tuples. Nothing here reads files or YAML;
the descriptions are what editors show. How each value is written is in `forms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.spec.forms import (
    Form,
    Kind,
    check_cpus,
    check_cron,
    check_key,
    check_line,
    check_moment,
    check_prose,
    check_zone,
)

GIB = 2**30
NAME_PATTERN = "[a-z]([a-z0-9-]{0,9}[a-z0-9])?"
TENANT_PATTERN = "[a-z0-9][a-z0-9-]{0,31}"
SECRET_PATTERN = "[a-z][a-z0-9_.-]{0,63}"  # noqa: S105
LABEL_PATTERN = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
KEY_PATTERN = (
    "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh[.]com)"
    " [A-Za-z0-9+/]+={0,3}( .*)?"
)

Name = Annotated[
    str,
    Form("a name: 1 to 11 of a-z, 0-9 and `-`, beginning with a letter, not ending in `-`", NAME_PATTERN),
]
TenantId = Annotated[str, Form("a tenant id: 1 to 32 of a-z, 0-9 and `-`, not beginning with `-`", TENANT_PATTERN)]
ModuleName = Annotated[str, Form("the name of a module", "[a-z][a-z0-9_-]{0,63}")]
Label = Annotated[str, Form("a host name: up to 63 of a-z, 0-9 and inner `-`", LABEL_PATTERN)]
Tag = Annotated[str, Form("a tailnet tag such as `tag:dev`", "tag:[a-zA-Z][a-zA-Z0-9-]{0,62}")]
EnvName = Annotated[
    str,
    Form("a variable name: letters, digits and `_`, not beginning with a digit", "[A-Za-z_][A-Za-z0-9_]{0,127}"),
]
EnvValue = Annotated[str, Form("one line of text", check=check_line)]
SecretName = Annotated[
    str,
    Form(
        "a secret's name (a-z, 0-9, `_`, `.`, `-`, beginning with a letter), or TENANT/NAME for a shared one",
        f"({TENANT_PATTERN}/)?{SECRET_PATTERN}",
    ),
]
Cron = Annotated[str, Form('five cron fields such as "0 8 * * 1-5" (minute hour day month weekday)', check=check_cron)]
Zone = Annotated[str, Form("a time zone such as Europe/Berlin", check=check_zone)]
Moment = Annotated[
    datetime,
    Form("a timestamp with its zone, such as 2030-12-24T18:00:00+01:00", kind=Kind.MOMENT, check=check_moment),
]
Key = Annotated[
    str,
    Form("an SSH public key: its type, its base64 part, and perhaps a comment", KEY_PATTERN, check=check_key),
]
Line = Annotated[str, Form("one line of 1 to 200 characters", ".{1,200}", check=check_line)]
Prose = Annotated[str, Form("a text", check=check_prose)]
Chat = Annotated[int, Form("a Telegram chat id, a whole number", kind=Kind.WHOLE, low=-(2**52), high=2**52)]
Count = Annotated[int, Form("a whole number", kind=Kind.WHOLE, low=0, high=100_000)]
Amount = Annotated[int, Form("a size such as 512M, 20G or 1T", kind=Kind.SIZE, low=2**20, high=2**50)]
Memory = Annotated[int, Form("a size such as 512M or 2G", kind=Kind.SIZE, low=64 * 2**20, high=2**50)]
Cpus = Annotated[
    float,
    Form("a number of CPUs such as 2 or 0.5", kind=Kind.NUMBER, low=0.01, high=1024, check=check_cpus),
]
Tasks = Annotated[int, Form("a whole number", kind=Kind.WHOLE, low=16, high=4_194_304)]
Flag = Annotated[bool, Form("true or false", kind=Kind.BOOLEAN)]
Power = Annotated[Literal["running", "stopped"], Form("running or stopped", words=("running", "stopped"))]
Restore = Annotated[Literal["latest", "never"], Form("latest or never", words=("latest", "never"))]
Role = Annotated[Literal["admin", "member"], Form("admin or member", words=("admin", "member"))]
Demand = Annotated[Literal["required", "open"], Form("required or open", words=("required", "open"))]


class _Part(BaseModel):
    """What all parts of a state file share: frozen, and nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Workspace(_Part):
    """The dataset at `/workspace`; needs the module `workspace`."""

    quota: Amount = Field(5 * GIB, description="Most that /workspace may hold, without snapshots: `5G`.")
    restore: Restore = Field(
        "latest",
        description="For a container that comes back: `latest` takes its data out of the trash, `never` not.",
    )


class TailnetSpec(_Part):
    """The container's device on the tailnet; needs the module `tailscale`."""

    hostname: Label | None = Field(None, description="Its name there; the container's own if left out.")
    tags: tuple[Tag, ...] = Field((), description="Tags besides the appliance's own, of those the tenant may use.")
    ssh: Flag = Field(True, description="Whether Tailscale SSH answers in it.")


class Resources(_Part):
    """Limits kept by systemd; changed live, never with a rebuild or a restart."""

    memory: Memory = Field(2 * GIB, description="Most memory it may use: `2G`, `512M`.")
    cpus: Cpus = Field(2.0, description="Most CPUs it may use; fractions are fine: `0.5`.")
    tasks: Tasks = Field(4096, description="Most processes and threads it may have.")


class Schedule(_Part):
    """Power by the clock. It decides while it is there; `power` decides before its first moment."""

    start: Cron | None = Field(None, description='When to start it, as five cron fields: "0 8 * * 1-5".')
    stop: Cron | None = Field(None, description='When to stop it, as five cron fields: "0 20 * * *".')
    timezone: Zone = Field("UTC", description="The time zone of `start` and `stop`, such as Europe/Berlin.")

    @model_validator(mode="after")
    def _says_something(self) -> Schedule:
        if self.start is None and self.stop is None:
            raise ValueError("a schedule needs `start`, `stop` or both")
        return self


class ContainerSpec(_Part):
    """One container as its file and the defaults ask for it: `state/NAME.yaml`, validated."""

    name: Name = Field(description="The container's name; if given, the same as the file's.")
    owner: TenantId = Field(description="The tenant whose container it is; every permission follows from it.")
    modules: tuple[ModuleName, ...] = Field((), description="What is in it: modules of the library, in any order.")
    power: Power = Field("running", description="Whether it runs, where no schedule says otherwise.")
    workspace: Workspace = Field(Workspace(), description="The dataset at /workspace (module `workspace`).")
    tailnet: TailnetSpec = Field(TailnetSpec(), description="Its device on the tailnet (module `tailscale`).")
    resources: Resources = Field(Resources(), description="Limits on memory, CPUs and processes.")
    env: Mapping[EnvName, EnvValue] = Field(
        {}, description="Environment variables for all shells in it. No secrets here."
    )
    secrets: tuple[SecretName, ...] = Field(
        (),
        description="Names of secrets delivered to it as files; TENANT/NAME for one that another tenant shares.",
    )
    schedule: Schedule | None = Field(None, description="Power by the clock.")
    expires: Moment | None = Field(None, description="After this moment it is treated as removed. Needs a time zone.")
    paused: Flag = Field(False, description="Hands off: nothing is done to it, not even removal.")
    host: Label | None = Field(None, description="The appliance it is for, where there are several.")
    renamed_from: Name | None = Field(None, description="Its former name: data and tailnet device come along.")
    description: Prose = Field("", description="What it is for, in your words.")

    @property
    def has_workspace(self) -> bool:
        """Whether it has a `/workspace` dataset in use."""
        return "workspace" in self.modules

    @property
    def on_tailnet(self) -> bool:
        """Whether it is to have a device on the tailnet."""
        return "tailscale" in self.modules

    @property
    def hostname(self) -> str:
        """The name it asks for on the tailnet."""
        return self.tailnet.hostname or self.name


class Limits(_Part):
    """What all containers of one tenant may add up to; None: no limit."""

    containers: Count | None = Field(None, description="Most containers at a time.")
    storage: Amount | None = Field(None, description="Most that all workspace quotas may add up to: `100G`.")
    memory: Amount | None = Field(None, description="Most that all memory limits may add up to: `16G`.")


class Tenant(_Part):
    """A person who may own containers: `state/tenants/ID.yaml`, validated."""

    id: TenantId = Field(description="The tenant's id; the same as the file's name.")
    name: Line = Field(description="What people call them.")
    role: Role = Field("member", description="An admin decides on everything, a member on their own containers.")
    telegram: tuple[Chat, ...] = Field((), description="Telegram chat ids that speak for them.")
    signing_keys: tuple[Key, ...] = Field((), description="SSH public keys whose commit signatures are theirs.")
    ssh_keys: tuple[Key, ...] = Field((), description="SSH public keys they push with.")
    tailnet_tags: tuple[Tag, ...] = Field((), description="Tailnet tags their containers may ask for.")
    limits: Limits = Field(Limits(), description="What their containers may add up to.")


class StatePolicy(_Part):
    """What the state repo asks of who changes it: `state/policy.yaml`, validated. Without the file, the defaults."""

    identity: Demand = Field(
        "open",
        description="`required`: a commit counts only if it is known who brought it, by its signature or the key of "
        "its push. `open`: one that says nothing of that counts as root's own.",
    )
