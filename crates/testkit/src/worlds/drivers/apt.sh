# Goes through the cases: makes this container the host of the case, then asks apt.
set -eu
dpkg --add-architecture i386
rm -rf /etc/apt/sources.list.d/* /etc/apt/preferences.d/*
for number in $(seq 0 $(($1 - 1))); do
    case=/cases/$number
    rm -rf /var/lib/apt/lists /var/cache/apt/*.bin
    mkdir -p /var/lib/apt/lists/partial
    cp "$case/status" /var/lib/dpkg/status
    sed "s,@CASE@,$case," "$case/sources.list" >/etc/apt/sources.list
    cp "$case/preferences" /etc/apt/preferences
    cp "$case/apt.conf" /etc/apt/apt.conf
    ask() {
        name=$1
        shift
        code=0
        "$@" >"$case/out/$name" 2>"$case/out/$name.err" || code=$?
        echo $code >"$case/out/$name.code"
    }
    ask update apt-get -qq update
    ask upgradable apt list --upgradable
    ask policy sh -c 'apt-cache policy $(dpkg-query -W -f "\${binary:Package} ")'
done
