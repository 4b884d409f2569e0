# Git
{
  programs.git.enable = true;
}
