"""voxnix on a real host: systemd as PID 1, machined, nspawn, Nix and ZFS, in namespaces of this machine.

`image` builds the host's trees from Debian packages and keeps them; `machine` boots hosts from them; the tests drive
hosts as people do. Needs root on Linux, for namespaces and mounts; nothing of a host stays when its test has ended.
"""
