# Go with its language server
{ pkgs, ... }:
{
  environment.systemPackages = [
    pkgs.gcc
    pkgs.go
    pkgs.gopls
  ];
}
