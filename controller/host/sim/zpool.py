"""zpool of the simulated host: `list` and `status`."""

from __future__ import annotations

from collections.abc import Sequence

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.zfs import nice, table
from controller.host.sim.zfs_args import parse
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Sizes, Tree


async def zpool(call: Call) -> Answer:
    """The `zpool` command: `list` and `status`."""
    verb, *rest = call.args or ("",)
    if verb in ("version", "--version", "-V"):
        return Answer(out="zfs-2.3.4-1\nzfs-kmod-2.3.4-1\n")
    if verb not in ("list", "status"):
        raise Refusal(f"unrecognized command '{verb}'\nusage: zpool command args ...\n", 2)
    found, names = parse(rest, "Hpvxo:", "zpool " + verb)
    tree = Disk(call.world).tree()
    for name in names:
        if name not in tree.pools:
            raise Refusal(f"cannot open '{name}': no such pool")
    wanted = names or list(tree.pools)
    flags = dict(found)
    if verb == "status":
        return _status(tree, wanted, "-x" in flags)
    columns = flags.get("-o", "name,size,alloc,free,cap,health").split(",")
    sizes = Sizes(tree, Disk(call.world).sizer(tree))
    rows: list[tuple[str, ...]] = []
    for name in wanted:
        values = _pool(tree, sizes, name, exact="-p" in flags)
        unknown = [each for each in columns if each not in values]
        if unknown:
            raise Refusal(f"bad property list: invalid property '{unknown[0]}'\nusage:\n\tlist [-gHLpPv]", 2)
        rows.append(tuple(values[each] for each in columns))
    if not rows and "-H" not in flags:
        return Answer(out="no pools available\n")
    return Answer(out=table(rows, columns, bare="-H" in flags))


def _pool(tree: Tree, sizes: Sizes, name: str, *, exact: bool) -> dict[str, str]:
    pool = tree.pools[name]
    used = sizes.used(tree.datasets[name]) + int(pool["other"])
    size = int(pool["size"])
    show = str if exact else nice
    share = str(used * 100 // size) + ("" if exact else "%")
    return {
        "name": name,
        "health": pool["health"],
        "size": show(size),
        "alloc": show(used),
        "allocated": show(used),
        "free": show(max(size - used, 0)),
        "cap": share,
        "capacity": share,
    }


def _status(tree: Tree, names: Sequence[str], only_trouble: bool) -> Answer:
    ill = [name for name in names if tree.pools[name]["health"] != "ONLINE"]
    if only_trouble and not ill:
        return Answer(out="all pools are healthy\n")
    blocks = [f"  pool: {name}\n state: {tree.pools[name]['health']}\n" for name in (ill if only_trouble else names)]
    return Answer(out="\n".join(blocks))
