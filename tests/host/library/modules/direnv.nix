# direnv, with cached Nix shells
{
  programs = [ "direnv" ];
}
