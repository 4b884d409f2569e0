# A container that bears no mark of voxnix: a name, and what is bound into it as `HOST:GUEST`, with spaces between.
#
#   nix-build foreign.nix --argstr name web --argstr binds "/srv/web:/web"
{
  name,
  binds ? "",
}:
let
  strings = builtins.filter (part: builtins.isString part && part != "");
  pairs = strings (builtins.split " +" binds);
  bind = pair: {
    host = builtins.elemAt (strings (builtins.split ":" pair)) 0;
    guest = builtins.elemAt (strings (builtins.split ":" pair)) 1;
    readOnly = false;
  };
in
import ./definition.nix {
  inherit name;
  uid = name;
  modules = [ ];
  env = { };
  tailscale = false;
  text = null;
  binds = map bind pairs;
}
