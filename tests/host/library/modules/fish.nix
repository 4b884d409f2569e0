# The fish shell, as login shell of `dev`
{
  programs = [ "fish" ];
  shell = {
    rank = 90;
    path = "/run/current-system/sw/bin/fish";
  };
}
