{
  description = "voxnix: dev containers on your own NixOS box, converged from a git repository";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = _: {
    # The host below voxnix. `flake.lock`, once made, also pins what containers are built from: see nix/nixpkgs.nix.
    nixosModules.default = ./nix/host.nix;
  };
}
