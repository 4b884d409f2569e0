# The Neovim editor, as EDITOR
{
  programs = [ "nvim" ];
  etc."profile.d/neovim.sh" = ''
    export EDITOR=nvim
  '';
}
