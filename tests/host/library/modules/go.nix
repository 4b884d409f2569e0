# Go with its language server
{
  programs = [
    "go"
    "gopls"
  ];
}
