"""The virtual machine's disk: a Debian host with OpenZFS as a kernel module, built once and kept in the cache.

    python -m tests.vm.image      # build what is missing, and say where it is

Three pieces, each under the digest of its own recipe: the kernel with OpenZFS built for it (minutes), the Debian
tree (a minute), and the disk, on which the files of the test host and this checkout's voxnix lie over both (seconds).
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.host import fleet as host
from tests.host import image

TREE = Path(__file__).parent / "tree"
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mke2fs": "e2fsprogs",
}
COMPONENTS = "main contrib"
KERNEL = ("linux-image-cloud-amd64", "linux-headers-cloud-amd64", "initramfs-tools", "zstd", "kmod", "dkms")
HOST = (*image.HOST, "udev", "kmod", "zfsutils-linux")
DISK = "6G"
"""The size of the root disk; sparse."""

BUILD = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends zfs-dkms
version=$(basename "$(echo /lib/modules/*-amd64)")
test -n "$(find "/lib/modules/$version/updates" -name 'zfs.ko*')"
printf '%s\n' virtio_blk virtio_pci virtio_net virtio_console ext4 > /etc/initramfs-tools/modules
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
depmod "$version"
update-initramfs -c -k "$version" || update-initramfs -u -k "$version"
echo "$version" > /voxnix-kernel
"""
"""What is done in the kernel's Debian tree: OpenZFS is built, and an initrd that finds the disk."""

SET_UP = r"""
echo voxnix > /etc/hostname
rm -f /vmlinuz /initrd.img /usr/local/sbin/umount /usr/local/sbin/zfs
rm -f /etc/systemd/system/sysinit.target.wants/zfs-fuse.service
for unit in zfs-fuse zfs-zed systemd-networkd-wait-online; do
  ln -sf /dev/null /etc/systemd/system/$unit.service
done
mkdir -p /nix/store /nix/var/nix/gcroots
ln -sfn /nix/var/nix/profiles /nix/var/nix/gcroots/profiles
systemctl enable hands.service
"""
"""What is done in the host's tree before it becomes a disk. The shim around umount is for ZFS on FUSE alone."""


def kernel() -> Path:
    """`vmlinuz`, `initrd.img`, and `usr/lib/modules/VERSION` with OpenZFS among the modules; nothing else of a host."""

    def build(target: Path) -> None:
        image.tools(TOOLS)
        tree, script = target / "tree", target / "build.sh"
        script.write_text(BUILD)
        hooks = [f'--customize-hook=cp {script} "$1/build.sh"', '--customize-hook=chroot "$1" sh /build.sh']
        _bootstrap(tree, KERNEL, hooks)
        version = (tree / "voxnix-kernel").read_text().strip()
        modules = target / "usr/lib/modules" / version
        modules.parent.mkdir(parents=True)
        (tree / "usr/lib/modules" / version).rename(modules)
        for link in ("build", "source"):
            (modules / link).unlink(missing_ok=True)
        (tree / "boot" / f"vmlinuz-{version}").rename(target / "vmlinuz")
        (tree / "boot" / f"initrd.img-{version}").rename(target / "initrd.img")
        script.unlink()
        shutil.rmtree(tree)

    recipe = image.digest(image.SUITE, *KERNEL, COMPONENTS, BUILD)
    return image.kept(f"kernel-{recipe}", build, "15 min, once: OpenZFS is built as a kernel module")


def _bootstrap(tree: Path, packages: Sequence[str], hooks: Sequence[str]) -> None:
    leave_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in image.UNWANTED]
    source = f"deb [trusted=yes] {image.mirror()} {image.SUITE} {COMPONENTS}"
    argv = ["mmdebstrap", "--variant=minbase", "--mode=root", "--skip=check/empty", *leave_out, *hooks]
    image.quietly(["nice", "-n", "10", *argv, f"--include={','.join(packages)}", image.SUITE, str(tree), source])


def host_tree() -> Path:
    """The Debian tree, with OpenZFS' own tools; nothing of it is set up yet."""
    image.tools(TOOLS)
    return image.debian("vm", "minbase", HOST, components=COMPONENTS)


def disk() -> Path:
    """A directory with `root.img`, `vmlinuz` and `initrd.img`: all that booting needs."""
    lowers = [kernel(), host_tree(), image.app()]
    ours = [host.TREE, host.LIBRARY, TREE]
    content = [f"{name}\0{data.hex()}" for tree in ours for name, data in _content(tree)]
    trees = [tree.name for tree in (*lowers, image.base_tree())]
    recipe = image.digest(DISK, SET_UP, inspect.getsource(host), *trees, *content)

    def build(target: Path) -> None:
        image.tools(TOOLS)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(lowers[0] / name, target / name)
        with layered([*lowers, _laid(target / "laid")], target / "over") as root:
            image.quietly(["chroot", str(root), "sh", "-euc", SET_UP])
            with bound(image.base_tree(), root / "nix/base"):
                make = ["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-d", str(root)]
                image.quietly([*make, str(target / "root.img"), DISK])
        for scratch in ("over", "laid"):
            shutil.rmtree(target / scratch)

    return image.kept(f"disk-{recipe}", build, "a minute")


def _laid(layer: Path) -> Path:
    """What makes the Debian tree a host for voxnix: all of the other test hosts, with another ZFS, and `hands`."""
    shutil.copytree(host.TREE, layer, symlinks=True)
    shutil.copytree(host.LIBRARY, layer / host.SHARED / "library")
    host.set_up(layer)
    shutil.copytree(TREE, layer, symlinks=True, dirs_exist_ok=True)
    return layer


@contextmanager
def layered(lowers: Sequence[Path], scratch: Path) -> Iterator[Path]:
    """Trees as one, later ones over earlier ones, for as long as this is open; writes stay in `scratch`."""
    upper, work, root = (scratch / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    below = ":".join(str(tree) for tree in reversed(lowers))
    options = f"lowerdir={below},upperdir={upper},workdir={work}"
    image.quietly(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    try:
        yield root
    finally:
        image.quietly(["umount", str(root)])


@contextmanager
def bound(tree: Path, place: Path) -> Iterator[None]:
    """A tree seen at another place, for as long as this is open."""
    place.mkdir(parents=True, exist_ok=True)
    image.quietly(["mount", "--bind", str(tree), str(place)])
    try:
        yield
    finally:
        image.quietly(["umount", str(place)])


def _content(tree: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(tree).as_posix(), path.read_bytes()


if __name__ == "__main__":
    print(disk())
