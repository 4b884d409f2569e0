# Everyday tools: curl, jq, ripgrep, fd, htop, unzip
{
  programs = [
    "curl"
    "fd"
    "file"
    "htop"
    "jq"
    "rg"
    "unzip"
  ];
}
