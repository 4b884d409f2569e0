# The Helix editor (hx)
{
  programs = [ "hx" ];
}
