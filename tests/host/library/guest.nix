# What every container has: an address by DHCP, a user `dev`, and no unit that only a machine of its own needs.
let
  mask = unit: {
    name = unit;
    value = { };
  };
in
{
  shell = {
    rank = 100;
    path = "/bin/bash";
  };

  etc = {
    "fstab" = "";
    # NixOS' systemd knows that the store cannot be unmounted while anything runs.
    "systemd/system/nix-store.mount.d/keep.conf" = ''
      [Unit]
      DefaultDependencies=no
    '';
    # Started when somebody logs in, by D-Bus: an empty file takes the place of Debian's link.
    "systemd/system/multi-user.target.wants/systemd-logind.service" = "";
    "systemd/network/10-eth0.network" = ''
      [Match]
      Name=eth0

      [Network]
      DHCP=ipv4
      IPv6AcceptRA=no
      LinkLocalAddressing=no

      [DHCPv4]
      ClientIdentifier=mac
      RapidCommit=yes
      UseHostname=no
    '';
  };

  units = builtins.listToAttrs (
    map mask [
      "console-getty.service"
      "dev-hugepages.mount"
      "getty.target"
      "ldconfig.service"
      "sys-fs-fuse-connections.mount"
      "sys-kernel-config.mount"
      "sys-kernel-debug.mount"
      "sys-kernel-tracing.mount"
      "systemd-firstboot.service"
      "systemd-hwdb-update.service"
      "systemd-journal-catalog-update.service"
      "systemd-networkd-persistent-storage.service"
      "systemd-networkd-wait-online.service"
      "systemd-pstore.service"
      "systemd-random-seed.service"
      "systemd-sysctl.service"
      "systemd-sysusers.service"
      "systemd-update-done.service"
      "systemd-update-utmp.service"
    ]
  )
  // {
    "systemd-networkd.service".wantedBy = [ "multi-user.target" ];
    "systemd-networkd.socket".wantedBy = [ "sockets.target" ];
  };
}
