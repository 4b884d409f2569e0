# Node.js with npm
{ pkgs, ... }:
{
  environment.systemPackages = [ pkgs.nodejs ];
}
