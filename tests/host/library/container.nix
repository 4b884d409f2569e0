# One container from its document, as the product's own nix/container.nix takes it and gives it:
#
#   nix-build container.nix --argstr document /var/lib/voxnix/documents/dev.json
{ document }:
let
  text = builtins.readFile document;
  values = builtins.fromJSON text;
in
assert
  values.version == 1
  || throw "voxnix: a document of version ${toString values.version}";
import ./definition.nix {
  inherit (values) name uid;
  inherit (values.system) modules env tailscale;
  inherit text;
  binds = values.binds;
}
