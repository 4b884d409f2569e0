# The system of a container: what its conf file calls SYSTEM_PATH. Debian's programs, configured by modules.
{
  make,
  name,
  modules,
  env,
  text,
}:
let
  inherit (make)
    concat
    lines
    quote
    quoteFish
    ;

  # What the chosen modules say under a key, together.
  from = key: builtins.foldl' (all: module: all // (module.${key} or { })) { } chosen;

  stem = file: builtins.head (builtins.match "(.*)\\.nix" file);
  isModule = file: builtins.match ".*\\.nix" file != null;
  files = builtins.filter isModule (builtins.attrNames (builtins.readDir ./modules));
  library = builtins.listToAttrs (
    map (file: {
      name = stem file;
      value = ./modules + "/${file}";
    }) files
  );
  known = builtins.concatStringsSep ", " (builtins.attrNames library);
  find = wanted: library.${wanted} or (throw "voxnix: no module named '${wanted}'; there are ${known}");
  read =
    path:
    let
      module = import path;
    in
    if builtins.isFunction module then module { inherit make; } else module;

  # A module is a set, or a function to one, of: `programs` (names in sw/bin, the base's own or stand-ins), `scripts`
  # (programs by their text), `etc` (files by their text), `units` (`text`, `wantedBy`; with neither: masked), `shell`
  # of `dev` (the lowest `rank` wins), `init` (what runs before systemd), `needs` (what must be built first).
  chosen = [ (read ./guest.nix) ] ++ map (wanted: read (find wanted)) modules;
  shells = builtins.filter (module: module ? shell) chosen;
  rank = builtins.sort (a: b: a.shell.rank < b.shell.rank) shells;
  shell = (builtins.head rank).shell.path;

  etc =
    from "etc"
    // {
      "hostname" = name + "\n";
      "fish/conf.d/set-environment.fish" = lines (
        map (key: "set -gx ${key} ${quoteFish env.${key}}") (builtins.attrNames env)
      );
      "set-environment" = lines (map (key: "export ${key}=${quote env.${key}}") (builtins.attrNames env));
    }
    // (if text == null then { } else { "voxnix/container.json" = text; });
  units = from "units";
  owned = builtins.concatLists (map (path: (read path).programs or [ ]) (builtins.attrValues library));
  programs = builtins.concatLists (map (module: module.programs or [ ]) chosen);

  # Shell lines for the builder, in the words of build.sh.
  put = mode: place: content: "put ${mode} ${quote place} ${quote content}";
  unitLines =
    unit:
    let
      value = units.${unit};
      place = "systemd/system/${unit}";
      want = target: "want ${quote target} ${quote unit}";
    in
    if value ? text then
      [ (put "444" "etc/${place}" value.text) ] ++ map want (value.wantedBy or [ ])
    else if value ? wantedBy then
      map want value.wantedBy
    else
      [ "mask ${quote unit}" ];
in
make.derive "nixos-system-${name}-26.05"
  {
    inherit owned programs shell;
    init = builtins.readFile ./init.sh;
    activate = builtins.readFile ./activate.sh;
    switch = builtins.readFile ./switch.sh;
    beforeInit = concat (map (module: module.init or "") chosen);
    needed = builtins.concatLists (map (module: module.needs or [ ]) chosen);
    scripts = lines (
      map (program: put "555" "sw/bin/${program}" (from "scripts").${program}) (
        builtins.attrNames (from "scripts")
      )
    );
    files = lines (map (place: put "444" "etc/${place}" etc.${place}) (builtins.attrNames etc));
    unitFiles = lines (builtins.concatLists (map unitLines (builtins.attrNames units)));
    system = builtins.currentSystem;
    passAsFile = [
      "files"
      "unitFiles"
      "scripts"
    ];
  }
  ''
    . ${./build.sh}
  ''
