# The tmux terminal multiplexer
{
  programs = [ "tmux" ];
}
