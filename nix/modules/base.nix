# Everyday tools: curl, jq, ripgrep, fd, htop, unzip
{ pkgs, ... }:
{
  environment.systemPackages = with pkgs; [
    curl
    fd
    file
    htop
    jq
    ripgrep
    unzip
  ];
}
