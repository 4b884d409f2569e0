"""Hosts side by side, over the same trees, and nothing left of them.

python -m tests.host.fleet [COMMAND…]    # a host with a pool, and a root shell (or COMMAND) in it, gone when it ends
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.host import image
from tests.host.machine import Machine, cgroups, dissolve

TREE = Path(__file__).parent / "tree"
LIBRARY = Path(__file__).parent / "library"
SHARED = "usr/local/share/testhost"
INSTANCES, ENOUGH = Path("/proc/sys/fs/inotify/max_user_instances"), 8192
"""Each systemd needs a few of the kernel's inotify instances, which are few by default; what is set is put back."""

MASKED = (
    # what would reach through to the machine's kernel
    *("systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service", "systemd-pstore.service"),
    *("proc-sys-fs-binfmt_misc.automount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
    *("sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "dev-hugepages.mount"),
    *("systemd-random-seed.service", "systemd-timesyncd.service", "systemd-update-utmp.service"),
    # what a host without a screen, a disk or a network of its own need not wait for
    *("systemd-firstboot.service", "systemd-hwdb-update.service", "systemd-networkd-wait-online.service"),
    *("getty.target", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("fstrim.timer", "e2scrub_all.timer"),
)
WANTED = {
    "sysinit.target": ("zfs-fuse.service",),
    "multi-user.target": ("br-vox.service", "dnsmasq-vox.service"),
}
"""Units that a host starts with, by the target that wants them."""


class Fleet:
    """Hosts that share trees and one directory, side by side; a context manager that leaves nothing."""

    def __init__(self) -> None:
        sweep()
        hosts = image.cache() / "hosts"
        hosts.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=hosts))
        self._machines: list[Machine] = []
        self._lower: tuple[Path, ...] = ()
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Fleet:
        if os.geteuid() != 0:
            raise SystemExit("Test hosts need root, for namespaces and mounts: sudo make test-host")
        trees = (image.app(), image.host_tree(), image.base_tree())
        self._held.enter_context(image.held(*trees))
        self._lower = (self._laid(), *trees[:2])
        self._base = trees[2]
        raise_instances()
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self._machines:
            with contextlib.suppress(FileNotFoundError):
                machine.remove()
        shutil.rmtree(self.directory)
        self._held.close()
        put_back_instances()

    def make(self, name: str) -> Machine:
        """A host that has not been booted."""
        directory = self.directory / name
        (directory / "state/nix").mkdir(parents=True)
        image.quietly(["cp", "-al", str(self._base), str(directory / "state/nix/base")])
        (directory / "state/nix/var/nix/gcroots").mkdir(parents=True)
        (directory / "state/nix/var/nix/gcroots/profiles").symlink_to("/nix/var/nix/profiles")
        machine = Machine(name, directory, self._lower)
        self._machines.append(machine)
        return machine

    def _laid(self) -> Path:
        """The layer of what makes a Debian tree a host for voxnix."""
        layer = self.directory / "tree"
        shutil.copytree(TREE, layer, symlinks=True)
        shutil.copytree(LIBRARY, layer / SHARED / "library")
        set_up(layer)
        return layer


def set_up(layer: Path) -> None:
    """Mask, enable and empty what a host needs so, in a layer over its tree."""
    units = layer / "etc/systemd/system"
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")
    for target, wanted in WANTED.items():
        folder = units / f"{target}.wants"
        folder.mkdir(parents=True, exist_ok=True)
        for unit in wanted:
            (folder / unit).symlink_to(f"../{unit}")
    for folder in ("etc/systemd-mutable/system", "etc/nixos-containers", "var/log/journal", "srv"):
        (layer / folder).mkdir(parents=True, exist_ok=True)
    (layer / "etc/fstab").write_text("")
    (layer / "etc/machine-id").write_text("")
    (layer / "etc/resolv.conf").write_text("nameserver 10.100.0.1\n")


def raise_instances() -> None:
    """See that there are enough inotify instances, and remember how many there were."""
    with _alone() as before:
        if int(INSTANCES.read_text()) < ENOUGH:
            before.write_text(INSTANCES.read_text())
            INSTANCES.write_text(str(ENOUGH))


def put_back_instances() -> None:
    """Once no fleet is left, have as many inotify instances as there were."""
    with _alone() as before:
        if before.exists() and not any(place.is_dir() for place in before.parent.iterdir()):
            INSTANCES.write_text(before.read_text())
            before.unlink()


@contextlib.contextmanager
def _alone() -> Iterator[Path]:
    """The file that remembers the kernel's setting, for one process at a time."""
    with (image.cache() / "hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield image.cache() / "hosts/inotify-instances"


def sweep() -> None:
    """Remove the directories of hosts whose test process has ended without doing so."""
    for place in (image.cache() / "hosts").glob("*-*"):
        owner = place.name.partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            for group in cgroups().glob(f"voxnix-{place.name}-*"):
                dissolve(group)
            shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    """A host with a shell, for a developer."""
    with Fleet() as fleet:
        machine = fleet.make("host").boot().make_pool()
        return machine.interact(sys.argv[1:] or ["bash", "-i"])


if __name__ == "__main__":
    sys.exit(main())
