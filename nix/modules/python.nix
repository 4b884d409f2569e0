# Python 3 with uv; wheels with binaries run too
{ pkgs, ... }:
{
  environment.systemPackages = [
    pkgs.python3
    pkgs.uv
  ];
  programs.nix-ld.enable = true;
}
