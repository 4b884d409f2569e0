# Store paths from the host's own programs: no nixpkgs, no sandbox.
rec {
  # A derivation whose builder is a shell script; `env` are variables that it sees. The shell itself has the last word:
  # Nix kills what is still there once output is closed, and coreutils close theirs before they end.
  derive =
    name: env: script:
    derivation (
      {
        inherit name;
        system = builtins.currentSystem;
        builder = "/bin/bash";
        args = [
          "-euc"
          "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; umask 022; ${script}\nexit 0"
        ];
        preferLocalBuild = true;
      }
      // env
    );

  # A file with this text at PLACE of a store path, or as the store path itself where the place is "".
  fileOf =
    mode: name: place: text:
    derive name {
      inherit text place mode;
      passAsFile = [ "text" ];
    } ''
      file=$out''${place:+/$place}
      mkdir -p "$(dirname "$file")"
      cp "$textPath" "$file"
      chmod "$mode" "$file"
    '';
  file = fileOf "444";
  script = fileOf "555";

  concat = builtins.concatStringsSep "";
  lines = list: concat (map (line: line + "\n") list);
  optional = condition: value: if condition then [ value ] else [ ];

  # A word for the shell, and for fish.
  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";
  quoteFish = text: "'${builtins.replaceStrings [ "\\" "'" ] [ "\\\\" "\\'" ] text}'";
}
