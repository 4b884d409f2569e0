# One container, built from its document into what `extra-container create` installs:
#
#   nix-build container.nix --argstr document /var/lib/voxnix/documents/dev.json
{
  document,
  nixpkgs ? import ./nixpkgs.nix,
  system ? builtins.currentSystem,
}:
let
  pkgs = import nixpkgs { inherit system; };
  # extra-container's reduced evaluation of a host with nothing but containers, of the version in nixpkgs.
  evaluate = import "${pkgs.extra-container.src}/eval-config.nix";
in
(evaluate {
  inherit system;
  nixosPath = "${toString nixpkgs}/nixos";
  legacyInstallDirs = false;
  systemConfig = import ./definition.nix (builtins.readFile document);
}).config.system.build.etc
