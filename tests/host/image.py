"""The trees that test hosts are made of, built from Debian packages once and kept in the user's cache.

    python -m tests.host.image      # build what is missing, and say where it is

A tree is built aside and takes its name when it is whole, which the digest of its recipe is part of: a build that was
killed is never taken for one that ended, and an edited recipe never for the old one. It writes below the cache alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
SUITE = "trixie"
PYTHON = "3.13"
"""The suite's own Python, which runs voxnix on the host."""
TOOLS = {"mmdebstrap": "mmdebstrap", "nsenter": "util-linux", "ip": "iproute2"}
"""Programs that this needs on the machine, and the packages that have them."""
HOST = (
    *("systemd-sysv", "systemd-container", "dbus", "libpam-systemd", "polkitd", "procps", "iproute2", "iputils-ping"),
    *("dnsmasq-base", "nftables", "git", "openssh-client", "openssh-server", "python3", "nix-bin", "ca-certificates"),
    *("mount", "jq"),
)
FUSE = ("zfs-fuse", "fuse")
"""ZFS without a kernel module."""
BASE = ("systemd-sysv", "dbus", "iproute2", "procps", "libpam-systemd", "git", "fish")
UNWANTED = ("man", "locale", "doc", "i18n", "info")
"""Folders of /usr/share that nothing here reads."""


def cache() -> Path:
    """Where trees are kept: `voxnix/testhost` in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "voxnix/testhost"


def host_tree() -> Path:
    """A Debian host with systemd, machined, nspawn, Nix and ZFS on FUSE; nothing of it is set up yet."""
    return debian("host", "minbase", (*HOST, *FUSE), components="main contrib")


def base_tree() -> Path:
    """The Debian tree that stands where a NixOS closure would be, not set up either."""
    return debian("base", "essential", BASE)


def debian(name: str, variant: str, packages: Sequence[str], *, components: str = "main") -> Path:
    """A Debian tree with these packages, from the mirror that this machine's apt is set to."""
    recipe = json.dumps([SUITE, variant, sorted(packages), components, UNWANTED])

    def build(tree: Path) -> None:
        tools()
        leave_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in UNWANTED]
        source = f"deb [trusted=yes] {mirror()} {SUITE} {components}"
        argv = ["mmdebstrap", f"--variant={variant}", "--mode=root", "--skip=check/empty", *leave_out]
        quietly([*argv, f"--include={','.join(packages)}", SUITE, str(tree), source])

    return kept(f"{name}-{digest(recipe)}", build, "5 min at most, once")


def site() -> Path:
    """What voxnix imports, as wheels for the host's Python, pinned by `uv.lock`."""
    lock = PROJECT / "uv.lock"

    def build(tree: Path) -> None:
        uv = Path(sys.executable).parent / "uv"
        export = [str(uv), "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--project", str(PROJECT)]
        pins = tree.with_suffix(".txt")
        pins.write_text(quietly(export))
        wanted = ["--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_40", "--only-binary", ":all:"]
        install = [str(uv), "pip", "install", "--quiet", "--no-deps", "--link-mode", "copy", *wanted]
        quietly([*install, "--target", str(tree), "-r", str(pins)])
        pins.unlink()

    return kept(f"site-{digest(lock.read_text(), PYTHON)}", build, "a minute, once")


def app() -> Path:
    """What a host has at `/opt/voxnix`: this checkout's `voxnix` and what it imports, compiled by the host's Python.

    A copy, so that edits during a run do not reach hosts that have been booted.
    """
    host, libraries = host_tree(), site()
    folders = [PROJECT / name for name in ("controller", "nix", "state")]
    files = sorted(path for folder in folders for path in folder.rglob("*") if _source(path))
    content = [f"{path.relative_to(PROJECT)}\0{path.read_bytes().hex()}" for path in files]

    def build(tree: Path) -> None:
        for path in files:
            place = tree / "opt/voxnix/app" / path.relative_to(PROJECT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        shutil.copytree(libraries, tree / "opt/voxnix/site")
        with tree_over(host, tree) as root:
            compiler = ["chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", "-j2", "/opt/voxnix"]
            quietly(compiler)

    return kept(f"app-{digest(host.name, libraries.name, *content)}", build, "20 s")


@contextmanager
def tree_over(lower: Path, upper: Path) -> Iterator[Path]:
    """Both trees as one, for as long as this is open; what is written goes to `upper`."""
    work, root = upper.with_suffix(".work"), upper.with_suffix(".root")
    work.mkdir()
    root.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    quietly(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    try:
        yield root
    finally:
        quietly(["umount", "-l", str(root)])
        root.rmdir()
        shutil.rmtree(work)


def kept(name: str, build: Callable[[Path], None], how_long: str) -> Path:
    """The tree of this name in the cache, built where it is missing; one build at a time, whoever asks."""
    place = cache() / name
    if place.exists():
        return place
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return place
        aside = cache() / f"{name}.building"
        for left in cache().glob(f"{name}.building*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        print(f"test host: building {name} ({how_long}) …", file=sys.stderr, flush=True)
        began = time.monotonic()
        aside.mkdir()
        build(aside)
        aside.rename(place)
        print(f"test host: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        _forget_older(place)
    return place


@contextmanager
def held(*trees: Path) -> Iterator[None]:
    """See that these trees stay in the cache for as long as this is open."""
    with ExitStack() as stack:
        for tree in trees:
            lock = stack.enter_context((cache() / f"{tree.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _forget_older(place: Path) -> None:
    """Of each kind of tree, keep the two newest, and what somebody holds: older recipes do not come back."""
    kind = place.name.partition("-")[0]
    trees = [path for path in cache().glob(f"{kind}-*") if path.is_dir() and "." not in path.name]
    for old in sorted(trees, key=lambda path: path.stat().st_mtime, reverse=True)[2:]:
        with (cache() / f"{old.name}.lock").open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)


def tools(needed: dict[str, str] | None = None) -> None:
    """See that the programs this needs are on the machine; installs their packages where root may."""
    wanted = TOOLS if needed is None else needed
    missing = sorted({package for program, package in wanted.items() if not shutil.which(program)})
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"The test host needs {', '.join(missing)}: install them, or run this as root on Debian.")
    print(f"test host: installing {', '.join(missing)} …", file=sys.stderr, flush=True)
    quietly(["apt-get", "update", "-qq"])
    quietly(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def mirror() -> str:
    """The Debian mirror that this machine's apt is set to."""
    listed = quietly(["apt-get", "indextargets", "--format", "$(REPO_URI)"]) if shutil.which("apt-get") else ""
    for line in listed.splitlines():
        if "debian" in line and "security" not in line:
            return line
    raise SystemExit("The test host is made of Debian packages: it needs an apt that is set to a Debian mirror.")


def quietly(argv: Sequence[str]) -> str:
    """Run a command of this machine to its end; what it printed. Raises SystemExit with its words when it fails."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(list(argv), env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        words = "\n".join((result.stderr.strip() or result.stdout.strip()).splitlines()[-15:])
        raise SystemExit(f"{' '.join(argv[:4])} … failed with exit code {result.returncode}:\n{words}")
    return result.stdout


def digest(*parts: str) -> str:
    """A short name for these parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


if __name__ == "__main__":
    for tree in (host_tree(), base_tree(), site(), app()):
        print(tree)
