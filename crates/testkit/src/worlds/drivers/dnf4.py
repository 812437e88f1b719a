# Goes through the cases: makes this container the host of the case, then asks dnf 4. Each question runs in a fork, so that dnf
# is imported only once.
import os
import shutil
import subprocess
import sys

import dnf
import dnf.cli.main

QUESTIONS = {
    "check-update": ["-q", "check-update"],
    "advisories": ["-q", "updateinfo", "list"],
    "advisories-updates": ["-q", "updateinfo", "list", "--updates"],
}
MAIN = open("/etc/dnf/dnf.conf").read()


def wipe(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def prepare(case):
    wipe("/var/lib/rpm")
    wipe("/var/cache/dnf")
    wipe("/var/lib/dnf")
    wipe("/etc/dnf/modules.d")
    wipe("/etc/yum.repos.d")
    subprocess.run(["rpm", "--initdb"], check=True)
    files = ["/universe/" + line.strip() for line in open(case + "/installed")]
    if files:
        # Versions beside each other are meant; nothing of a package's files matters here.
        subprocess.run(
            ["rpm", "-i", "--justdb", "--nodeps", "--noscripts", "--force", "--ignorearch", "--nosignature", "--quiet"] + files,
            check=True,
        )
    repo = open(case + "/lab.repo").read().replace("@CASE@", case)
    open("/etc/yum.repos.d/lab.repo", "w").write(repo)
    open("/etc/dnf/dnf.conf", "w").write(MAIN + open(case + "/main.conf").read())
    shutil.copy(case + "/locks", "/etc/dnf/plugins/versionlock.list")
    for name in os.listdir(case + "/modules.d"):
        shutil.copy(case + "/modules.d/" + name, "/etc/dnf/modules.d/" + name)


def question(case, name, arguments):
    child = os.fork()
    if child == 0:
        out = os.open(f"{case}/out/{name}", os.O_CREAT | os.O_WRONLY, 0o644)
        err = os.open(f"{case}/out/{name}.err", os.O_CREAT | os.O_WRONLY, 0o644)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w")
        code = 70
        try:
            code = dnf.cli.main.main(arguments)
        except BaseException as error:  # noqa: BLE001: the child must not return
            print(error, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    _, status = os.waitpid(child, 0)
    open(f"{case}/out/{name}.code", "w").write(str(os.waitstatus_to_exitcode(status)))


for number in range(int(sys.argv[1])):
    case = f"/cases/{number}"
    prepare(case)
    for name, arguments in QUESTIONS.items():
        question(case, name, arguments)
