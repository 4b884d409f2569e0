# Builds a system into $out; the variables are those of system.nix.
base=/nix/base

# put MODE PLACE CONTENT: a file of the system.
put() {
    mkdir -p "$(dirname "$out/$2")"
    rm -f "$out/$2"
    printf %s "$3" > "$out/$2"
    chmod "$1" "$out/$2"
}

# mask UNIT, want TARGET UNIT: as `systemctl mask` and `add-wants` would.
mask() {
    ln -sfn /dev/null "$units/$1"
}
want() {
    mkdir -p "$units/$1.wants"
    local place=/usr/lib/systemd/system/$2
    [[ ! -e $units/$2 ]] || place=../$2
    ln -sfn "$place" "$units/$1.wants/"
}

mkdir -p "$out/bin" "$out/sw/bin"
cp -a "$base/etc" "$out/etc"
# What Debian's packages enabled, and what belongs to one machine, is not the system's.
rm -rf "$out"/etc/{systemd/system,machine-id,resolv.conf,hostname,.pwd.lock,credstore,credstore.encrypted}
units=$out/etc/systemd/system
mkdir -p "$units"
ln -sfn /proc/self/mounts "$out/etc/mtab"
ln -sfn /usr/lib/os-release "$out/etc/os-release"
printf '\n. /etc/set-environment\n' >> "$out/etc/profile"

printf 'dev:x:1000:100::/home/dev:%s\n' "$shell" >> "$out/etc/passwd"
printf 'dev:!:1::::::\n' >> "$out/etc/shadow"
printf 'wheel:x:900:dev\n' >> "$out/etc/group"

for folder in bin sbin; do
    (cd "$base/usr/$folder" && printf "/usr/$folder/%s\0" *) | xargs -0 ln -sft "$out/sw/bin"
done
for program in $owned; do
    rm -f "$out/sw/bin/$program"
done
for program in $programs; do
    if [[ -e $base/usr/bin/$program ]]; then
        ln -s "/usr/bin/$program" "$out/sw/bin/"
    else
        put 555 "sw/bin/$program" "#!/bin/sh
echo '$program: a stand-in without a program behind it'
"
    fi
done

. "$filesPath"
. "$unitFilesPath"
. "$scriptsPath"
put 555 init "#!/bin/bash
${beforeInit}${init#*$'\n'}"
put 555 activate "$activate"
put 555 bin/switch-to-configuration "$switch"
put 444 nixos-version 26.05
put 444 system "$system"
chmod -R u+w "$out/etc"
