# One container as a NixOS module of its host, from the text of its document.
text:
{
  lib,
  options,
  pkgs,
  ...
}:
let
  document = builtins.fromJSON text;
  wanted = document.system;

  library = lib.mapAttrs' (file: _: lib.nameValuePair (lib.removeSuffix ".nix" file) (./modules + "/${file}")) (
    lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir ./modules)
  );
  known = lib.concatStringsSep ", " (lib.attrNames library);
  module = name: library.${name} or (throw "voxnix: no module named '${name}'; there are ${known}");

  # Stable for a container's whole life, so that DHCP gives it the same address again: locally administered, unicast.
  hash = builtins.hashString "sha256" document.uid;
  mac = lib.concatStringsSep ":" ([ "02" ] ++ map (i: builtins.substring (2 * i) 2 hash) (lib.range 0 4));
  fixesAddress = (options.containers.type.getSubOptions [ ]) ? localMacAddress;
in
assert lib.assertMsg (document.version == 1) "voxnix: a document of version ${toString document.version}";
{
  containers.${document.name} = {
    autoStart = false;
    ephemeral = false;
    timeoutStartSec = "5min";

    privateNetwork = true;
    hostBridge = "br-vox";
    enableTun = wanted.tailscale;

    bindMounts = lib.listToAttrs (
      map (
        bind:
        lib.nameValuePair bind.guest {
          hostPath = bind.host;
          isReadOnly = bind.readOnly;
        }
      ) document.binds
    );

    config = {
      imports = [ ./guest.nix ] ++ map module wanted.modules;
      environment.etc."voxnix/container.json".text = text;
      environment.variables = wanted.env;
    };
  }
  // lib.optionalAttrs fixesAddress { localMacAddress = mac; };

  systemd.services."container@${document.name}".preStart = lib.mkBefore ''
    PATH=${pkgs.util-linux}/bin:$PATH
    ${builtins.readFile ./guard.sh}
  '';
}
