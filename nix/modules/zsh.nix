# The Z shell, as login shell of `dev` unless module fish is there too
{ lib, pkgs, ... }:
{
  programs.zsh.enable = true;
  users.users.dev.shell = lib.mkOverride 95 pkgs.zsh;
}
