# The Helix editor (hx)
{ pkgs, ... }:
{
  environment.systemPackages = [ pkgs.helix ];
}
