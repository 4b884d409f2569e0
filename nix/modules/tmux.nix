# The tmux terminal multiplexer
{
  programs.tmux.enable = true;
}
