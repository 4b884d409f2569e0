# Git
{
  programs = [ "git" ];
}
