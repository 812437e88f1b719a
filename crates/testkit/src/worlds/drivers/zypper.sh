# Goes through the cases: makes this container the host of the case, then asks zypper.
set -eu
for number in $(seq 0 $(($1 - 1))); do
    case=/cases/$number
    rm -rf /var/lib/rpm /var/cache/zypp /etc/zypp/repos.d /etc/zypp/locks
    mkdir -p /var/lib/rpm /etc/zypp/repos.d
    rpm --initdb
    if [ -s "$case/installed" ]; then
        sed 's,^,/universe/,' "$case/installed" >/files
        xargs -a /files rpm -i --justdb --nodeps --noscripts --force --ignorearch --nosignature --quiet
    fi
    cp "$case/zypp-locks" /etc/zypp/locks
    sed -e "s,@CASE@,$case," -e 's/file:\/\//dir:/' "$case/lab.repo" >/etc/zypp/repos.d/lab.repo
    ask() {
        name=$1
        shift
        code=0
        zypper --non-interactive --no-gpg-checks --xmlout "$@" >"$case/out/$name" 2>"$case/out/$name.err" || code=$?
        echo $code >"$case/out/$name.code"
    }
    ask refresh refresh
    ask list-updates list-updates
    ask list-patches list-patches
done
