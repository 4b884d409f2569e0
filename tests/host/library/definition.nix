# What `extra-container create` installs: the unit of one container and its conf file, as NixOS lays them out.
{
  name,
  uid,
  modules,
  env,
  tailscale,
  text,
  binds,
}:
let
  make = import ./make.nix;
  inherit (make) concat lines;

  system = import ./system.nix {
    inherit
      make
      name
      modules
      env
      text
      ;
  };
  unit = import ./unit.nix {
    inherit
      make
      name
      tailscale
      ;
    sources = map (bind: bind.host) sorted;
    timeout = env.VOXNIX_TEST_TIMEOUT or "5min";
  };

  # Stable for a container's whole life, as in the product's library.
  hash = builtins.hashString "sha256" uid;
  pair = i: builtins.substring (2 * i) 2 hash;
  mac = builtins.concatStringsSep ":" ([ "02" ] ++ map pair [ 0 1 2 3 4 ]);

  sorted = builtins.sort (a: b: a.guest < b.guest) binds;
  flag = bind: " --bind${if bind.readOnly then "-ro" else ""}=${bind.host}:${bind.guest}";
  conf = make.file "etc-${name}.conf" "" (lines [
    "SYSTEM_PATH=${system}"
    ""
    "PRIVATE_NETWORK=1"
    "HOST_BRIDGE=br-vox"
    "LOCAL_MAC_ADDRESS=${mac}"
    ""
    "PRIVATE_USERS=no"
    "INTERFACES=\"\""
    "MACVLANS=\"\""
    ""
    "EXTRA_NSPAWN_FLAGS=\"${concat (map flag sorted)}\""
  ]);
in
make.derive "etc"
  {
    inherit unit conf;
    container = name;
  }
  ''
    mkdir -p "$out/etc/systemd/system" "$out/etc/nixos-containers"
    ln -s "$unit/container@$container.service" "$out/etc/systemd/system/"
    ln -s "$conf" "$out/etc/nixos-containers/$container.conf"
  ''
