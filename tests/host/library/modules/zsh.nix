# The Z shell, as login shell of `dev` unless module fish is there too
{
  programs = [ "zsh" ];
  shell = {
    rank = 95;
    path = "/bin/bash";
  };
}
