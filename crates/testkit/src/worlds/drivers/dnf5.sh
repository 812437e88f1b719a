# Goes through the cases: makes this container the host of the case, then asks dnf 5.
set -eu
cp /etc/dnf/dnf.conf /main.conf
for number in $(seq 0 $(($1 - 1))); do
    case=/cases/$number
    rm -rf /var/lib/rpm /var/cache/libdnf5 /var/lib/dnf /etc/yum.repos.d /etc/dnf/modules.d
    mkdir -p /var/lib/rpm /etc/yum.repos.d /etc/dnf/modules.d
    rpm --initdb
    if [ -s "$case/installed" ]; then
        sed 's,^,/universe/,' "$case/installed" >/files
        xargs -a /files rpm -i --justdb --nodeps --noscripts --force --ignorearch --nosignature --quiet
    fi
    sed "s,@CASE@,$case," "$case/lab.repo" >/etc/yum.repos.d/lab.repo
    cat /main.conf "$case/main.conf" >/etc/dnf/dnf.conf
    cp "$case"/modules.d/* /etc/dnf/modules.d/ 2>/dev/null || true
    ask() {
        name=$1
        shift
        code=0
        dnf5 -q "$@" >"$case/out/$name" 2>"$case/out/$name.err" || code=$?
        echo $code >"$case/out/$name.code"
    }
    ask check-update check-upgrade
    ask advisories advisory list --json
    ask advisories-updates advisory list --updates --json
done
