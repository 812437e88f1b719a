# Speaks for dnf 4: reads one JSON request, prints one line "DRYDOCK-RESULT {json}". Everything else on standard
# output is for people. Runs with the interpreter of the host's own dnf (Python 3.6 and later).
import json
import logging
import re

import dnf
import dnf.exceptions
import dnf.rpm
import dnf.transaction
import dnf.yum.rpmtrans
import hawkey
import libdnf.transaction

TYPES = {hawkey.ADVISORY_SECURITY: 'security', hawkey.ADVISORY_BUGFIX: 'bugfix',
         hawkey.ADVISORY_ENHANCEMENT: 'enhancement'}
RANK = ['security', 'bugfix', 'enhancement', 'unknown']
# Why a package is installed; what dnf calls unknown is kept as a person's wish by dnf itself.
MARKS = {libdnf.transaction.TransactionItemReason_USER: 'PERSON',
         libdnf.transaction.TransactionItemReason_DEPENDENCY: 'DEPENDENCY',
         libdnf.transaction.TransactionItemReason_WEAK_DEPENDENCY: 'WEAK_DEPENDENCY',
         libdnf.transaction.TransactionItemReason_GROUP: 'GROUP'}
# Updates whose absence from a plan is explained by a solver run of its own, about 10 ms each.
EXPLAINED_MAX = 50
SEVERITIES = ['Critical', 'Important', 'Moderate', 'Low']


class Refused(Exception):
    """The request cannot be fulfilled; the text is for people."""


class LockWords(logging.Handler):
    """Hears rpm say that another program holds its lock: dnf's own error does not tell that from other failures."""

    def __init__(self):
        super().__init__()
        self.said = None

    def emit(self, record):
        message = record.getMessage()
        if 'transaction lock' in message:
            self.said = message


def transact(base, display):
    """Runs the transaction. LockError: another program holds the database, nothing was changed."""
    words = LockWords()
    log = logging.getLogger('dnf')
    log.addHandler(words)
    try:
        base.do_transaction(display)
    except dnf.exceptions.Error:
        if words.said:
            raise dnf.exceptions.LockError(words.said)
        raise
    finally:
        log.removeHandler(words)


def evr(pkg):
    epoch = '%s:' % pkg.epoch if pkg.epoch else ''
    return '%s%s-%s' % (epoch, pkg.version, pkg.release)


def open_base(only_cache):
    base = dnf.Base()
    base.barred = {}
    conf = base.conf
    conf.read()
    conf.assumeyes = True
    conf.best = False
    conf.exit_on_lock = True
    conf.substitutions.update_from_etc(conf.installroot)
    if not conf.substitutions.get('releasever'):
        conf.substitutions['releasever'] = dnf.rpm.detect_releasever(conf.installroot) or ''
    # It shows a command's summary and cannot do without the command line.
    base.init_plugins(disabled_glob=['show_leaves', 'show-leaves'])
    base.pre_configure_plugins()
    base.read_all_repos()
    base.configure_plugins()
    for repo in base.repos.iter_enabled():
        # One broken repository must not hide the others.
        repo.skip_if_unavailable = True
        if only_cache:
            repo._repo.setSyncStrategy(dnf.repo.SYNC_ONLY_CACHE)
    return base


def fill(base):
    """Loads what can be loaded; returns the findings."""
    findings = []
    for repo in list(base.repos.iter_enabled()):
        try:
            repo.load()
        except dnf.exceptions.RepoError as e:
            findings.append({'subject': repo.id, 'message': str(e)[:1024]})
            repo.disable()
    base.fill_sack()
    return findings


def refresh(_request):
    base = open_base(False)
    findings = []
    working = 0
    for repo in list(base.repos.iter_enabled()):
        try:
            repo._repo.expire()
            repo.load()
            working += 1
        except dnf.exceptions.RepoError as e:
            findings.append({'subject': repo.id, 'message': str(e)[:1024]})
    return {'findings': findings, 'working': working}


def advisories(base, installed, to):
    """Advisories on the way from `installed` (None = nothing) to the package `to`: (ids, kind, severity, reboot)."""
    found = {}
    cmp = base.sack.evr_cmp
    sources = to.get_advisories(hawkey.EQ)
    if installed is not None:
        sources = list(sources) + list(installed.get_advisories(hawkey.GT))
    for adv in sources:
        for p in adv.packages:
            if p.name != to.name or p.arch != to.arch or cmp(p.evr, evr(to)) > 0:
                continue
            if installed is not None and cmp(p.evr, evr(installed)) <= 0:
                continue
            found[adv.id] = adv
    kinds = [TYPES.get(a.type, 'unknown') for a in found.values()]
    kind = min(kinds, key=RANK.index) if kinds else 'unknown'
    words = [a.severity for a in found.values() if getattr(a, 'severity', None)]
    severity = min(words, key=lambda w: SEVERITIES.index(w) if w in SEVERITIES else 9) if words else ''
    return sorted(found), kind, severity if severity != 'None' else ''


def newest_installed(base):
    """The newest installed package of each (name, arch)."""
    newest = {}
    for pkg in base.sack.query().installed():
        key = (pkg.name, pkg.arch)
        if key not in newest or base.sack.evr_cmp(evr(pkg), evr(newest[key])) > 0:
            newest[key] = pkg
    return newest


def upgrades_of(base, flags):
    """The newest offered version of each installed package that is older."""
    out = {}
    for pkg in base.sack.query(flags=flags).upgrades().latest():
        out[(pkg.name, pkg.arch)] = pkg
    return out


def bar(base, barred):
    """Hides versions that must not be installed; older ones stay visible."""
    base.barred = {(b['name'], b['arch'], b['version']): 'barred: ' + b['reason'] for b in barred}
    hidden = [p for b in barred for p in base.sack.query().available().filter(name=b['name'], arch=b['arch'])
              if evr(p) == b['version']]
    if hidden:
        base.sack.add_excludes(base.sack.query().available().filter(pkg=hidden))


def why_hidden(base, pkg):
    """Why an update is hidden: barred, or by the host's own configuration."""
    why = base.barred.get((pkg.name, pkg.arch, evr(pkg)))
    if why:
        return why
    repo = base.repos.get(pkg.reponame)
    for pattern in list(base.conf.excludepkgs) + list(repo.excludepkgs if repo else []):
        query = dnf.subject.Subject(pattern).get_best_query(base.sack, with_src=False)
        names = {p.name for p in base.sack.query(flags=hawkey.IGNORE_EXCLUDES).filter(name__glob=pattern)}
        if pkg.name in names or pkg in query:
            return 'excluded by the host\'s dnf configuration (%s)' % pattern
    if any(p.name == 'versionlock' for p in base._plugins.plugins):
        return 'versionlock'
    return 'excluded by the host\'s dnf configuration'


def available(base):
    """(visible, hidden) updates as dictionaries."""
    newest = newest_installed(base)
    visible = upgrades_of(base, hawkey.APPLY_EXCLUDES)
    everything = upgrades_of(base, hawkey.IGNORE_REGULAR_EXCLUDES)
    rows = []
    for key, pkg in sorted(everything.items()):
        for shown, held in ((visible.get(key), ''), (pkg, None)):
            if shown is None or (held is None and visible.get(key) == pkg):
                continue
            installed = newest.get(key)
            ids, kind, severity = advisories(base, installed, shown)
            rows.append({'name': shown.name, 'arch': shown.arch, 'from': evr(installed) if installed else '',
                         'to': evr(shown), 'repository': shown.reponame, 'kind': kind, 'advisories': ids,
                         'severity': severity, 'held': why_hidden(base, shown) if held is None else ''})
    return rows


def updates(_request):
    base = open_base(True)
    findings = fill(base)
    return {'updates': available(base), 'findings': findings}


def is_install_only(base, pkg):
    """Kernels and their kind: versions live side by side."""
    only = set(base.conf.installonlypkgs)
    return pkg.name in only or any(str(p).split(' ')[0] in only for p in pkg.provides)


def transaction_rows(base):
    """What the resolved transaction would do, as exact plan lines."""
    installs = list(base.transaction.install_set) if base.transaction else []
    removes = {(p.name, p.arch): p for p in base.transaction.remove_set} if base.transaction else {}
    gone = list(base.transaction.remove_set) if base.transaction else []
    newest = newest_installed(base)
    rows = []
    for pkg in installs:
        old = None if is_install_only(base, pkg) else removes.get((pkg.name, pkg.arch))
        ids, kind, severity = advisories(base, old or newest.get((pkg.name, pkg.arch)), pkg)
        row = {'action': 'INSTALL', 'name': pkg.name, 'arch': pkg.arch, 'from': None, 'to': evr(pkg),
               'repository': pkg.reponame, 'kind': kind, 'advisories': ids}
        if old is not None:
            gone.remove(old)
            order = base.sack.evr_cmp(evr(pkg), evr(old))
            row['from'] = evr(old)
            row['action'] = 'UPGRADE' if order > 0 else 'DOWNGRADE' if order < 0 else 'REINSTALL'
        rows.append(row)
    for pkg in gone:
        rows.append({'action': 'REMOVE', 'name': pkg.name, 'arch': pkg.arch, 'from': evr(pkg), 'to': None,
                     'repository': '', 'kind': 'unknown', 'advisories': []})
    return rows


def want_upgrade(base, pkg):
    """Asks for exactly this version, or for leaving the installed one when that cannot be."""
    query = base.sack.query().filter(pkg=[pkg])
    query = query.union(base.sack.query().installed().latest().filter(name=pkg.name))
    selector = dnf.selector.Selector(base.sack)
    selector.set(pkg=query)
    base._goal.upgrade(select=selector)


def targets(base, security, minimal):
    """The exact version each package is to get, by advisories: {(name, arch): pkg}. For `security` without `minimal`
    the newest version, provided it closes a security advisory; for `minimal` the newest version that an advisory
    names, which is the lowest that closes all of them."""
    types = ['security'] if security else ['security', 'bugfix', 'enhancement']
    offered = base.sack.query().available()
    newest = newest_installed(base)
    visible = upgrades_of(base, hawkey.APPLY_EXCLUDES)
    out = {}
    for key in visible:
        installed = newest.get(key)
        if installed is None:
            continue
        closing = [p.evr for a in installed.get_advisories(hawkey.GT) if TYPES.get(a.type) in types
                   for p in a.packages if p.name == key[0] and p.arch == key[1]
                   and base.sack.evr_cmp(p.evr, evr(installed)) > 0]
        best = None
        for pkg in offered.filter(name=key[0], arch=key[1]):
            named = any(base.sack.evr_cmp(evr(pkg), e) == 0 for e in closing)
            beyond = any(base.sack.evr_cmp(evr(pkg), e) >= 0 for e in closing)
            if (named if minimal else beyond) and (best is None or base.sack.evr_cmp(evr(pkg), evr(best)) > 0):
                best = pkg
        if best is not None:
            out[key] = best
    return out


def word_query(query, word, with_version=True):
    """Packages that a word means."""
    query = query.filter(name=word['name'])
    if word['arch']:
        query = query.filter(arch=word['arch'])
    if with_version and word['version']:
        query = query.filter(pkg=[p for p in query if evr(p) == word['version']])
    return query


def shown(word):
    return word['name'] + ('.' + word['arch'] if word['arch'] else '') + ('=' + word['version'] if word['version'] else '')


def offered_for(base, word):
    """Offered packages that a word means, of this machine's architecture where none is named."""
    query = word_query(base.sack.query().available(), word)
    if not word['arch']:
        own = query.filter(arch=[base.conf.arch, base.conf.basearch, 'noarch'])
        query = own if own else query
    if not query:
        hidden = word_query(base.sack.query(flags=hawkey.IGNORE_REGULAR_EXCLUDES).available(), word)
        if hidden:
            raise Refused('%s is offered, but hidden from dnf: %s' % (shown(word), why_hidden(base, hidden[0])))
        raise Refused('no repository of this host offers %s' % shown(word))
    return query


def plan_named(base, findings, named):
    """Exactly the named packages, with what they need and what needs them."""
    unmet = {}
    for word in named['remove']:
        for pkg in word_query(base.sack.query().installed(), word):
            base.package_remove(pkg)
    for word in named['install']:
        query = offered_for(base, word)
        selector = dnf.selector.Selector(base.sack)
        selector.set(pkg=query if word['version'] else query.latest())
        base._goal.install(select=selector)
    visible = upgrades_of(base, hawkey.APPLY_EXCLUDES)
    hidden = upgrades_of(base, hawkey.IGNORE_REGULAR_EXCLUDES)
    for word in named['update']:
        keys = [(p.name, p.arch) for p in word_query(base.sack.query().installed(), word, False)]
        if word['version']:
            selector = dnf.selector.Selector(base.sack)
            selector.set(pkg=offered_for(base, word).filter(arch=[k[1] for k in keys]))
            base._goal.install(select=selector)
            continue
        for key in keys:
            if key in visible:
                want_upgrade(base, visible[key])
            elif key in hidden:
                unmet[key[0]] = why_hidden(base, hidden[key])
    try:
        base.resolve(allow_erasing=bool(named['remove']))
    except dnf.exceptions.DepsolveError as e:
        raise Refused(' '.join(str(e).split()))
    actions = transaction_rows(base)
    rows = [{'name': w['name'], 'arch': p.arch, 'to': evr(p), 'held': ''} for w in named['update']
            for k, p in visible.items() if k[0] == w['name'] and not w['version']]
    for key, words in left_out(base, rows, actions).items():
        unmet.setdefault(key.rsplit('.', 1)[0], 'its dependencies cannot be met: ' + words)
    return {'actions': actions, 'findings': findings, 'unmet': unmet}


def chosen_targets(base, choose, minimal):
    """As `targets`, for advisories of chosen types, ids and CVEs, and for updates without any advisory (OTHER).
    Also the ids and CVEs that met an update."""
    types = {t.lower() for t in choose['types']}
    ids, cves = set(choose['advisories']), set(choose['cves'])
    offered = base.sack.query().available()
    newest = newest_installed(base)
    out, met = {}, set()
    for key, latest in upgrades_of(base, hawkey.APPLY_EXCLUDES).items():
        installed = newest.get(key)
        if installed is None:
            continue
        known, closing = False, []
        for adv in installed.get_advisories(hawkey.GT):
            evrs = [p.evr for p in adv.packages if p.name == key[0] and p.arch == key[1]
                    and base.sack.evr_cmp(p.evr, evr(installed)) > 0 and base.sack.evr_cmp(p.evr, evr(latest)) <= 0]
            if not evrs:
                continue
            kind = TYPES.get(adv.type)
            known = known or kind is not None
            reasons = {adv.id} & ids | {r.id for r in adv.references if r.type == hawkey.REFERENCE_CVE} & cves
            met |= reasons
            if reasons or kind in types:
                closing += evrs
        if not closing:
            if 'other' in types and not known:
                out[key] = latest
            continue
        out[key] = latest
        if minimal:
            named = [p for p in offered.filter(name=key[0], arch=key[1])
                     if any(base.sack.evr_cmp(evr(p), e) == 0 for e in closing)]
            for pkg in named:
                if out[key] is latest or base.sack.evr_cmp(evr(pkg), evr(out[key])) > 0:
                    out[key] = pkg
    return out, met


def marks(base, rows):
    """Why the packages of a plan are installed."""
    found = []
    for row in rows:
        for pkg in exact(base, row, 'from') if row['from'] else []:
            mark = MARKS.get(base.history.rpm.get_reason(pkg))
            if mark:
                found.append({'name': pkg.name, 'arch': pkg.arch, 'mark': mark})
    return found


def restore_marks(base, wanted):
    """What comes back is there for the same reason as before."""
    reasons = {mark: reason for reason, mark in MARKS.items()}
    wanted = {(m['name'], m['arch']): reasons[m['mark']] for m in wanted}
    for item in base.transaction or []:
        if (item.name, item.arch) in wanted and item.action in dnf.transaction.FORWARD_ACTIONS:
            item.reason = wanted[(item.name, item.arch)]


def plan_undo(base, request):
    """Exactly the inverse of a task, or what dnf would do instead."""
    different = resolve_exactly(base, request)
    if different and 'would' not in different:
        raise Refused('; '.join(' '.join(words.split()) for words in different['moved']))
    return different['would'] if different else transaction_rows(base)


def plan(request):
    base = open_base(True)
    findings = fill(base)
    if request['action'] == 'undo':
        add_files(base, request)
        result = {'actions': plan_undo(base, request), 'findings': findings}
    else:
        bar(base, request.get('barred') or [])
        result = planned(base, findings, request)
    result['marks'] = marks(base, result['actions'])
    return result


def planned(base, findings, request):
    if request.get('named'):
        return plan_named(base, findings, request['named'])
    if request.get('modules'):
        return plan_modules(base, findings, request['modules'])
    before = available(base)
    names = set(request.get('excludedNames') or [])
    if names:
        base.sack.add_excludes(base.sack.query().available().filter(name=sorted(names)))
    exclusive = request.get('exclusive') or []
    choose = request.get('choose')
    missing, met, picked = [], set(), {}
    if choose:
        picked, met = chosen_targets(base, choose, request.get('minimal'))
        for pkg in picked.values():
            want_upgrade(base, pkg)
    elif exclusive:
        newest = newest_installed(base)
        for name in exclusive:
            if not any(key[0] == name for key in newest):
                missing.append(name)
                continue
            try:
                base.upgrade(name)
            except dnf.exceptions.MarkingError:
                pass  # nothing newer is offered
    elif request.get('security') or request.get('minimal'):
        for pkg in targets(base, request.get('security'), request.get('minimal')).values():
            want_upgrade(base, pkg)
    else:
        base.upgrade_all()
    try:
        base.resolve(allow_erasing=False)
    except dnf.exceptions.DepsolveError as e:
        raise Refused('dnf finds no consistent set of updates: %s' % e)
    actions = transaction_rows(base)
    whole = not (choose or exclusive or request.get('security') or request.get('minimal'))
    return {'actions': actions, 'available': before, 'findings': findings, 'missing': missing, 'met': sorted(met),
            'problems': left_out(base, [r for r in before if whole or (r['name'], r['arch']) in picked], actions)}


def left_out(base, rows, actions):
    """Why the solver left updates out: its own words for each one asked for alone, for the first few."""
    taken = {(a['name'], a['arch']) for a in actions}
    out = {}
    for row in rows:
        if row['held'] or (row['name'], row['arch']) in taken or len(out) >= EXPLAINED_MAX:
            continue
        for pkg in exact(base, row, 'to')[:1]:
            goal = dnf.goal.Goal(base.sack)
            selector = dnf.selector.Selector(base.sack)
            selector.set(pkg=[pkg])
            goal.install(select=selector)
            if not goal.run():
                out['%s.%s' % (row['name'], row['arch'])] = '; '.join(r for rules in goal.problem_rules() for r in rules)
    return out


def exact(base, row, key):
    """Installed or offered packages that are exactly this."""
    query = base.sack.query().installed() if key == 'from' else base.sack.query().available()
    return [p for p in query.filter(name=row['name'], arch=row['arch']) if evr(p) == row[key]]


class Display(dnf.yum.rpmtrans.TransactionDisplay):
    """Prints one line per package and keeps the errors."""

    def __init__(self):
        super(Display, self).__init__()
        self.errors = []
        self.last = None

    def progress(self, package, action, ti_done, ti_total, ts_done, ts_total):
        word = dnf.transaction.ACTIONS.get(action)
        line = '%s %s' % (word, package)
        if word and line != self.last:
            self.last = line
            print(line, flush=True)

    def scriptout(self, msgs):
        if msgs:
            text = msgs.decode('utf-8', 'replace') if isinstance(msgs, bytes) else str(msgs)
            print(text.rstrip('\n'), flush=True)

    def error(self, message):
        self.errors.append(str(message))
        print(message, flush=True)


def check_signatures(base):
    for pkg in base.transaction.install_set:
        result, message = base.package_signature_check(pkg)
        if result == 1:
            # Only keys that the repository's own configuration names, as `dnf -y` does.
            base.package_import_key(pkg)
            result, message = base.package_signature_check(pkg)
        if result != 0:
            raise Refused('signature of %s: %s' % (pkg, message))


def ask_for(base, rows, requested, everything):
    """Puts the plan into the goal. New packages that nobody requested are not asked for by name unless
    `everything` is set: dnf would note them as wanted by a person, and autoremove would keep them for ever."""
    lost = []
    for row in rows:
        if row['to'] is None:
            for pkg in exact(base, row, 'from'):
                base.package_remove(pkg)
            continue
        found = exact(base, row, 'to')
        if not found:
            hidden = base.sack.query(flags=hawkey.IGNORE_REGULAR_EXCLUDES).available()
            hidden = [p for p in hidden.filter(name=row['name'], arch=row['arch']) if evr(p) == row['to']]
            why = 'is offered, but hidden from dnf: ' + why_hidden(base, hidden[0]) if hidden else 'is not offered any more'
            lost.append('%s-%s.%s %s' % (row['name'], row['to'], row['arch'], why))
            continue
        pkg = ([p for p in found if p.reponame in (row.get('repository'), hawkey.CMDLINE_REPO_NAME)] or found)[0]
        if everything or row['from'] is not None or row['name'] in requested or pkg.obsoletes or is_install_only(base, pkg):
            base.package_install(pkg)
    return lost


def resolve_exactly(base, request):
    """Resolves to exactly the plan; otherwise says what is different."""
    rows, requested = request.get('actions') or [], request.get('requested') or []
    key = lambda r: (r['name'], r['arch'], r['from'] or '', r['to'] or '')
    answer = {}
    for everything in (False, True):
        base.reset(goal=True)
        base._goal = dnf.goal.Goal(base.sack)
        base._goal.protect_running_kernel = base.conf.protect_running_kernel
        lost = set_modules(base, request.get('targets')) or ask_for(base, rows, requested, everything)
        if lost:
            return {'moved': lost}
        try:
            base.resolve(allow_erasing=True)
        except dnf.exceptions.DepsolveError as e:
            answer = {'moved': [str(e)]}
            continue
        will = transaction_rows(base)
        if sorted(map(key, will)) == sorted(map(key, rows)):
            return None
        answer = {'would': will}
    return answer


def add_files(base, request):
    """Package files of versions that no repository may offer any more."""
    try:
        base.add_remote_rpms(request.get('files') or [])
    except IOError as e:
        raise Refused(str(e))


def apply(request):
    base = open_base(True)
    fill(base)
    add_files(base, request)
    different = resolve_exactly(base, request)
    if different:
        return different
    will = transaction_rows(base)
    if base.transaction:
        base.download_packages(list(base.transaction.install_set))
        check_signatures(base)
    restore_marks(base, request.get('marks') or [])
    display = Display()
    failure = None
    try:
        transact(base, display)
    except dnf.exceptions.LockError:
        raise
    except dnf.exceptions.Error as e:
        failure = str(e)
        print(failure, flush=True)
    # A package whose %pre failed was not installed; dnf itself only warns of it.
    stopped = [e for e in display.errors if 'PREIN' in e or 'PREUN' in e or 'unpack' in e.lower()]
    if failure is None and stopped:
        failure = '; '.join(stopped)
    wanted = {(i, r['name']) for r in will for i in r['advisories']}
    return {'failure': failure, 'errors': display.errors, 'rebootSuggested': bool(wanted and wanted & suggesting(base))}


def download(request):
    """Only downloads; dnf itself keeps the files until a transaction has succeeded."""
    base = open_base(True)
    fill(base)
    different = resolve_exactly(base, request)
    if different:
        return different
    packages = list(base.transaction.install_set)
    base.download_packages(packages)
    check_signatures(base)
    return {'downloaded': len(packages)}


def suggesting(base):
    """(advisory, package) pairs that suggest a reboot. dnf's Python API does not show them, so the metadata itself is
    read; only done when something was installed."""
    found = set()
    for repo in base.repos.iter_enabled():
        try:
            text = repo.get_metadata_content('updateinfo')
        except (AttributeError, dnf.exceptions.Error, OSError):
            continue
        if not isinstance(text, str) or 'reboot_suggested' not in text:
            continue
        for block in text.split('</update>'):
            identity = re.search('<id>([^<]+)</id>', block)
            for attributes, body in re.findall('<package ([^>]*[^/])>(.*?)</package>', block, re.S):
                name = re.search('name="([^"]+)"', attributes)
                if identity and name and re.search('<reboot_suggested */>|<reboot_suggested>(True|true|1)<', body):
                    found.add((identity.group(1), name.group(1)))
    return found


def reboot(request):
    """Advisories with a reboot suggestion, of packages installed since the boot."""
    base = open_base(True)
    fill(base)
    pairs = suggesting(base)
    asked = []
    for pkg in base.sack.query().installed():
        if pairs and pkg.installtime > request['bootedAt']:
            for adv in pkg.get_advisories(hawkey.EQ):
                if (adv.id, pkg.name) in pairs:
                    asked.append({'package': pkg.name, 'advisory': adv.id})
    return {'asked': asked}


def repair(request):
    """Takes away the older ones of packages that a killed transaction left twice."""
    base = open_base(True)
    fill(base)
    rows = []
    for row in request['remove']:
        for pkg in exact(base, row, 'from'):
            base.package_remove(pkg)
            rows.append(row)
    if not rows:
        return {'removed': []}
    base.resolve(allow_erasing=False)
    display = Display()
    transact(base, display)
    return {'removed': rows, 'errors': display.errors}


def main(request):
    logging.getLogger('dnf').addHandler(logging.NullHandler())
    actions = {'refresh': refresh, 'updates': updates, 'plan': plan, 'undo': plan, 'apply': apply,
               'download': download, 'reboot': reboot, 'repair': repair, 'modules': modules}
    try:
        result = actions[request['action']](request)
    except dnf.exceptions.LockError as e:
        result = {'locked': str(e)}
    except Refused as e:
        told = request.get('named') or request.get('modules') or request['action'] == 'undo'
        result = {'refused' if told else 'error': str(e)}
    except dnf.exceptions.Error as e:
        result = {'error': str(e)}
    print('DRYDOCK-RESULT ' + json.dumps(result), flush=True)
