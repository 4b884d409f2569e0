# The Neovim editor, as EDITOR
{
  programs.neovim = {
    enable = true;
    defaultEditor = true;
  };
}
