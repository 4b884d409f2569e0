# The nixpkgs that systems are built from: the revision in flake.lock where there is one, else root's channel.
let
  lock = ../flake.lock;
  locked = (builtins.fromJSON (builtins.readFile lock)).nodes.nixpkgs.locked;
in
if builtins.pathExists lock then
  fetchTarball {
    url = "https://github.com/${locked.owner}/${locked.repo}/archive/${locked.rev}.tar.gz";
    sha256 = locked.narHash;
  }
else
  <nixpkgs>
