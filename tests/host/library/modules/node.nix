# Node.js with npm
{
  programs = [
    "node"
    "npm"
  ];
}
