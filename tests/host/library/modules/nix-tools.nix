# Flakes, and tools for writing Nix: nil, nix-tree, statix
{
  programs = [
    "nil"
    "nix-tree"
    "statix"
  ];
}
