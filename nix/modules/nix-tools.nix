# Flakes, and tools for writing Nix: nil, nix-tree, statix
{ pkgs, ... }:
{
  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];
  environment.systemPackages = with pkgs; [
    nil
    nix-tree
    statix
  ];
}
