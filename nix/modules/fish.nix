# The fish shell, as login shell of `dev`
{ lib, pkgs, ... }:
{
  programs.fish.enable = true;
  users.users.dev.shell = lib.mkOverride 90 pkgs.fish;
}
