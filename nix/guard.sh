# Runs before a container starts, as root on the host; $root is its root tree, where nothing runs now.
#
# NixOS' start script goes through that tree: it makes directories, changes modes, creates files. What ran in the
# container may have left symlinks there that lead to places of the host. They go; nothing of worth is in this tree.
declare root
for place in "" /etc /nix /root /usr /usr/bin /var /var/lib /var/lib/private /var/log /var/log/journal; do
    if [[ -L $root$place ]] || [[ -e $root$place && ! -d $root$place ]]; then
        rm -f "$root$place"
    fi
done
for place in /etc/machine-id /etc/resolv.conf; do
    if [[ -L $root$place ]] || [[ -e $root$place && ! -f $root$place ]]; then
        rm -rf "${root:?}$place"
    fi
done

# An nspawn that was killed leaves this mount, over which the next one would stumble for ever.
export_of=/run/systemd/nspawn/unix-export/$INSTANCE
if [[ -e $export_of ]]; then
    umount -l "$export_of" || true
    rmdir "$export_of" || true
fi
