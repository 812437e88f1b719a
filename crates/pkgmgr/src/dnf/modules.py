# The part of the helper that knows module streams and profiles; it stands behind helper.py in one script.
import dnf.module.module_base
import libdnf.module

CONTAINER = libdnf.module.ModulePackageContainer
# dnf's own copies of streams that went from the repositories: nothing is offered there.
FAIL_SAFE = getattr(hawkey, 'MODULE_FAIL_SAFE_REPO_NAME', '@modulefailsafe')
# As dnf's own commands: broken defaults of other modules are no error.
HARMLESS = getattr(CONTAINER, 'ModuleErrorType_ERROR_IN_DEFAULTS', None)


class Words(logging.Handler):
    """Hears what dnf says of modules: its errors often only repeat the argument."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.said = []

    def emit(self, record):
        self.said.append(' '.join(record.getMessage().split()))


def module_state(container, name):
    state = container.getModuleState(name)
    if state == CONTAINER.ModuleState_ENABLED:
        return {'status': 'ENABLED', 'stream': container.getEnabledStream(name),
                'profiles': sorted(set(container.getInstalledProfiles(name)))}
    return {'status': 'DISABLED' if state == CONTAINER.ModuleState_DISABLED else 'UNSET'}


def module_states(base):
    container = base._moduleContainer
    return {name: module_state(container, name) for name in {m.getName() for m in container.getModulePackages()}}


def newest_of(base, modules):
    """The active one of the newest: one version may come in several contexts."""
    active = [m for m in modules if base._moduleContainer.isModuleActive(m.getId())] or modules
    return max(active, key=lambda m: m.getVersionNum())


def modules(_request):
    """What is offered, and what is set."""
    base = open_base(True)
    findings = fill(base)
    container = base._moduleContainer
    offered = {}
    for module in container.getModulePackages():
        if module.getRepoID() != FAIL_SAFE:
            offered.setdefault((module.getName(), module.getStream()), []).append(module)
    streams = []
    for (name, stream), found in sorted(offered.items()):
        newest = newest_of(base, found)
        streams.append({'module': name, 'stream': stream, 'version': str(newest.getVersion()),
                        'context': newest.getContext(), 'arch': newest.getArch(), 'repository': newest.getRepoID(),
                        'isDefault': container.getDefaultStream(name) == stream,
                        'summary': ' '.join(newest.getSummary().split())[:512],
                        'profiles': sorted({p.getName() for p in newest.getProfiles()}),
                        'defaultProfiles': sorted(set(container.getDefaultProfiles(name, stream)))})
    states = {n: s for n, s in module_states(base).items() if s['status'] != 'UNSET'}
    return {'streams': streams, 'states': states, 'findings': findings}


def solver_words(errors):
    """What the solver of modules has against their states; None when nothing."""
    if not errors or errors[1] == HARMLESS:
        return None
    return ' '.join(dnf.module.module_base.format_modular_solver_errors(errors[0]).split())


def specs(changes, action):
    of = [c for c in changes if c['action'] == action]
    return [c['module'] + (':' + c['stream'] if c.get('stream') else '') + ('/' + c['profile'] if c.get('profile') else '')
            for c in of]


def start_over(base):
    """Forgets the goal and every module change that is not written."""
    base.reset(goal=True)
    base._goal = dnf.goal.Goal(base.sack)
    base._goal.protect_running_kernel = base.conf.protect_running_kernel
    access = dnf.module.module_base.ModuleBase(base)
    if not hasattr(access, '_update_sack'):
        raise Refused('this dnf (%s) is too old for changes of modules; update it first' % dnf.VERSION)
    access._update_sack()
    return access


def change_modules(base, access, changes):
    container = base._moduleContainer
    enable, switch = specs(changes, 'ENABLE'), specs(changes, 'SWITCH')
    # All at once, in front of what dnf makes of each: one may need another.
    for change in changes:
        if change['action'] in ('ENABLE', 'SWITCH'):
            container.enable(change['module'], change['stream'])
    if switch:
        if not hasattr(access, 'switch_to'):
            raise Refused('this dnf is too old to switch streams (dnf module switch-to)')
        access.switch_to(switch)
    if enable:
        access.enable(enable)
    if specs(changes, 'INSTALL'):
        access.install(specs(changes, 'INSTALL'))
    here = [c for c in changes if c['action'] == 'REMOVE'
            and container.getEnabledStream(c['module']) == c['stream'] and container.getInstalledProfiles(c['module'])
            and (not c.get('profile') or c['profile'] in container.getInstalledProfiles(c['module']))]
    if here:
        missed = access.remove(specs(here, 'REMOVE'))
        if missed:
            raise Refused('dnf does not know %s' % ', '.join(missed))
    for change in changes:
        if change['action'] == 'DISABLE':
            container.disable(change['module'])
        elif change['action'] == 'RESET':
            container.reset(change['module'])
    words = solver_words(access._update_sack())
    if words:
        raise Refused(words)


def try_changes(base, changes):
    """Solves these changes together; why that cannot be, or None."""
    access = start_over(base)
    words = Words()
    log = logging.getLogger('dnf')
    log.addHandler(words)
    try:
        change_modules(base, access, changes)
        base.resolve(allow_erasing=False)
    except dnf.exceptions.MarkingErrors as e:
        errors = getattr(e, 'module_depsolv_errors', ())
        if errors and not e.no_match_group_specs and not e.error_group_specs and errors[1] == HARMLESS:
            base.resolve(allow_erasing=False)
            return None
        why = solver_words(errors)
        return why or '; '.join(words.said) or ' '.join(str(e).split())
    except (dnf.exceptions.Error, Refused, RuntimeError) as e:
        return ' '.join(str(e).split())
    finally:
        log.removeHandler(words)
    return None


def plan_modules(base, findings, changes):
    """The changes that can be had together, and for the others, by their number, why not."""
    before = module_states(base)
    good = list(range(len(changes)))
    refused = {}
    pick = lambda numbers: [changes[i] for i in sorted(numbers)]
    if try_changes(base, changes):
        good, waiting = [], good
        # One more round for those that need a later one.
        for _ in range(2):
            refused = {}
            for number in waiting:
                why = try_changes(base, pick(good + [number]))
                if why:
                    refused[number] = why
                else:
                    good.append(number)
            waiting = sorted(refused)
        why = try_changes(base, pick(good))
        if why:
            raise Refused(why)
    after = module_states(base)
    named = {c['module'] for c in changes}
    told = sorted(named | {n for n in after if after[n] != before.get(n)})
    actions = transaction_rows(base)
    wanted = {a['name'] for a in actions if a['action'] == 'INSTALL'} & set(base._goal.group_members)
    unset = {'status': 'UNSET'}
    return {'actions': actions, 'findings': findings, 'requested': sorted(wanted),
            'refusedChanges': {str(n): why for n, why in refused.items()},
            'told': [{'module': n, 'before': before.get(n, unset), 'after': after.get(n, unset),
                      'packages': sorted(own_names(base, n) & {a['name'] for a in actions})} for n in told]}


def own_names(base, name):
    """Names of packages of all streams of a module."""
    names = set()
    for module in base._moduleContainer.query(name, '', '', '', ''):
        names.update(a.rsplit('-', 2)[0] for a in module.getArtifacts())
        for profile in module.getProfiles():
            names.update(profile.getContent())
    return names


def set_modules(base, targets):
    """Puts planned states into dnf, which writes them in front of its transaction; returns what cannot be."""
    if not targets:
        return []
    container = base._moduleContainer
    for target in targets:
        name, want, now = target['module'], target['after'], module_state(container, target['module'])
        if want['status'] == 'ENABLED':
            if now['status'] != 'ENABLED' or now['stream'] != want['stream']:
                container.enable(name, want['stream'])
        elif want['status'] != now['status']:
            (container.disable if want['status'] == 'DISABLED' else container.reset)(name)
    access = dnf.module.module_base.ModuleBase(base)
    words = solver_words(access._update_sack())
    if words:
        return [words]
    lost = []
    for target in targets:
        name, want = target['module'], target['after']
        if want['status'] != 'ENABLED':
            continue
        found = [m for m in container.query(name, want['stream'], '', '', '')]
        wanted, there = set(want.get('profiles') or []), set(container.getInstalledProfiles(name))
        if not found:
            if wanted != there:
                lost.append('module %s:%s is not offered any more' % (name, want['stream']))
            continue
        newest = newest_of(base, found)
        for profile in sorted(wanted - there):
            container.install(newest, profile)
        for profile in sorted(there - wanted):
            container.uninstall(newest, profile)
        # Packages of profiles are a group's: removing the profile takes them away again.
        for profile in newest.getProfiles():
            if profile.getName() in wanted:
                base._goal.group_members.update(profile.getContent())
    return lost
